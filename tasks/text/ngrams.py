"""Runs of n characters or words as 64-bit hashes, for many texts at once.

Two different runs share a hash with a probability of about 2^-64; among the 10^4 runs of a long text and the 10^4 of
another that is 10^-11, so a similarity counted on hashes is the similarity of the texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Hashes = NDArray[np.uint64]
Offsets = NDArray[np.int64]

_BASE = 0x9E3779B97F4A7C15 | 1
_CODE_POINTS = 0x110000
_BLANK = 32


@dataclass(frozen=True)
class Ragged:
    """Hashes of several texts, one after the other."""

    values: Hashes
    offsets: Offsets
    """(texts + 1): text i has values[offsets[i]:offsets[i + 1]]."""

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Hashes:
        return self.values[self.offsets[index] : self.offsets[index + 1]]


def mix(values: Hashes) -> Hashes:
    """A bijection of 64 bits after which every bit depends on every bit (the finaliser of SplitMix64)."""
    mixed = values ^ (values >> np.uint64(30))
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed


def code_points(texts: Sequence[str]) -> tuple[NDArray[np.uint32], Offsets]:
    """The code points of the texts, one after the other, and where each text starts; the last offset is the end."""
    points = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32)
    return points, _offsets(np.fromiter(map(len, texts), np.int64, len(texts)))


def characters(texts: Sequence[str]) -> Ragged:
    """A hash of every character."""
    points, offsets = code_points(texts)
    return Ragged(_of_points()[points], offsets)


def words(texts: Sequence[str]) -> Ragged:
    """A hash of every word of texts whose words stand between single blanks."""
    points, offsets = code_points(texts)
    is_blank = points == _BLANK
    starts = ~is_blank
    starts[1:] &= is_blank[:-1]
    starts[offsets[:-1][np.diff(offsets) > 0]] |= True
    return runs(points, offsets, starts & ~is_blank, is_blank)


def runs(
    points: NDArray[np.uint32], offsets: Offsets, starts: NDArray[np.bool_], is_separator: NDArray[np.bool_]
) -> Ragged:
    """A hash of every run of characters from a start to the next; separators do not count."""
    at = np.flatnonzero(starts)
    ends = np.searchsorted(at, offsets)
    if not len(at):
        return Ragged(np.empty(0, np.uint64), ends)
    powers, inverses = _powers(len(points) + 1)
    weighted = _of_points()[points] * powers[: len(points)]
    weighted[is_separator] = 0
    return Ragged(mix(np.add.reduceat(weighted, at) * inverses[at]), ends)


def ngrams(units: Ragged, size: int, *, whole: bool = True) -> Ragged:
    """A hash of every run of `size` units, in order, with repetitions.

    Args:
        whole: a text with fewer units is its own only run; otherwise it has none.
    """
    lengths = np.diff(units.offsets)
    counts = np.maximum(lengths - size + 1, 1 if whole else 0)
    offsets = _offsets(counts)
    powers, inverses = _powers(len(units.values) + 1)
    sums = np.zeros(len(units.values) + 1, np.uint64)
    np.cumsum(units.values * powers[: len(units.values)], out=sums[1:])
    at = np.arange(offsets[-1]) + np.repeat(units.offsets[:-1] - offsets[:-1], counts)
    ends = at + np.repeat(np.minimum(lengths, size), counts)
    # The sum of unit * base^position from `at` to `ends`, brought to position 0, whatever the position was.
    return Ragged(mix((sums[ends] - sums[at]) * inverses[at]), offsets)


def distinct(hashes: Hashes) -> Hashes:
    """Sorted, without repetitions. (np.unique of numpy 2.4 takes 10 times as long.)"""
    ordered = np.sort(hashes)
    return ordered[np.concatenate(([True], ordered[1:] != ordered[:-1]))] if len(ordered) else ordered


def shared(one: Hashes, other: Hashes) -> int:
    """How many hashes two `distinct` sets have in common."""
    both = np.concatenate((one, other))
    both.sort(kind="stable")  # timsort merges two sorted runs in linear time
    return int(np.count_nonzero(both[1:] == both[:-1]))


def jaccard(one: Hashes, other: Hashes, least: float = 0.0) -> float:
    """|A ∩ B| / |A ∪ B| of two `distinct` sets; 0.0 without counting where their sizes alone keep it under `least`."""
    if min(len(one), len(other)) < least * max(len(one), len(other)):
        return 0.0
    common = shared(one, other)
    return common / (len(one) + len(other) - common)


def _offsets(counts: Offsets) -> Offsets:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


@lru_cache(maxsize=1)
def _of_points() -> Hashes:
    """A hash of every code point (9 MB)."""
    return mix(np.arange(1, _CODE_POINTS + 1, dtype=np.uint64) * np.uint64(_BASE))


_tables: dict[str, Any] = {"powers": np.ones(1, np.uint64), "inverses": np.ones(1, np.uint64)}


def _powers(count: int) -> tuple[Hashes, Hashes]:
    """base^i and base^-i modulo 2^64, at least `count` of each; kept for the next call (16 bytes for each)."""
    if len(_tables["powers"]) < count:
        size = 1 << (count - 1).bit_length()
        for name, base in (("powers", _BASE), ("inverses", pow(_BASE, -1, 1 << 64))):
            table = np.full(size, base, np.uint64)
            table[0] = 1
            _tables[name] = np.multiply.accumulate(table)
    return _tables["powers"], _tables["inverses"]
