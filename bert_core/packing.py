"""From documents to samples (`chunk`), from samples to rows (`pack`): nothing is lost, and nothing is random."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.shards import TokenShards


@dataclass(frozen=True)
class PackingPlan:
    """Which samples share a row. Every sample is in exactly one row, whole."""

    row_length: int
    row_offsets: NDArray[np.int64]
    """(num_rows + 1,): row r holds sample_ids[row_offsets[r] : row_offsets[r + 1]]."""
    sample_ids: NDArray[np.int64]
    """(num_samples,): ascending within a row."""
    num_tokens: int

    @property
    def num_rows(self) -> int:
        return len(self.row_offsets) - 1

    @property
    def efficiency(self) -> float:
        """Share of positions that hold a token rather than padding."""
        return self.num_tokens / (self.num_rows * self.row_length) if self.num_rows else 1.0

    def row(self, row: int) -> NDArray[np.int64]:
        """The samples of a row."""
        return self.sample_ids[self.row_offsets[row] : self.row_offsets[row + 1]]


@dataclass(frozen=True)
class Samples:
    """N pieces of documents: sample i is tokens start[i] to end[i] of document[i]. Never empty."""

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    end: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.document)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,): tokens, without special ones."""
        return self.end - self.start


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
    order = np.argsort(-lengths, kind="stable")
    groups, counts = np.unique(-lengths[order], return_counts=True)
    row_of = np.empty(len(lengths), dtype=np.int64)
    open_rows = _OpenRows(row_length)
    done = 0
    for length, count in zip((-groups).tolist(), counts.tolist(), strict=True):
        row_of[order[done : done + count]] = open_rows.place(length, count)
        done += count
    sizes = np.bincount(row_of, minlength=open_rows.num_rows)
    return PackingPlan(
        row_length=row_length,
        row_offsets=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        sample_ids=np.argsort(row_of, kind="stable"),
        num_tokens=int(lengths.sum()),
    )


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


def chunk(shards: TokenShards, max_tokens: int, *, nsp: bool = False) -> Samples:
    """All documents as samples of at most `max_tokens` tokens; every token is in exactly one sample.

    A long document is cut where a sentence starts; inside a sentence that is itself too long, where a word starts;
    inside a word that is too long, anywhere. Samples are in the order of the text.

    Args:
        nsp: avoid samples of one sentence, which next-sentence prediction would have to cut inside the sentence.
    """
    lengths = shards.lengths.astype(np.int64)
    pieces = np.where(lengths > 0, 1, 0)
    cuts = {
        int(document): _cuts(shards, int(document), max_tokens, nsp)
        for document in np.flatnonzero(lengths > max_tokens)
    }
    for document, inner in cuts.items():
        pieces[document] = len(inner) + 1
    first = np.cumsum(pieces) - pieces
    start = np.zeros(int(pieces.sum()), dtype=np.int64)
    end = np.repeat(lengths, pieces)
    for document, inner in cuts.items():
        at = first[document]
        start[at + 1 : at + 1 + len(inner)] = inner
        end[at : at + len(inner)] = inner
    return Samples(document=np.repeat(np.arange(len(lengths)), pieces), start=start, end=end)


def _cuts(shards: TokenShards, document: int, max_tokens: int, nsp: bool) -> list[int]:
    """Where a long document is cut: ascending, without 0 and the end."""
    sentences, length = shards.sentence_starts(document), int(shards.lengths[document])
    words = np.flatnonzero(shards.word_starts(document))
    edges = [0]
    while length - edges[-1] > max_tokens:
        edges.append(
            _last_in(sentences, *_window(edges, max_tokens))
            or _last_in(words, *_window(edges, max_tokens))
            or edges[-1] + max_tokens
        )
    if nsp:
        _even_out_end(edges, sentences, length, max_tokens)
    return edges[1:]


def _window(edges: list[int], max_tokens: int) -> tuple[int, int]:
    return edges[-1], edges[-1] + max_tokens


def _last_in(starts: NDArray[Any], after: int, until: int) -> int:
    """The last of the ascending `starts` in (after, until], or 0."""
    index = int(starts.searchsorted(until, side="right")) - 1
    return int(starts[index]) if index >= 0 and starts[index] > after else 0


def _even_out_end(edges: list[int], sentences: NDArray[Any], length: int, max_tokens: int) -> None:
    """Give a last sample of one sentence another one, where the sample before it can spare it."""
    last = int(sentences.searchsorted(edges[-1]))
    is_start = last < len(sentences) and sentences[last] == edges[-1]
    before = int(sentences.searchsorted(edges[-2]))
    if is_start and last == len(sentences) - 1 and last - before >= 3 and length - sentences[last - 1] <= max_tokens:
        edges[-1] = int(sentences[last - 1])
