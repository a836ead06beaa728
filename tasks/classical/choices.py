"""Which of several texts fits: by its place, its length, the words it shares with the stem, and a linear model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from tasks.classical.answers import Floats, of_choices
from tasks.classical.features import overlap
from tasks.classical.job import Answer, Candidate, Job, Rival, best
from tasks.classical.linear import INVERSE_PENALTIES
from tasks.classical.words import words

SHARPNESS = (10.0, 3.0, 30.0, 1.0)
"""What scores are multiplied by before they become probabilities."""


def majority(job: Job) -> Rival:
    """The place that is right most often in training, among the places that there are."""
    seen = Counter(job.train["label"].to_pylist())

    def answer(table: pa.Table) -> pa.Table:
        rows = [np.array([seen[i] + 1e-9 for i in range(len(texts))]) for texts in table["choices"].to_pylist()]
        return of_choices(table, [row / row.sum() for row in rows])

    return best(job, [Candidate({}, lambda: answer)])


def longest(job: Job) -> Rival:
    """The longest choice, in characters: what writers of exams give away; it is as sure as training finds it right."""
    train = zip(job.train["choices"].to_pylist(), job.train["label"].to_pylist(), strict=True)
    right = float(np.mean([int(np.argmax([len(text) for text in texts])) == label for texts, label in train]))

    def answer(table: pa.Table) -> pa.Table:
        rows = []
        for texts in table["choices"].to_pylist():
            best_one = int(np.argmax([len(text) for text in texts]))
            sure = max(right, 1 / len(texts))
            rest = (1 - sure) / max(1, len(texts) - 1)
            rows.append(
                np.array([1.0 if len(texts) == 1 else sure if i == best_one else rest for i in range(len(texts))])
            )
        return of_choices(table, rows)

    return best(job, [Candidate({}, lambda: answer)], {"right_in_training": right})


def lexical(job: Job) -> Rival:
    """The choice most like the stem: cosine of TF-IDF vectors of words, or of n-grams of characters."""
    features = {"words": _Features(job, "words"), "characters": _Features(job, "characters")}
    candidates = []
    for name, these in features.items():
        for sharpness in SHARPNESS:

            def fit(these: _Features = these, sharpness: float = sharpness) -> Answer:
                return lambda table: of_choices(table, _softmax(these.cosines(table), these.sizes(table), sharpness))

            candidates.append(Candidate({"ngrams": name, "sharpness": sharpness}, fit))
    return best(job, candidates)


def logistic_regression(job: Job) -> Rival:
    """Each choice for itself, right or wrong: its words, those that the stem has too or lacks, overlaps and length."""
    features = _Features(job, "words")
    train, sizes = features.of(job.train), features.sizes(job.train)
    right = np.zeros(train.shape[0])
    right[np.cumsum([0, *sizes[:-1]]) + job.train["label"].to_numpy()] = 1

    def fit(c: float) -> Answer:
        model = LogisticRegression(C=c, solver="liblinear", dual=True, tol=1e-3, max_iter=200, random_state=job.seed)
        model.fit(train, right)
        return lambda table: of_choices(
            table, _softmax(model.decision_function(features.of(table)), features.sizes(table), 1.0)
        )

    candidates = [Candidate({"C": c}, partial(fit, c)) for c in INVERSE_PENALTIES]
    return best(job, candidates, {"features": int(train.shape[1])})


class _Features:
    """One row for each choice of each example of a table, one example after the other."""

    def __init__(self, job: Job, ngrams: str) -> None:
        how: dict[str, Any] = {"tokenizer": words, "token_pattern": None, "lowercase": False}
        if ngrams == "characters":
            how = {"analyzer": "char_wb", "ngram_range": job.config.character_ngrams}
        self._vectorizer = TfidfVectorizer(**how, sublinear_tf=True)
        self._vectorizer.fit([*job.train["text"].to_pylist(), *_flat(job.train)])

    def sizes(self, table: pa.Table) -> list[int]:
        return [len(texts) for texts in table["choices"].to_pylist()]

    def cosines(self, table: pa.Table) -> Floats:
        stems, choices = self._both(table)
        found: Floats = np.asarray(stems.multiply(choices).sum(axis=1)).ravel()
        return found

    def of(self, table: pa.Table) -> sp.csr_matrix:
        stems, choices = self._both(table)
        sizes = np.array([len(text) for text in _flat(table)], dtype=np.float64)
        each = np.concatenate(
            [np.full(n, total / n) for n, total in zip(self.sizes(table), _totals(table), strict=True)]
        )
        dense = np.column_stack(
            [
                np.asarray(stems.multiply(choices).sum(axis=1)),
                sizes / (sizes + each + 1e-9),
                overlap(_stems(table), _flat(table)),
            ]
        )
        parts = [choices, stems.minimum(choices), (choices - stems).maximum(0), sp.csr_matrix(dense)]
        return sp.hstack(parts, format="csr")

    def _both(self, table: pa.Table) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        return self._vectorizer.transform(_stems(table)), self._vectorizer.transform(_flat(table))


def _softmax(scores: Floats, sizes: Sequence[int], sharpness: float) -> list[Floats]:
    rows = np.split(scores * sharpness, np.cumsum(sizes)[:-1])
    powers = [np.exp(row - row.max()) for row in rows]
    return [row / row.sum() for row in powers]


def _flat(table: pa.Table) -> list[str]:
    return [text for texts in table["choices"].to_pylist() for text in texts]


def _stems(table: pa.Table) -> list[str]:
    """The stem of each choice."""
    rows = zip(table["text"].to_pylist(), table["choices"].to_pylist(), strict=True)
    return [text for text, texts in rows for _ in texts]


def _totals(table: pa.Table) -> list[int]:
    return [sum(map(len, texts)) for texts in table["choices"].to_pylist()]
