"""Pairs of similar texts: MinHash-LSH proposes them, exact Jaccard similarity decides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache

from rensa import RMinHash, RMinHashLSH

RECALL = 0.995
"""Probability with which a pair that is exactly as similar as the threshold is found; more similar pairs, higher."""


def shingles(text: str, size: int) -> frozenset[str]:
    """All runs of `size` characters; a shorter text is its own only shingle."""
    return frozenset(text[start : start + size] for start in range(max(1, len(text) - size + 1)))


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows per band, with at most `permutations` in all, that propose the fewest pairs at the RECALL.

    Two texts of similarity s share one of b bands of r rows with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman and
    Ullman, Mining of Massive Datasets, section 3.4.2). More rows mean fewer accidental pairs.
    """
    fitting = [rows for rows in range(1, permutations + 1) if _found(threshold, permutations // rows, rows) >= RECALL]
    rows = max(fitting, default=1)
    return permutations // rows, rows


def similar_pairs(
    texts: Sequence[str], threshold: float, *, size: int, permutations: int, seed: int
) -> Iterator[tuple[int, int, float]]:
    """(i, j, similarity), i < j, for pairs whose shingles' Jaccard similarity is at least `threshold`; ordered by j, i.

    Exact in precision: the similarity is computed on the shingles themselves. In recall it is MinHash's (see RECALL).
    A function of the arguments alone.
    """
    count, rows = bands(threshold, permutations)
    sketches = RMinHash.from_token_sets((shingles(text, size) for text in texts), count * rows, seed)
    index = RMinHashLSH(threshold, count * rows, count)
    index.insert_many(sketches)
    cached = lru_cache(maxsize=100_000)(lambda i: shingles(texts[i], size))
    for j, candidates in enumerate(index.query_all(sketches)):
        for i in sorted({found for found in candidates if found < j}):
            similarity = jaccard(cached(i), cached(j), threshold)
            if similarity >= threshold:
                yield i, j, similarity


def jaccard(one: frozenset[str], other: frozenset[str], threshold: float = 0.0) -> float:
    """|A ∩ B| / |A ∪ B|; 0.0 without counting where the sizes alone keep it under the threshold."""
    if min(len(one), len(other)) < threshold * max(len(one), len(other)):
        return 0.0
    shared = len(one & other)
    return shared / (len(one) + len(other) - shared)


def _found(similarity: float, count: int, rows: int) -> float:
    return float(1 - (1 - similarity**rows) ** count)
