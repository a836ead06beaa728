"""Sparse features of one text or of two, fitted on the training side, computed once for each side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.pipeline import FeatureUnion

from tasks.classical.job import Job
from tasks.classical.words import blankless, words

Read = Callable[[pa.Table, str], Sequence[str]]


def as_written(table: pa.Table, column: str) -> list[str]:
    found: list[str] = table[column].to_pylist()
    return found


class Features:
    """Rows of features for each example of a side.

    Of a pair a, b: those of a, those of b, what both have (the smaller), what b has beyond a, and what a has beyond b;
    so that a linear model sees which words agree, were added or are missing, as well as either text by itself.
    """

    def __init__(
        self,
        vectorizer: BaseEstimator,
        columns: Sequence[str],
        train: pa.Table,
        *,
        read: Read = as_written,
        statistics: bool = False,
    ) -> None:
        """`statistics`: with three dense columns of a pair, see `overlap`."""
        self._vectorizer: Any = vectorizer
        self._columns, self._read, self._statistics = tuple(columns), read, statistics
        self._kept: dict[int, tuple[pa.Table, sp.csr_matrix]] = {}
        self._vectorizer.fit([text for column in columns for text in read(train, column)])
        self.train = self.of(train)

    def of(self, table: pa.Table) -> sp.csr_matrix:
        """(N, features)."""
        if id(table) not in self._kept:
            self._kept[id(table)] = table, self._matrix(table)
        return self._kept[id(table)][1]

    def _matrix(self, table: pa.Table) -> sp.csr_matrix:
        read = [self._read(table, column) for column in self._columns]
        parts = [self._vectorizer.transform(texts) for texts in read]
        if len(parts) == 2:
            a, b = parts
            parts += [a.minimum(b), (b - a).maximum(0), (a - b).maximum(0)]
            if self._statistics:
                parts.append(sp.csr_matrix(overlap(*read)))
        return sp.hstack(parts, format="csr")


def overlap(first: Sequence[str], second: Sequence[str]) -> np.ndarray:
    """(N, 3): share of b's words that a has, share of a's that b has, and of all the numbers in b that a has.

    In [0, 1]; 1 where there is no word, or no number.
    """
    rows = []
    for a, b in ((set(words(x)), set(words(y))) for x, y in zip(first, second, strict=True)):
        numbers = {word for word in b if word[0].isdigit()}
        rows.append([_share(b, a), _share(a, b), _share(numbers, a)])
    return np.array(rows, dtype=np.float64).reshape(-1, 3)


def _share(part: set[str], whole: set[str]) -> float:
    return len(part & whole) / len(part) if part else 1.0


def counts(job: Job, columns: Sequence[str], *, characters: bool) -> Features:
    """How often each n-gram occurs, of words or of characters; shared by all baselines that want them."""

    def make() -> Features:
        if characters:
            ngrams = job.config.character_ngrams
            return Features(CountVectorizer(analyzer="char_wb", ngram_range=ngrams), columns, job.train)
        return Features(CountVectorizer(**_word_ngrams(job, columns)), columns, job.train)

    return job.shared(f"counts {columns} {characters}", make)


def tf_idf(job: Job, columns: Sequence[str]) -> Features:
    """TF-IDF, sublinear, of n-grams of words and of characters side by side, each of unit length."""

    def make() -> Features:
        parts = [("words", TfidfVectorizer(**_word_ngrams(job, columns), sublinear_tf=True, dtype=np.float32))]
        if has_character_ngrams(job, columns):
            ngrams = job.config.character_ngrams
            characters = TfidfVectorizer(
                analyzer="char_wb", ngram_range=ngrams, min_df=_min_df(job), sublinear_tf=True, dtype=np.float32
            )
            parts.append(("characters", characters))
        return Features(FeatureUnion(parts), columns, job.train, statistics=True)

    return job.shared(f"tf_idf {columns}", make)


def has_character_ngrams(job: Job, columns: Sequence[str]) -> bool:
    """Not where characters are the words already, nor on a training side too large for them, which is noted."""
    if job.shared(f"blankless {columns}", lambda: blankless(_texts(job, columns))):
        return False
    size = sum(map(len, _texts(job, columns)))
    if size > job.config.max_ngram_characters:
        job.note(f"n-grams of words alone: {size} characters of training text, over {job.config.max_ngram_characters}")
        return False
    return True


def _word_ngrams(job: Job, columns: Sequence[str]) -> dict[str, Any]:
    alone = job.shared(f"blankless {columns}", lambda: blankless(_texts(job, columns)))
    ngrams = job.config.blankless_ngrams if alone else job.config.word_ngrams
    return {"tokenizer": words, "token_pattern": None, "lowercase": False, "ngram_range": ngrams}


def _min_df(job: Job) -> int:
    """Most n-grams of characters occur in one text only: a third of the time and memory without them, same accuracy."""
    return 2 if len(job.train) >= 1_000 else 1


def _texts(job: Job, columns: Sequence[str]) -> list[str]:
    return [text for column in columns for text in job.train[column].to_pylist()]
