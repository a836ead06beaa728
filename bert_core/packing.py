"""From samples to rows: each sample is in one row, whole; nothing is random."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

ATTENTION_BREAK_EVEN = 250
"""Row length at which attention costs as much as the matrix products: 6 x 384 BERT, two cores, dropout on."""
ROW_LENGTH_STEP = 8
"""Every new shape has kernels built and buffers kept for it: fewer shapes, less time and memory lost."""


@dataclass(frozen=True)
class PackingPlan:
    """Which samples share a row. Every sample is in exactly one row, whole."""

    row_length: int
    row_offsets: NDArray[np.integer[Any]]
    """(num_rows + 1,): row r holds sample_ids[row_offsets[r] : row_offsets[r + 1]]."""
    sample_ids: NDArray[np.integer[Any]]
    """(num_samples,): ascending within a row."""
    num_tokens: int

    @property
    def num_rows(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def efficiency(self) -> float:
        """Share of positions that hold a token rather than padding."""
        return self.num_tokens / (self.num_rows * self.row_length) if self.num_rows else 1.0

    def row(self, row: int) -> NDArray[np.integer[Any]]:
        """The samples of a row."""
        return self.sample_ids[self.row_offsets[row] : self.row_offsets[row + 1]]

    def members(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The samples of `rows`, row after row, and how many each has."""
        first = self.row_offsets[rows].astype(np.int64)
        sizes = self.row_offsets[rows + 1].astype(np.int64) - first
        inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return self.sample_ids[np.repeat(first, sizes) + inside].astype(np.int64), sizes


def pack(lengths: NDArray[Any], row_length: int) -> PackingPlan:
    """Best-fit decreasing over a histogram of lengths: the longest first, each into the fullest row that has room.

    Equal lengths are placed together, so the work grows with the distinct lengths, not with the samples.

    Args:
        lengths: (N,) tokens in each sample, special tokens included.

    Raises:
        ValueError: a sample is longer than a row, or empty.
    """
    lengths = np.asarray(lengths, dtype=np.int64)
    if len(lengths) and not 1 <= lengths.min() <= lengths.max() <= row_length:
        raise ValueError(f"lengths go from {lengths.min()} to {lengths.max()}; rows take 1 to {row_length} tokens")
    keys = row_length - lengths
    order = np.argsort(keys.astype(np.uint16) if row_length < 2**16 else keys, kind="stable")  # 16 bits: radix sort
    counts = np.bincount(keys, minlength=row_length)
    row_of = np.empty(len(lengths), dtype=np.int64)
    open_rows = _OpenRows(row_length)
    done = 0
    for key in np.flatnonzero(counts).tolist():
        count = int(counts[key])
        row_of[order[done : done + count]] = open_rows.place(row_length - key, count)
        done += count
    sizes = np.bincount(row_of, minlength=open_rows.num_rows)
    return PackingPlan(
        row_length=row_length,
        row_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        sample_ids=np.argsort(row_of, kind="stable"),
        num_tokens=int(lengths.sum()),
    )


def pack_cheapest(lengths: NDArray[np.int64], max_row_length: int) -> PackingPlan:
    """The plan that costs least in rows of at most `max_row_length`: long rows waste less, short ones attend less.

    A position of a row of T tokens costs 1 + T / ATTENTION_BREAK_EVEN of what its matrix products alone cost.
    """
    total = int(lengths.sum())
    shortest = min(max_row_length, -(-int(lengths.max()) // ROW_LENGTH_STEP) * ROW_LENGTH_STEP)
    best, least = pack(lengths, shortest), inf
    for row_length in range(shortest, max_row_length + 1, ROW_LENGTH_STEP):
        position = 1 + row_length / ATTENTION_BREAK_EVEN
        if total * position >= least:  # not even rows without padding: nor are any longer ones cheaper
            break
        plan = best if row_length == shortest else pack(lengths, row_length)
        if (cost := plan.num_rows * row_length * position) < least:
            best, least = plan, cost
    return best


class _OpenRows:
    """Rows by the room that is left in them."""

    def __init__(self, row_length: int) -> None:
        self._row_length = row_length
        self._by_room: list[list[NDArray[np.int64]]] = [[] for _ in range(row_length + 1)]
        self.num_rows = 0

    def place(self, length: int, count: int) -> NDArray[np.int64]:
        """The rows that `count` samples of `length` tokens go to."""
        placed = []
        for room in range(length, self._row_length + 1):
            # A row just filled has less room than all those tried after it: best fit fills it up before the next.
            while count and self._by_room[room]:
                rows = self._by_room[room].pop(0)
                placed.append(self._fill(rows, room, length, count))
                count -= len(placed[-1])
        if count:
            fits = self._row_length // length
            rows = np.arange(self.num_rows, self.num_rows + -(-count // fits))
            self.num_rows += len(rows)
            placed.append(self._fill(rows, self._row_length, length, count))
        return np.concatenate(placed)

    def _fill(self, rows: NDArray[np.int64], room: int, length: int, count: int) -> NDArray[np.int64]:
        fits = room // length
        full, rest = divmod(min(count, len(rows) * fits), fits)
        self._put(rows[:full], room - fits * length)
        self._put(rows[full : full + 1], room - rest * length)
        self._put(rows[full + 1 :], room)
        return np.repeat(rows, fits)[: full * fits + rest]

    def _put(self, rows: NDArray[np.int64], room: int) -> None:
        if len(rows):
            self._by_room[room].insert(0, rows)
