"""Which rows are there at all, which come first, and which have the same text: in arrays, a few bytes for each row."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.text.dedup.shelves import Layout, Role, Shelf, document_ids
from tasks.text.dedup.sketches import read
from tasks.text.documents import BATCH_DOCUMENTS, CorpusError
from tasks.text.takedown import Takedown

OWN, REPRESENTATIVE, FOREIGN, SIGNATURES = "own.npy", "representative.npy", "foreign.npy", "signatures.bin"
_MOST = 2**31 - 1


@dataclass(frozen=True)
class Numbering:
    """Rows are documents on the shelves; a node is a text that one or more of them have.

    Nodes are numbered in the order of preference of their first row: another corpus's, kept the night before,
    tonight's in order, earlier nights'.
    """

    order: NDArray[np.int32]
    """Rows that are there, in the order of preference."""
    nodes: NDArray[np.int32]
    """(rows): its node, -1 for a row that is not there."""
    representative: NDArray[np.int32]
    """(nodes): its first row."""
    foreign: NDArray[np.bool_]
    """(nodes): only other corpora have it, so what it is similar to does not matter to itself."""

    def save(self, folder: Path) -> None:
        """What workers look up, memory-mapped."""
        own = np.full(len(self.nodes), -1, np.int32)
        own[self.representative] = np.arange(len(self.representative), dtype=np.int32)
        for name, array in ((OWN, own), (REPRESENTATIVE, self.representative), (FOREIGN, self.foreign)):
            store(folder / name, array)


def number(layout: Layout, takedown: Takedown) -> Numbering:
    """
    Raises:
        CorpusError: more documents than 2^31 - 1.
    """
    if layout.rows > _MOST:
        raise CorpusError(f"{layout.rows} documents to deduplicate; more than {_MOST} are not supported")
    rank = _ranks(layout, takedown)
    order = np.argsort(rank, kind="stable").astype(np.int32)  # of int8: a radix sort
    order = order[: int(np.count_nonzero(rank < len(Role)))]
    texts = labels(layout.column("text"))
    at_order = texts[order]
    first = np.full(int(texts.max(initial=-1)) + 1, len(order), np.int32)
    np.minimum.at(first, at_order, np.arange(len(order), dtype=np.int32))
    is_first = np.zeros(len(order) + 1, bool)
    is_first[first] = True
    representative = order[is_first[:-1]]
    node_of = np.full(len(first), -1, np.int32)
    node_of[texts[representative]] = np.arange(len(representative), dtype=np.int32)
    nodes = np.full(layout.rows, -1, np.int32)
    nodes[order] = node_of[at_order]
    foreign = np.ones(len(representative), bool)
    foreign[nodes[~layout.is_of(Role.OTHER) & (nodes >= 0)]] = False
    return Numbering(order, nodes, representative, foreign)


def labels(keys: NDArray[np.uint8]) -> NDArray[np.int32]:
    """(rows): the same number for the same 16 bytes, numbered in the order of the bytes."""
    order, is_new = ordered(keys)
    found = np.empty(len(keys), np.int32)
    found[order] = np.cumsum(is_new, dtype=np.int32) - 1
    return found


def ordered(keys: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows in the order of their 16 bytes, and whether each differs from the one before."""
    high, low = (np.ascontiguousarray(keys).view(">u8")[:, half].astype(np.uint64) for half in (0, 1))
    order = np.lexsort((low, high))
    is_new = np.zeros(len(keys), bool)
    is_new[:1] = True
    for half in (high, low):
        sorted_half = half[order]
        is_new[1:] |= sorted_half[1:] != sorted_half[:-1]
    return order, is_new


def store(path: Path, array: NDArray[Any]) -> None:
    """np.save that a reader never sees half of."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.npy")
    np.save(temporary, array)
    os.replace(temporary, path)


def save_signatures(layout: Layout, folder: Path) -> None:
    """The signatures of all rows in one file, that workers look up in: (rows, entries) bytes."""
    temporary = folder / f".{SIGNATURES}.{os.getpid()}"
    with temporary.open("wb") as file:
        for shelf in layout.shelves:
            file.write(read(Path(shelf.sketches), "signature")[0].tobytes())
    os.replace(temporary, folder / SIGNATURES)


def _ranks(layout: Layout, takedown: Takedown) -> NDArray[np.int8]:
    """(rows): 0 = another corpus's, 1 = ours that was kept the night before, 2 = ours, 3 = earlier; 4 = not there."""
    rank = np.full(layout.rows, len(Role), np.int8)
    for _, shelf, rows in layout.numbered():
        rank[rows][_is_present(shelf, takedown)] = 3 if shelf.role in (Role.KEPT, Role.GONE) else shelf.role
    ours = layout.is_of(Role.OURS)
    if layout.is_of(Role.KEPT).any():
        names = labels(layout.column("id", (Role.OURS, Role.KEPT, Role.GONE)))
        known = np.zeros(int(names.max(initial=-1)) + 1, bool)
        known[names[layout.is_of(Role.KEPT) & (rank == 3)]] = True
        rank[ours] = np.where(known[names[ours]], 1, 2)
    else:
        rank[ours] = 2
    return rank


def _is_present(shelf: Shelf, takedown: Takedown) -> NDArray[np.bool_]:
    """(rows): whether the documents have the row, and nobody wished it gone. Tonight's were cleaned of such already."""
    present = np.ones(shelf.rows, bool)
    if shelf.role == Role.OURS:
        return present
    allowed = _is_allowed(shelf, takedown)
    if shelf.is_aligned:
        return allowed
    ids = document_ids(shelf)
    names = labels(np.concatenate((ids, read(Path(shelf.sketches), "id")[0])))
    there = np.zeros(int(names.max(initial=-1)) + 1, bool)
    there[names[: len(ids)][allowed]] = True
    return there[names[len(ids) :]]


def _is_allowed(shelf: Shelf, takedown: Takedown) -> NDArray[np.bool_]:
    """(documents)"""
    with pq.ParquetFile(shelf.documents) as parquet:
        if takedown == Takedown() or shelf.role == Role.OTHER:
            return np.ones(parquet.metadata.num_rows, bool)
        found = [
            not takedown.refusal(row["url"] or "", row["id"])
            for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=["id", "url"])
            for row in batch.to_pylist()
        ]
    return np.array(found, bool)
