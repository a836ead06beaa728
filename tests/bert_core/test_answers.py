"""What is said of each example, against searches over everything that could be said."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from tiny_tasks import TASKS, bpe, random_model, shape, table, text, wordpiece

from bert_core.answers import decode, is_no_answer, outputs, repair_bio, softmax
from bert_core.config import EmbeddingTask, SpanTask, Task
from bert_core.features import FeaturesError, encode
from bert_core.features.windows import contexts, windows
from bert_core.metrics.entities import entities
from bert_core.metrics.spans import overlap_f1
from bert_core.no_answer import best_no_answer_threshold
from bert_core.predict import InputError, Predictor
from tests.bert_core.test_task_folders import exported

MOST = 40
WIDE = SpanTask(stride=6, n_best=1000, max_answer_tokens=4, no_answer="yes")


def answered(task: Task, asked: pa.Table, tokenizer: Any = None, seed: int = 1) -> tuple[pa.Table, np.ndarray]:
    tokenizer = tokenizer or wordpiece()
    model = random_model(shape("bert", tokenizer), task, seed=seed)
    held = encode(task, asked, tokenizer, MOST)
    said = outputs(model, held, MOST, tokenizer.pad_id)
    return decode(model, said, held, asked, tokenizer, MOST), said


# ------------------------------------------------------------------------------------------------------ classes


def test_classes_and_their_probabilities() -> None:
    asked = table("single")
    found, said = answered(TASKS["single"], asked)
    assert found["id"].to_pylist() == asked["id"].to_pylist()
    shares = np.array(found["probabilities"].to_pylist())
    np.testing.assert_allclose(shares, softmax(said), atol=1e-6)
    np.testing.assert_allclose(shares.sum(1), 1, atol=1e-6)
    assert found["label"].to_pylist() == ["abc"[k] for k in said.argmax(1)]


def test_labels_are_those_from_the_threshold_on() -> None:
    for threshold in (0.2, 0.5, 0.9):
        task: Any = TASKS["multi"].model_copy(update={"threshold": threshold})
        found, said = answered(task, table("multi"))
        shares = 1 / (1 + np.exp(-said))
        np.testing.assert_allclose(np.array(found["probabilities"].to_pylist()), shares, atol=1e-6)
        expected = [[label for label, p in zip("abc", row, strict=True) if p >= threshold] for row in shares]
        assert found["labels"].to_pylist() == expected
        assert any(not labels for labels in expected) or threshold < 0.9


def test_choices_compete_within_their_example() -> None:
    asked = table("choice")
    found, said = answered(TASKS["choice"], asked)
    bounds = np.cumsum([0, *(len(choices) for choices in asked["choices"].to_pylist())])
    for row, (a, b) in enumerate(pairwise(bounds)):
        np.testing.assert_allclose(found["probabilities"][row].as_py(), softmax(said[None, a:b, 0])[0], atol=1e-6)
        assert found["choice"][row].as_py() == said[a:b, 0].argmax()


# --------------------------------------------------------------------------------------------------------- tags


@pytest.mark.parametrize(
    ("said", "repaired"),
    [
        ("I-X I-X O", "B-X I-X O"),
        ("B-X I-Y I-Y", "B-X B-Y I-Y"),
        ("O I-X B-X I-X", "O B-X B-X I-X"),
        ("B-X O I-X", "B-X O B-X"),
        ("B-X B-X I-X", "B-X B-X I-X"),
        ("", ""),
    ],
)
def test_repaired_tags_are_written_as_conlleval_counts_them(said: str, repaired: str) -> None:
    assert repair_bio(said.split()) == repaired.split()
    assert entities(repair_bio(said.split())) == entities(said.split())


def test_repair_keeps_the_entities_of_any_tags() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        tags = [str(tag) for tag in rng.choice(TASKS["token"].labels, int(rng.integers(1, 12)))]  # type: ignore[union-attr]
        repaired = repair_bio(tags)
        assert entities(repaired) == entities(tags)
        assert repair_bio(repaired) == repaired
        starts = {first for _, first, _ in entities(tags)}
        assert [tag.startswith("B-") for tag in repaired] == [place in starts for place in range(len(tags))]


@pytest.mark.parametrize("scheme", ["bio", "plain"])
def test_each_word_has_a_tag_and_how_sure_it_is_also_in_long_sentences(scheme: str) -> None:
    rng = np.random.default_rng(0)
    asked = pa.table({"tokens": [text(rng, 1, 80).split() for _ in range(9)]})
    task: Any = TASKS["token"].model_copy(update={"scheme": scheme})
    found, said = answered(task, asked)
    at = 0
    for row, words in enumerate(asked["tokens"].to_pylist()):
        own = said[at : at + len(words)]
        tags = [task.labels[k] for k in own.argmax(1)]
        assert found["tags"][row].as_py() == (repair_bio(tags) if scheme == "bio" else tags)
        np.testing.assert_allclose(found["confidences"][row].as_py(), softmax(own).max(1), atol=1e-6)
        at += len(words)
    assert at == len(said)


# -------------------------------------------------------------------------------------------------------- spans


@pytest.mark.parametrize("tokenizer", [wordpiece(), bpe()], ids=["wordpiece", "bpe"])
def test_the_best_span_is_the_best_of_all_spans_of_all_windows(tokenizer: Any) -> None:
    asked = table("span", 20).drop_columns(["answers"])
    found, said = answered(WIDE, asked, tokenizer)
    held = encode(WIDE, asked, tokenizer, MOST)
    for row, (context, example) in enumerate(zip(contexts(asked, tokenizer), asked.to_pylist(), strict=True)):
        numbers = range(*held.sequence_bounds[row : row + 2])
        head = int(held.b_starts[numbers[0]])
        best, none, words = -np.inf, np.inf, ""
        for number, window in zip(numbers, windows(len(context.ids), head, MOST, WIDE.stride), strict=True):
            scores = said[held.offsets[number] : held.offsets[number + 1]]
            none = min(none, scores[0].sum())
            for first in range(window.tokens):
                for last in range(first, min(window.tokens, first + WIDE.max_answer_tokens)):
                    if (total := scores[head + first, 0] + scores[head + last, 1]) > best:
                        start = context.offsets[window.first + first, 0]
                        best, words = total, example["context"][start : context.offsets[window.first + last, 1]]
        assert found["best_answer"][row].as_py() == words.strip()
        assert found["score"][row].as_py() == pytest.approx(best - none)
        assert found["answer"][row].as_py() == ("" if none > best else words.strip())
        assert words.strip() in example["context"]


def test_fewer_starts_and_ends_find_no_better_span() -> None:
    asked = table("span", 20).drop_columns(["answers"])
    every = answered(WIDE, asked)[0]["score"].to_numpy()
    few = answered(WIDE.model_copy(update={"n_best": 3}), asked)[0]["score"].to_numpy()
    assert (few <= every + 1e-9).all()
    assert (few > every - 1e-9).any()


def test_an_answer_without_any_legal_span_is_one_token() -> None:
    found, _ = answered(SpanTask(stride=6, n_best=1, max_answer_tokens=1), table("span", 30).drop_columns(["answers"]))
    assert all(found["answer"].to_pylist())


@pytest.mark.parametrize(
    ("stated", "threshold", "score", "is_none"),
    [
        ("no", None, -9.0, False),
        ("no", 1.0, -9.0, False),
        ("auto", None, -9.0, False),
        ("auto", 1.0, -9.0, True),
        ("auto", 1.0, -1.0, False),
        ("yes", None, -0.1, True),
        ("yes", None, 0.1, False),
        ("yes", -3.0, 2.0, True),
        ("yes", -3.0, 4.0, False),
    ],
)
def test_when_there_is_no_answer(stated: Any, threshold: float | None, score: float, is_none: bool) -> None:
    assert is_no_answer(SpanTask(no_answer=stated, no_answer_threshold=threshold), score) is is_none


def test_the_threshold_is_the_best_of_all_thresholds() -> None:
    rng = np.random.default_rng(0)
    for seed in range(40):
        count = int(rng.integers(1, 12))
        words = [text(rng, 1, 4) for _ in range(count)]
        gold = pa.table(
            {
                "id": [str(i) for i in range(count)],
                "answers": [
                    [{"text": str(rng.choice(words)), "start": 0}] if rng.random() < 0.6 else [] for _ in words
                ],
            }
        )
        scores = rng.normal(size=count).round(0 if seed % 2 else 3)  # half of them with ties
        order = rng.permutation(count)
        said = pa.table({"id": gold["id"], "score": scores, "best_answer": words}).take(pa.array(order))

        def f1(threshold: float, words: list[str] = words, scores: Any = scores, gold: pa.Table = gold) -> float:
            task = SpanTask(no_answer="yes", no_answer_threshold=threshold)
            rows = zip(words, scores, gold["answers"].to_pylist(), strict=True)
            return sum(overlap_f1("" if is_no_answer(task, s) else w, [o["text"] for o in a]) for w, s, a in rows)

        found = best_no_answer_threshold(gold, said)
        candidates = [*(-scores), min(-scores) - 5, max(-scores) + 5]
        assert f1(found) == pytest.approx(max(f1(one) for one in candidates))
        assert all(f1(one) < f1(found) + 1e-9 for one in candidates if one < found)


def test_a_threshold_needs_the_same_questions() -> None:
    gold = pa.table({"id": ["a"], "answers": [[{"text": "ban", "start": 0}]]})
    with pytest.raises(ValueError, match=r"1 questions and 1 answers; in one table only: \['a', 'b'\]"):
        best_no_answer_threshold(gold, pa.table({"id": ["b"], "score": [0.1], "best_answer": ["x"]}))


# --------------------------------------------------------------------------------------------------- embeddings


def test_ranks_are_places_among_all_distinct_partners() -> None:
    rng = np.random.default_rng(0)
    partners = [text(rng) for _ in range(12)]
    pairs = [(text(rng), str(rng.choice(partners))) for _ in range(60)]
    asked = pa.table({"text": [a for a, _ in pairs], "text_b": [b for _, b in pairs]})
    found, said = answered(EmbeddingTask(), asked)
    a, b = said[::2], said[1::2]
    by_text = {text_b: vector for (_, text_b), vector in zip(pairs, b, strict=True)}
    for row, (_, right) in enumerate(pairs):
        own = a[row] @ by_text[right]
        better = sum(a[row] @ vector > own + 1e-9 for other, vector in by_text.items() if other != right)
        assert found["rank"][row].as_py() == better
        assert found["similarity"][row].as_py() == pytest.approx(own, abs=1e-6)
    assert max(found["rank"].to_pylist()) < len(by_text)


def test_a_text_is_its_own_best_partner_whatever_it_is_read_with() -> None:
    """Equal texts in batches of other shapes differ in their last bits."""
    rng = np.random.default_rng(0)
    texts = [text(rng, 1, 30) for _ in range(40)]
    asked = pa.table({"text": texts * 4, "text_b": texts * 4, "negative": [text(rng) for _ in range(160)]})
    found, _ = answered(EmbeddingTask(), asked)
    assert found["rank"].to_pylist() == [0] * 160


def test_pairs_with_a_score_below_the_highest_have_no_rank() -> None:
    asked = table("in_batch", 4).drop_columns(["label"]).append_column("label", pa.array([1.0, 0.3, None, 1.0]))
    assert [rank is None for rank in answered(EmbeddingTask(), asked)[0]["rank"].to_pylist()] == [
        False,
        True,
        False,
        False,
    ]
    with pytest.raises(FeaturesError, match="no column 'text_b'"):
        answered(EmbeddingTask(), pa.table({"text": ["ban"]}))


# -------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", TASKS)
def test_answers_do_not_depend_on_targets_order_or_company(name: str) -> None:
    asked = table(name, 70)
    target = {"token": "tags", "span": "answers"}.get(name, "label")
    unlabelled = asked.drop_columns([target])
    whole = answered(TASKS[name], unlabelled)[0].to_pylist()
    if name not in ("in_batch", "cosine"):  # whose ranks depend on their table
        labelled = answered(TASKS[name], asked)[0].to_pylist()
        assert labelled == whole
    order = np.random.default_rng(0).permutation(70)
    turned = answered(TASKS[name], unlabelled.take(pa.array(order)))[0].to_pylist()
    alone = [answered(TASKS[name], unlabelled.slice(int(row), 1))[0].to_pylist()[0] for row in order[:12]]
    for place, row in enumerate(order[:12]):
        close(whole[row], turned[place])
        close(whole[row], {**alone[place], **({"rank": whole[row]["rank"]} if "rank" in whole[row] else {})})


def close(a: dict[str, Any], b: dict[str, Any]) -> None:
    assert a.keys() == b.keys()
    for key, value in a.items():
        if isinstance(value, float) or (isinstance(value, list) and value and isinstance(value[0], float)):
            assert b[key] == pytest.approx(value, abs=2e-5)
        else:
            assert b[key] == value, key


BAD = [
    ("single", {"text": None}, "example 0: text is None: expected a text"),
    ("single", {"text": "  "}, "there is nothing in it to read"),
    ("single", {"words": "ban"}, "no column 'text'"),
    ("pair", {"text": "ban"}, "no column 'text_b'"),
    ("token", {"tokens": []}, "it has no tokens"),
    ("span", {"question": "ban?", "context": ""}, "nothing in its question or context"),
    ("choice", {"text": "ban", "choices": []}, "it has no choices"),
    ("choice", {"text": "ban", "choices": ["a", None]}, "choices 1 is None"),
]


@pytest.fixture(scope="module")
def predictors(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Predictor]:
    folder = tmp_path_factory.mktemp("predictors")
    for name in {name for name, _, _ in BAD}:
        exported("bert", name, folder / name)
    return {name: Predictor(folder / name) for name in {name for name, _, _ in BAD}}


@pytest.mark.parametrize(("name", "columns", "message"), BAD)
def test_what_cannot_be_answered_says_why(
    name: str, columns: dict[str, Any], message: str, predictors: dict[str, Predictor]
) -> None:
    with pytest.raises(InputError, match=message):
        predictors[name].answer(pa.table({column: [value] for column, value in columns.items()}))


def test_a_label_that_the_model_does_not_know_does_not_keep_it_from_answering(predictors: dict[str, Predictor]) -> None:
    asked = pa.table({"text": ["ban"], "label": ["never seen"]})
    assert predictors["single"].answer(asked)["label"].to_pylist()[0] in "abc"


@pytest.mark.parametrize("text", ["q" * 300_000, "和 мир \U0001f600 \u202e", "\u0000ban"])
def test_enormous_and_foreign_texts_are_answered(text: str, predictors: dict[str, Predictor]) -> None:
    for name, columns in {
        "single": {"text": text},
        "pair": {"text": text, "text_b": text},
        "token": {"tokens": [text, "ban"]},
        "span": {"question": text, "context": f"{text[:5000]} ban"},
        "choice": {"text": text, "choices": [text, "ban"]},
    }.items():
        (answer,) = predictors[name].answer(pa.table({key: [value] for key, value in columns.items()})).to_pylist()
        assert len(answer.get("tags", [1, 2])) == 2


def test_scores_that_are_not_finite_are_damaged_weights() -> None:
    model = random_model(shape("bert", wordpiece()), TASKS["single"])
    held = encode(TASKS["single"], table("single", 2), wordpiece(), MOST)
    with pytest.raises(ValueError, match="its weights are damaged"):
        decode(model, np.array([[0.0, np.nan, 1.0]] * 2), held, table("single", 2), wordpiece(), MOST)
