"""A small body of evidence for each task type: two runs of a candidate, a baseline, and texts that try to be markup."""

import numpy as np
import pyarrow as pa
from metric_tables import LABELS, SENTENCES, class_tables, names, text_tables, token_tables

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    TokenTask,
)
from tasks.evidence.report import Draw, Evidence

SIZE = 90
HOSTILE = '<script>alert("x")</script> & <img src="http://example.org/x.png">'
TAGS = ("O", *(f"{prefix}-{kind}" for kind in ("PER", "LOC", "ORG") for prefix in "BI"))
DRAW = Draw(samples=200)


def texts(size: int = SIZE) -> list[str]:
    return [f"{HOSTILE} {i} " + "word " * (i % 23) for i in range(size)]


def with_text(gold: pa.Table, **columns: list[str]) -> pa.Table:
    for name, values in columns.items():
        gold = gold.drop_columns(name) if name in gold.column_names else gold
        gold = gold.append_column(name, pa.array(values))
    return gold


def single(size: int = SIZE, wrong: tuple[float, ...] = (0.2, 0.2), baseline: float = 0.5) -> Evidence:
    gold, _ = class_tables(size)
    ours = [class_tables(size, wrong=share, seed=seed)[1] for seed, share in enumerate(wrong)]
    return Evidence(
        task=SequenceTask(labels=LABELS),
        gold=with_text(gold, text=texts(size)),
        answers={"model": ours, "naive_bayes": [class_tables(size, wrong=baseline, seed=50)[1]]},
        draw=DRAW,
    )


def pair() -> Evidence:
    rng = np.random.default_rng(0)
    label = rng.normal(size=SIZE)
    gold = pa.table({"id": names(SIZE), "text": texts(), "text_b": texts(), "label": label})

    def said(noise: float) -> pa.Table:
        return pa.table({"id": names(SIZE), "value": label + rng.normal(size=SIZE) * noise})

    task = PairTask(kind="regression")
    return Evidence(task=task, gold=gold, answers={"model": [said(0.3), said(0.3)], "mean": [said(2)]}, draw=DRAW)


def multi() -> Evidence:
    rng = np.random.default_rng(0)
    true = rng.random((SIZE, 3)) < 0.4

    def sets(rows: np.ndarray) -> list[list[str]]:
        return [[LABELS[i] for i in np.flatnonzero(row)] for row in rows]

    def said(noise: float) -> pa.Table:
        p = np.clip(0.2 + 0.6 * true + rng.normal(size=true.shape) * noise, 0, 1)
        return pa.table({"id": names(SIZE), "labels": sets(p > 0.5), "probabilities": p.tolist()})

    gold = pa.table({"id": names(SIZE), "text": texts(), "label": pa.array(sets(true), pa.list_(pa.string()))})
    task = SequenceTask(kind="multi", labels=LABELS)
    return Evidence(task=task, gold=gold, answers={"model": [said(0.2), said(0.2)], "other": [said(0.5)]}, draw=DRAW)


def token(scheme: str = "bio") -> Evidence:
    gold, _ = token_tables(SIZE, seed=1, wrong=0.0)
    rng = np.random.default_rng(0)

    def said(wrong: float) -> pa.Table:
        tags = [
            [str(rng.choice(TAGS)) if rng.random() < wrong else tag for tag in each]
            for each in gold["tags"].to_pylist()
        ]
        return pa.table({"id": names(SIZE), "tags": tags, "confidences": [[0.9] * len(each) for each in tags]})

    task = TokenTask(labels=TAGS, scheme=scheme)  # type: ignore[arg-type]
    gold = gold.set_column(1, "tokens", pa.array([[HOSTILE] * len(one) for one in gold["tokens"].to_pylist()]))
    return Evidence(task=task, gold=gold, answers={"model": [said(0.1), said(0.1)], "crf": [said(0.3)]}, draw=DRAW)


def question() -> Evidence:
    asked = ["Who was it?", "When did it begin?", "Where is it?", HOSTILE]
    answers = [[{"text": "the old king", "start": 0}], [{"text": "1998", "start": 0}], [], [{"text": "x", "start": 0}]]
    gold = pa.table(
        {
            "id": names(SIZE),
            "question": [asked[i % 4] for i in range(SIZE)],
            "context": texts(),
            "answers": [answers[i % 4] for i in range(SIZE)],
        }
    )
    said = [["old king", "in 1998", "", "y"][i % 4] for i in range(SIZE)]
    found = pa.table({"id": names(SIZE), "answer": said, "score": [float(i) for i in range(SIZE)]})
    nothing = pa.table({"id": names(SIZE), "answer": [""] * SIZE, "score": [0.0] * SIZE})
    return Evidence(task=SpanTask(), gold=gold, answers={"model": [found], "lexical": [nothing]}, draw=DRAW)


def choice() -> Evidence:
    rng = np.random.default_rng(0)
    many = [2 + i % 2 for i in range(SIZE)]
    label = [int(rng.integers(count)) for count in many]
    gold = pa.table(
        {"id": names(SIZE), "text": texts(), "choices": [[HOSTILE] * count for count in many], "label": label}
    )

    def said(wrong: float) -> pa.Table:
        given = [
            rng.dirichlet(np.ones(count) + 5 * (np.arange(count) == right))
            for count, right in zip(many, label, strict=True)
        ]
        given = [one if rng.random() > wrong else one[::-1] for one in given]
        places = [int(one.argmax()) for one in given]
        return pa.table({"id": names(SIZE), "choice": places, "probabilities": [one.tolist() for one in given]})

    return Evidence(
        task=ChoiceTask(), gold=gold, answers={"model": [said(0), said(0)], "first": [said(0.5)]}, draw=DRAW
    )


def embedding() -> Evidence:
    rng = np.random.default_rng(0)
    label = [float(i % 5) if i % 2 else None for i in range(SIZE)]
    gold = pa.table({"id": names(SIZE), "text": texts(), "text_b": texts(), "label": label})

    def said(noise: float) -> pa.Table:
        rank = [int(rng.integers(1 + 11 * noise)) if one is None else None for one in label]
        similarity = [(one or 0.0) / 4 + noise * rng.random() for one in label]
        return pa.table({"id": names(SIZE), "similarity": similarity, "rank": rank})

    answers = {"model": [said(0.3), said(0.3)], "words": [said(1.0)]}
    return Evidence(task=EmbeddingTask(), gold=gold, answers=answers, draw=DRAW)


def seq2seq() -> Evidence:
    outputs, targets = text_tables(SENTENCES, SIZE)
    gold = pa.table({"id": names(SIZE), "text": texts(), "target": targets})
    ours = pa.table({"id": names(SIZE), "output": outputs})
    copied = pa.table({"id": names(SIZE), "output": gold["text"]})
    return Evidence(task=Seq2SeqTask(), gold=gold, answers={"model": [ours], "copy": [copied]}, draw=DRAW)


def causal() -> Evidence:
    _, targets = text_tables(SENTENCES, SIZE)
    gold = pa.table({"id": names(SIZE), "text": [""] * SIZE, "target": targets})

    def said(each: float) -> pa.Table:
        tokens = [1 + len(one.split()) for one in targets]
        return pa.table(
            {
                "id": names(SIZE),
                "output": [HOSTILE] * SIZE,
                "log_likelihood": [-each * count for count in tokens],
                "num_tokens": tokens,
            }
        )

    return Evidence(task=CausalTask(), gold=gold, answers={"model": [said(2.0)], "n-grams": [said(4.0)]}, draw=DRAW)


CASES = {
    "single": single,
    "pair": pair,
    "multi": multi,
    "token": token,
    "plain": lambda: token("plain"),
    "question": question,
    "choice": choice,
    "embedding": embedding,
    "seq2seq": seq2seq,
    "causal": causal,
}
