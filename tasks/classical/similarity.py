"""How alike two texts are, and where the right one stands among all: TF-IDF, BM25 and mean word vectors.

Shapes: N examples, M distinct second texts, V words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.preprocessing import normalize

from tasks.classical.answers import Floats, of_similarities
from tasks.classical.job import Answer, Candidate, Job, Rival, best
from tasks.classical.vectors import word_vectors
from tasks.classical.words import words

PARAMETERS = ((1.2, 0.75), (0.9, 0.4), (2.0, 0.9))
"""(k1, b) of BM25."""
_ROWS = 512
_WORDS = {"tokenizer": words, "token_pattern": None, "lowercase": False}
Matrix = Any
"""(rows, columns), dense or sparse, of scipy or numpy."""
Compare = Callable[[list[str], list[str]], tuple[Matrix, Matrix]]
"""From first texts (N) and second texts (M) to (N, F) and (M, F), whose products are the similarities."""


def tfidf(job: Job) -> Rival:
    """Cosine of TF-IDF vectors, of n-grams of words or of characters."""
    hows: dict[str, dict[str, Any]] = {
        "words": _WORDS | {"ngram_range": job.config.word_ngrams},
        "characters": {"analyzer": "char_wb", "ngram_range": job.config.character_ngrams},
    }

    def fit(name: str) -> Answer:
        vectorizer = TfidfVectorizer(**hows[name], sublinear_tf=True).fit(_texts(job.train))
        return lambda table: similarities(table, lambda a, b: (vectorizer.transform(a), vectorizer.transform(b)))

    return best(job, [Candidate({"ngrams": name}, lambda name=name: fit(name)) for name in hows])  # type: ignore[misc]


def bm25(job: Job) -> Rival:
    """Okapi BM25 (Robertson and Zaragoza, 2009) of the first text as query, as a share of the most it could reach."""
    counts = CountVectorizer(**_WORDS).fit(_texts(job.train))
    documents = counts.transform(sorted(set(job.train["text_b"].to_pylist())))
    found = np.asarray((documents > 0).sum(axis=0)).ravel()
    idf = np.log(1 + (documents.shape[0] - found + 0.5) / (found + 0.5))
    mean_length = float(documents.sum(axis=1).mean()) or 1.0

    def fit(k1: float, b: float) -> Answer:
        def compare(first: list[str], second: list[str]) -> tuple[Matrix, Matrix]:
            query = (counts.transform(first) > 0).astype(np.float64)
            weights = sp.csr_matrix(counts.transform(second), dtype=np.float64)
            lengths = np.asarray(weights.sum(axis=1)).ravel()
            rows = np.repeat(np.arange(weights.shape[0]), np.diff(weights.indptr))
            slow = k1 * (1 - b + b * lengths[rows] / mean_length)
            weights.data = idf[weights.indices] * weights.data * (k1 + 1) / (weights.data + slow)
            return normalize_by(query, query @ idf * (k1 + 1)), weights

        return lambda table: similarities(table, compare)

    candidates = [Candidate({"k1": k1, "b": b}, lambda a=(k1, b): fit(*a)) for k1, b in PARAMETERS]  # type: ignore[misc]
    return best(job, candidates, {"words": len(idf)})


def word_vector_means(job: Job) -> Rival:
    """Cosine of mean word vectors, plain or weighted by inverse document frequency."""
    vectors = word_vectors(job, [words(text) for text in _texts(job.train)])
    vocabulary = sorted(vectors.index, key=lambda word: vectors.index[word])
    plain = CountVectorizer(**_WORDS, vocabulary=vocabulary)
    weighted = TfidfVectorizer(**_WORDS, vocabulary=vocabulary).fit(_texts(job.train))
    matrix = vectors.matrix[-len(vocabulary) :]

    def fit(vectorizer: Any) -> Answer:
        def compare(first: list[str], second: list[str]) -> tuple[Matrix, Matrix]:
            a, b = (normalize(vectorizer.transform(texts) @ matrix) for texts in (first, second))
            return a, b

        return lambda table: similarities(table, compare)

    hows = {"mean": plain, "idf": weighted}
    return best(job, [Candidate({"weights": name}, lambda v=v: fit(v)) for name, v in hows.items()], vectors.facts)  # type: ignore[misc]


def similarities(table: pa.Table, compare: Compare) -> pa.Table:
    """Each pair's similarity, and the place of its second text among all distinct second texts of `table`.

    Equals are placed in the order in which they first occur, so that a model which tells nothing apart gets no prize.
    """
    first, second = table["text"].to_pylist(), table["text_b"].to_pylist()
    places = {text: i for i, text in enumerate(dict.fromkeys(second))}
    right = np.array([places[text] for text in second])
    queries, documents = compare(first, list(places))
    asked = positive(table)
    own = np.empty(len(table))
    ranks: list[int | None] = []
    for start in range(0, len(table), _ROWS):
        scores = queries[start : start + _ROWS] @ documents.T
        scores = np.asarray(scores.todense() if sp.issparse(scores) else scores)
        for row, values in enumerate(scores, start):
            own[row] = values[right[row]]
            before = int(np.sum(values > own[row]) + np.sum(values[: right[row]] == own[row]))
            ranks.append(before if asked[row] else None)
    return of_similarities(table, own, ranks)


def positive(table: pa.Table) -> list[bool]:
    """Which pairs belong together: those without a score, and those that have the highest score of `table`."""
    labels = table["label"].to_pylist()
    highest = max((label for label in labels if label is not None), default=None)
    return [label is None or label == highest for label in labels]


def normalize_by(matrix: sp.csr_matrix, divisors: Floats) -> sp.csr_matrix:
    """Each row divided by its own number, or left alone where that is 0."""
    return sp.diags(1 / np.where(divisors > 0, divisors, 1.0)) @ matrix


def _texts(table: pa.Table) -> list[str]:
    found: list[str] = table["text"].to_pylist() + table["text_b"].to_pylist()
    return found
