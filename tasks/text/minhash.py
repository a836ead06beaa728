"""Sketches whose entries agree as often as the sets are similar, and the bands in which similar sketches meet.

The sketch is the fast similarity sketch of Dahlgaard, Knudsen and Thorup (FOCS 2017, arXiv:1704.04370). Every entry
agrees with a probability that is exactly the Jaccard similarity, as in MinHash; but a set of n elements takes
n + k log k steps for k entries, where MinHash takes n * k. Unlike one-permutation hashing it holds for sets that are
smaller than the sketch, too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.text.ngrams import Hashes, Ragged, mix

RECALL = 0.995
"""Probability with which a pair that is exactly as similar as the threshold meets; more similar pairs, higher."""
SIGMAS = 4.0
"""How far a sketch may underestimate before its pair is given up: of pairs at the threshold, 1 in 30,000."""
_ROUNDS = 6
_AT_ONCE = 1_000_000
_EMPTY = np.uint64(2**64 - 1)
_LOW = np.uint64(0xFFFFFFFF)

Sketches = NDArray[np.uint32]


def bands(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows per band, with at most `permutations` in all, that propose the fewest pairs at the RECALL.

    Two texts of similarity s share one of b bands of r rows with probability 1 - (1 - s^r)^b (Leskovec, Rajaraman and
    Ullman, Mining of Massive Datasets, section 3.4.2). More rows mean fewer accidental pairs.
    """
    fitting = [rows for rows in range(1, permutations + 1) if found(threshold, permutations // rows, rows) >= RECALL]
    rows = max(fitting, default=1)
    return permutations // rows, rows


def found(similarity: float, count: int, rows: int) -> float:
    """Probability with which two texts share at least one of `count` bands."""
    return float(1 - (1 - similarity**rows) ** count)


def sketch(sets: Ragged, size: int, seed: int) -> Sketches:
    """(texts, size): the sketch of each text's hashes; repetitions do not matter. No set may be empty.

    In each round every element falls into one of `size` entries with a random value, and the least value in an entry
    counts, of the first round that reached it. What is empty after six rounds takes the least of a round of its own:
    a long text is done after one round, a short one costs `size` values.
    """
    texts = len(sets)
    entries = np.full(texts * size, _EMPTY, np.uint64)
    owner = np.repeat(np.arange(texts, dtype=np.int64) * size, np.diff(sets.offsets))
    values = sets.values
    for number in range(_ROUNDS):
        drawn = values * _multiplier(seed, number)
        slot = owner + ((drawn >> np.uint64(32)) * np.uint64(size) >> np.uint64(32)).astype(np.int64)
        np.minimum.at(entries, slot, (drawn & _LOW) | np.uint64(number << 32))
        is_open = (entries.reshape(texts, size) == _EMPTY).any(axis=1)
        if not is_open.any():
            break
        still = is_open[owner // size]
        owner, values = owner[still], values[still]
    _fill(entries.reshape(texts, size), sets, seed)
    return (entries & _LOW).astype(np.uint32).reshape(texts, size)


def band_keys(sketches: Sketches, count: int, rows: int) -> NDArray[np.uint32]:
    """(bands, texts): equal where all rows of a band are equal; by accident, 116 pairs of 10^6 texts in each band."""
    keys = np.zeros((count, len(sketches)), np.uint64)
    grouped = sketches[:, : count * rows].reshape(len(sketches), count, rows)
    for row in range(rows):
        keys = mix(keys ^ grouped[:, :, row].T.astype(np.uint64))
    return (keys >> np.uint64(32)).astype(np.uint32)


def signatures(sketches: Sketches) -> NDArray[np.uint8]:
    """(texts, size): eight bits of each entry, enough to estimate with."""
    return (sketches & np.uint32(0xFF)).astype(np.uint8)


def agreeing(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> NDArray[np.int64]:
    """(pairs): how many entries of the signatures (pairs, size) are equal."""
    equal = (one == other).view(np.uint8)
    return equal.sum(axis=1, dtype=np.uint16).astype(np.int64)


def least_agreeing(threshold: float, size: int) -> float:
    """How many entries of `size` must agree before a pair is worth a comparison of the texts themselves."""
    return threshold * size - SIGMAS * float(np.sqrt(size * threshold * (1 - threshold)))


def _fill(entries: NDArray[np.uint64], sets: Ragged, seed: int) -> None:
    """Into every empty entry the least value of a round of its own, in which everything falls into it."""
    size = entries.shape[1]
    multipliers = np.array([_multiplier(seed, _ROUNDS + entry) for entry in range(size)], np.uint64)
    text, entry = np.nonzero(entries == _EMPTY)
    lengths = np.diff(sets.offsets)[text]
    for chunk in np.split(np.arange(len(text)), np.flatnonzero(np.diff(np.cumsum(lengths) // _AT_ONCE)) + 1):
        if len(chunk):
            ends = np.cumsum(lengths[chunk])
            starts = ends - lengths[chunk]
            elements = np.arange(ends[-1]) + np.repeat(sets.offsets[text[chunk]] - starts, lengths[chunk])
            drawn = sets.values[elements] * np.repeat(multipliers[entry[chunk]], lengths[chunk]) & _LOW
            entries[text[chunk], entry[chunk]] = np.minimum.reduceat(drawn, starts)


def _multiplier(seed: int, number: int) -> np.uint64:
    """A random odd number. Low and high bits of the product of a mixed hash with it are two independent draws."""
    state: Hashes = np.array([(seed * 1_000_003 + number + 1) * 0x9E3779B97F4A7C15 % 2**64], np.uint64)
    return mix(state)[0] | np.uint64(1)
