"""Summaries of a corpus of any size in fixed memory. Each can be filled part by part and merged in the parts' order.

Nothing here draws random numbers: what is sampled is a function of the corpus, so the same corpus gives the same page.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

Payload = TypeVar("Payload")

DECADES = 8
BARS_PER_DECADE, STEPS_PER_DECADE = 5, 20
BAR_EDGES = np.array([round(10 ** (k / BARS_PER_DECADE)) for k in range(DECADES * BARS_PER_DECADE + 1)])
EDGES = np.unique([*BAR_EDGES, *(round(10 ** (k / STEPS_PER_DECADE)) for k in range(DECADES * STEPS_PER_DECADE + 1))])
"""Lower edges of the bins: 20 in a decade, so that a quantile is off by at most 12%. The bars' edges are among them."""


def rank_of(key: str) -> int:
    """A number as good as random, and always the same for a key."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8, person=b"look").digest(), "big")


def _zeros() -> NDArray[np.int64]:
    return np.zeros(len(EDGES) + 1, np.int64)  # the first bin: lengths of 0


@dataclass
class Lengths:
    """Histogram of lengths in fixed bins: how many, and how much they hold together."""

    counts: NDArray[np.int64] = field(default_factory=_zeros)
    amounts: NDArray[np.int64] = field(default_factory=_zeros)

    def add(self, lengths: NDArray[np.int64]) -> None:
        bins = np.searchsorted(EDGES, lengths, side="right")
        self.counts += np.bincount(bins, minlength=len(self.counts))
        np.add.at(self.amounts, bins, lengths)  # not bincount(weights=): that sums floats

    def merge(self, other: Lengths) -> None:
        self.counts += other.counts
        self.amounts += other.amounts


@dataclass
class Top:
    """The most frequent keys of a stream, with the sum of what they weigh, in the memory of 2 × `capacity` keys.

    When there are more, the rarest are forgotten: a key that comes back begins again, so that its figures are too low
    by at most `missed` documents (the lossy counting of Manku and Motwani, VLDB 2002, with a bound on keys).
    """

    capacity: int
    entries: dict[str, tuple[int, int]] = field(default_factory=dict)
    """Key -> documents, weight (characters, tokens)."""
    missed: int = 0

    def add(self, key: str, documents: int, weight: int) -> None:
        old = self.entries.get(key, (0, 0))
        self.entries[key] = (old[0] + documents, old[1] + weight)
        if len(self.entries) > 2 * self.capacity:
            self._forget()

    def merge(self, other: Top) -> None:
        self.missed += other.missed
        for key, (documents, weight) in other.entries.items():
            self.add(key, documents, weight)

    def first(self, count: int) -> list[tuple[str, int, int]]:
        """(key, documents, weight), the most documents first."""
        ordered = sorted(self.entries.items(), key=lambda entry: (-entry[1][0], -entry[1][1], entry[0]))
        return [(key, *amounts) for key, amounts in ordered[:count]]

    def _forget(self) -> None:
        ordered = self.first(len(self.entries))
        self.missed += ordered[self.capacity][1]
        self.entries = {key: (documents, weight) for key, documents, weight in ordered[: self.capacity]}


@dataclass
class Draw(Generic[Payload]):
    """A uniform sample of the distinct keys of a stream: those with the smallest hashes, whatever their order."""

    size: int
    chosen: dict[int, Payload] = field(default_factory=dict)

    def wants(self, rank: int) -> bool:
        """Whether the key of this rank is drawn, as things stand; one that is in is not drawn again."""
        return rank not in self.chosen and (len(self.chosen) < self.size or rank < max(self.chosen))

    def put(self, rank: int, payload: Payload) -> None:
        self.chosen[rank] = payload
        if len(self.chosen) > self.size:
            del self.chosen[max(self.chosen)]

    def merge(self, other: Draw[Payload]) -> None:
        both = self.chosen | other.chosen
        self.chosen = {rank: both[rank] for rank in sorted(both)[: self.size]}

    def drawn(self) -> tuple[Payload, ...]:
        return tuple(self.chosen[rank] for rank in sorted(self.chosen))
