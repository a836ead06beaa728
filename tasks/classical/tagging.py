"""A tag for each token: the usual one, a conditional random field, and a BiLSTM."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pycrfsuite
import sklearn_crfsuite
import torch
from torch import Tensor
from torch.nn import functional

from tasks.classical.answers import of_tags
from tasks.classical.job import Answer, Candidate, Job, Rival, best
from tasks.classical.networks import TaggingNetwork
from tasks.classical.scoring import score
from tasks.classical.training import learn, padded, reproducible
from tasks.classical.vectors import WordVectors, word_vectors

PENALTIES = ((0.1, 0.1), (0.0, 1.0), (0.5, 0.01), (0.02, 0.02))
"""(c1, c2): weights of the L1 and L2 norms."""
MAX_ITERATIONS = 100
_PROBE_ITERATIONS = 4
_BATCH = 128
_OTHER = -100  # cross_entropy's mark of a place that does not count
_SHAPES = (
    ("digits", re.compile(r"[\d.,:/-]*\d[\d.,:/-]*")), ("upper", re.compile(r"[^\W\d_a-z]{2,}")),
    ("title", re.compile(r"[A-ZÀ-Þ].*")), ("word", re.compile(r"[^\W\d_]+")), ("mixed", re.compile(r".*\w.*")),
)  # fmt: skip


def majority(job: Job) -> Rival:
    """Each token's most frequent tag in training; an unseen one gets O, or the most frequent tag if there is no O."""
    seen: dict[str, Counter[str]] = {}
    for tokens, tags in zip(job.train["tokens"].to_pylist(), job.train["tags"].to_pylist(), strict=True):
        for token, tag in zip(tokens, tags, strict=True):
            seen.setdefault(token, Counter())[tag] += 1
    total = sum(seen.values(), Counter())
    usual = "O" if "O" in total else _first(total)
    unseen = usual, total[usual] / total.total()
    known = {token: (_first(tags), tags[_first(tags)] / tags.total()) for token, tags in seen.items()}

    def answer(table: pa.Table) -> pa.Table:
        rows = [[known.get(token, unseen) for token in tokens] for tokens in table["tokens"].to_pylist()]
        return of_tags(table, [[tag for tag, _ in row] for row in rows], [[share for _, share in row] for row in rows])

    return best(job, [Candidate({}, lambda: answer)], {"tokens_known": len(known)})


def crf(job: Job) -> Rival:
    """A linear-chain conditional random field (Lafferty et al., 2001); a tag's confidence is its marginal probability.

    Few iterations show what one costs. Then as many choices of penalties are compared as the budget allows with all
    iterations; if not even one, the first has as many iterations as there is time for. Notes say so.
    """
    train = _limited(job)
    rows = [pycrfsuite.ItemSequence(features(tokens)) for tokens in train["tokens"].to_pylist()]
    tags = train["tags"].to_pylist()
    probe = _field(rows, tags, PENALTIES[0], _PROBE_ITERATIONS).training_log_.iterations
    each = max(1e-4, float(np.mean([iteration["time"] for iteration in probe])))
    affordable = int(max(0.0, job.budget.seconds - job.budget.used) / each)
    iterations = min(MAX_ITERATIONS, max(_PROBE_ITERATIONS, affordable))
    choices = PENALTIES[: max(1, affordable // MAX_ITERATIONS)]
    if iterations < MAX_ITERATIONS:
        job.note(f"{iterations} of {MAX_ITERATIONS} iterations, for want of time")
    if len(choices) < len(PENALTIES):
        job.note(f"{len(choices)} of {len(PENALTIES)} choices of penalties, for want of time")

    def fit(penalties: tuple[float, float]) -> Answer:
        field = _field(rows, tags, penalties, iterations)
        return lambda table: _marginals(table, field)

    candidates = [Candidate({"c1": c1, "c2": c2}, lambda c=(c1, c2): fit(c)) for c1, c2 in choices]  # type: ignore[misc]
    return best(job, candidates, {"sentences": len(rows), "iterations": iterations})


def features(tokens: Sequence[str]) -> list[dict[str, str | bool]]:
    """What a CRF sees of each token: itself, its ends and shape, and as much of both neighbours."""
    own = [_own(token) for token in tokens]
    found: list[dict[str, str | bool]] = []
    for i, token in enumerate(own):
        row: dict[str, str | bool] = {"bias": True, **token}
        for offset in (-2, -1, 1, 2):
            if not 0 <= i + offset < len(own):
                row[f"{offset:+}"] = "edge"
            else:
                row[f"{offset:+}:lower"] = own[i + offset]["lower"]
                row[f"{offset:+}:shape"] = own[i + offset]["shape"]
        if i:
            row["-1:0:lower"] = f"{own[i - 1]['lower']} {token['lower']}"
        if i + 1 < len(own):
            row["0:+1:lower"] = f"{token['lower']} {own[i + 1]['lower']}"
        found.append(row)
    return found


def _own(token: str) -> dict[str, str]:
    lower = token.lower()
    ends = {f"last{n}": lower[-n:] for n in (1, 2, 3) if len(lower) > n}
    return {
        "lower": lower,
        "shape": shape(token),
        **ends,
        **{f"first{n}": lower[:n] for n in (1, 2, 3) if len(lower) > n},
    }


def shape(token: str) -> str:
    """One of digits, upper, title, word, mixed and mark."""
    return next((name for name, pattern in _SHAPES if pattern.fullmatch(token)), "mark")


def _field(
    rows: list[pycrfsuite.ItemSequence], tags: list[list[str]], penalties: tuple[float, float], iterations: int
) -> sklearn_crfsuite.CRF:
    c1, c2 = penalties
    field = sklearn_crfsuite.CRF(
        algorithm="lbfgs", c1=c1, c2=c2, max_iterations=iterations, all_possible_transitions=True
    )
    return field.fit(rows, tags)


def _marginals(table: pa.Table, field: sklearn_crfsuite.CRF) -> pa.Table:
    tags, confidences = [], []
    for tokens in table["tokens"].to_pylist():
        tagger = field.tagger_
        found = tagger.tag(features(tokens)) if tokens else []
        tags.append(found)
        confidences.append([tagger.marginal(tag, i) for i, tag in enumerate(found)])
    return of_tags(table, tags, confidences)


def bilstm(job: Job) -> Rival:
    """From vectors of lower-cased words trained on the training side, last letters and capitals."""
    with reproducible(job.seed):
        train = _limited(job)
        lower = [[token.lower() for token in tokens] for tokens in train["tokens"].to_pylist()]
        vectors = word_vectors(job, lower)
        endings = Counter(token[-3:] for tokens in lower for token in tokens)
        suffixes = {ending: i for i, ending in enumerate(sorted(e for e in endings if endings[e] > 1), 2)}
        network = TaggingNetwork(
            torch.from_numpy(vectors.matrix), len(suffixes) + 2, len(_SHAPES) + 2, job.config.hidden_size,
            len(job.labels), job.config.dropout,
        )  # fmt: skip
        ids = _ids(train, vectors, suffixes)
        place = {label: i for i, label in enumerate(job.labels)}
        targets = [np.array([place[tag] for tag in tags], dtype=np.int64) for tags in train["tags"].to_pylist()]
        full = [row for row, one in enumerate(ids) if len(one)]

        def loss(rows: Sequence[int]) -> Tensor:
            outputs = network(*padded([ids[full[row]] for row in rows]))
            wanted, lengths = padded([targets[full[row]] for row in rows])
            wanted[torch.arange(wanted.shape[1]) >= lengths[:, None]] = _OTHER
            return functional.cross_entropy(outputs.flatten(0, 1), wanted.flatten(), ignore_index=_OTHER)

        def answer(table: pa.Table) -> pa.Table:
            return _tagged(table, network, _ids(table, vectors, suffixes), job.labels)

        def validate() -> tuple[float, float]:
            answers = answer(job.validation)
            sure = [c for row in answers["confidences"].to_pylist() for c in row]
            return score(job.task, job.validation, answers)[1], -float(np.mean(sure or [0.0]))

        facts = vectors.facts | learn(job, network, [len(ids[row]) for row in full], loss, validate)
        validation, answers = answer(job.validation), answer(job.test)
        metric, value = score(job.task, job.validation, validation)
    return Rival(answers, validation, {**facts, f"validation_{metric}": value}, tuple(job.notes))


def _ids(table: pa.Table, vectors: WordVectors, suffixes: dict[str, int]) -> list[np.ndarray]:
    """(T, 3) for each example: word, suffix and shape."""
    shapes = {name: i for i, (name, _) in enumerate(_SHAPES, 2)}
    return [
        np.array(
            [
                (vectors.index.get(t.lower(), 1), suffixes.get(t.lower()[-3:], 1), shapes.get(shape(t), 1))
                for t in tokens
            ],
            dtype=np.int64,
        ).reshape(-1, 3)
        for tokens in table["tokens"].to_pylist()
    ]


def _tagged(table: pa.Table, network: TaggingNetwork, ids: list[np.ndarray], labels: Sequence[str]) -> pa.Table:
    network.eval()
    tags: list[list[str]] = [[] for _ in ids]
    confidences: list[list[float]] = [[] for _ in ids]
    order = sorted((row for row, one in enumerate(ids) if len(one)), key=lambda row: len(ids[row]))
    with torch.inference_mode():
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            values, best_ids = network(*padded([ids[row] for row in rows])).softmax(dim=2).max(dim=2)
            for row, value, label in zip(rows, values.tolist(), best_ids.tolist(), strict=True):
                confidences[row] = value[: len(ids[row])]
                tags[row] = [labels[i] for i in label[: len(ids[row])]]
    return of_tags(table, tags, confidences)


def _limited(job: Job) -> pa.Table:
    """The training side, or as many of its sentences, drawn at random, as `max_tagging_tokens` allows."""
    limit, order = job.config.max_tagging_tokens, np.random.default_rng((job.seed, 3)).permutation(len(job.train))
    lengths = np.array([len(tokens) for tokens in job.train["tokens"].to_pylist()])
    if lengths.sum() <= limit:
        return job.train
    kept = np.sort(order[: max(1, int(np.searchsorted(lengths[order].cumsum(), limit, side="right")))])
    job.note(f"fitted on {len(kept)} of {len(job.train)} sentences: max_tagging_tokens = {limit}")
    return job.train.take(pa.array(kept))


def _first(counts: Counter[str]) -> str:
    """The most frequent, alphabetically first of equals."""
    return min(counts, key=lambda name: (-counts[name], name))
