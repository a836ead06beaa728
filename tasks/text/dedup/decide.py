"""Who stays, who goes in favour of whom, and what is one cluster: greedy in the order of preference, on arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.text.dedup.numbering import Numbering, labels, ordered, store
from tasks.text.dedup.shelves import Layout, Role
from tasks.text.dedup.verify import SIMILARITY

WINNER, REASON, SCORE, NAMER = "winner.npy", "reason.npy", "score.npy", "namer.npy"
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


class Reason(IntEnum):
    """Why a document goes."""

    NONE = 0
    EXACT = 1
    OTHER_LABEL = 2
    ADDRESS = 3
    NEAR = 4
    OTHER_CORPUS = 5

    @property
    def text(self) -> str:
        return _TEXTS[self]


_TEXTS = (
    "",
    "exact duplicate",
    "exact duplicate, other label",
    "same address",
    "near duplicate",
    "duplicate of another corpus",
)


@dataclass(frozen=True)
class Decision:
    """What becomes of each row. Arrays over rows; of rows that are not ours, `winner` is -1."""

    winner: NDArray[np.int32]
    """The row that stays instead; -1 = it stays itself."""
    reason: NDArray[np.uint8]
    score: NDArray[np.float64]
    """Similarity to the winner, NaN while unknown."""

    def save(self, folder: Path) -> None:
        for name, array in ((WINNER, self.winner), (REASON, self.reason), (SCORE, self.score)):
            store(folder / name, array)


def decide(layout: Layout, numbering: Numbering, similar: NDArray[np.void], threshold: float) -> Decision:
    """Of duplicates the first in the order of preference stays; the others name the document that stays.

    A document is compared with those that are kept, not with dropped ones: else a chain of small changes would take
    away texts that have no near twin left. An equal text counts before an equal address, and that before a near twin.

    Args:
        similar: SIMILARITY of pairs of nodes, each once.
    """
    addresses = _addresses(layout, numbering)
    first, others, scores = _neighbours(len(numbering.representative), similar[similar["similarity"] >= threshold])
    winner = np.full(layout.rows, -1, np.int32)
    reason = np.zeros(layout.rows, np.uint8)
    score = np.full(layout.rows, np.nan)
    text_holder = np.full(len(numbering.representative), -1, np.int32)
    address_holder = np.full(int(addresses.max(initial=-1)) + 1, -1, np.int32)
    is_other = layout.is_of(Role.OTHER)
    for row in _contested(layout, numbering, addresses, first).tolist():
        node, address = numbering.nodes[row], addresses[row]
        if not is_other[row]:
            if (holder := text_holder[node]) >= 0:
                winner[row], reason[row], score[row] = holder, Reason.EXACT, 1.0
            elif address >= 0 and (holder := address_holder[address]) >= 0:
                winner[row], reason[row] = holder, Reason.ADDRESS
            elif (at := _held(others[first[node] : first[node + 1]], text_holder)) >= 0:
                holder = text_holder[others[first[node] + at]]
                winner[row], reason[row], score[row] = holder, Reason.NEAR, scores[first[node] + at]
            if winner[row] >= 0:
                continue
        if text_holder[node] < 0:
            text_holder[node] = row
        if address >= 0 and address_holder[address] < 0:
            address_holder[address] = row
    reason[(winner >= 0) & is_other[winner]] = Reason.OTHER_CORPUS
    _mark_labels(layout, winner, reason)
    return Decision(winner, reason, score)


def ghosts(layout: Layout, numbering: Numbering, decision: Decision) -> NDArray[np.int64]:
    """Rows of earlier nights whose documents are not among those that stay tonight, each document once."""
    names = labels(layout.column("id", (Role.OURS, Role.KEPT, Role.GONE)))
    away = np.ones(int(names.max(initial=-1)) + 1, bool)
    away[names[stays(layout, decision)]] = False
    earlier = np.flatnonzero((layout.is_of(Role.KEPT) | layout.is_of(Role.GONE)) & (numbering.nodes >= 0))
    earlier = earlier[away[names[earlier]]]
    _, first = np.unique(names[earlier], return_index=True)
    return np.sort(earlier[first])


def stays(layout: Layout, decision: Decision) -> NDArray[np.bool_]:
    """(rows): ours, and not dropped."""
    return layout.is_of(Role.OURS) & (decision.winner < 0)


def clusters(
    layout: Layout, numbering: Numbering, members: NDArray[np.bool_], similar: NDArray[np.void], threshold: float
) -> NDArray[np.int32]:
    """(rows): the member of a row's cluster whose id is the smallest, which names it; -1 for rows that are no members.

    Members with a similarity of at least `threshold`, also through other members, are one cluster.
    """
    rows = np.flatnonzero(members)
    texts = len(numbering.representative)
    taking_part = np.zeros(texts, bool)
    taking_part[numbering.nodes[rows]] = True
    pairs = similar["pair"][similar["similarity"] >= threshold]
    one, other = (pairs >> _SHIFT).astype(np.int32), (pairs & _LOW).astype(np.int32)
    edges = taking_part[one] & taking_part[other]
    graph = coo_array((np.ones(int(edges.sum()), bool), (one[edges], other[edges])), shape=(texts, texts))
    found, component = connected_components(graph, directed=False)
    component = component[numbering.nodes[rows]]
    order, _ = ordered(layout.column("id")[rows])
    smallest = np.empty(found, np.int64)
    smallest[component[order[::-1]]] = rows[order[::-1]]  # the last assignment counts: that of the smallest id
    namer = np.full(layout.rows, -1, np.int32)
    namer[rows] = smallest[component]
    return namer


def load_similar(files: Sequence[Path]) -> NDArray[np.void]:
    """SIMILARITY of all files, which hold each pair once."""
    return np.concatenate([np.empty(0, SIMILARITY), *(np.load(file) for file in files)])


def _addresses(layout: Layout, numbering: Numbering) -> NDArray[np.int32]:
    """(rows): a number for each address that several rows have, of ours and other corpora; -1 = it has none such."""
    values = layout.column("address", (Role.OTHER, Role.OURS))
    rows = np.flatnonzero((values != 0) & (numbering.nodes >= 0))
    rows = rows[np.argsort(values[rows])]
    same = np.zeros(len(rows) + 1, bool)
    same[1:-1] = values[rows[1:]] == values[rows[:-1]] if len(rows) else False
    shared = same[:-1] | same[1:]
    numbers = np.cumsum(~same[:-1] & shared, dtype=np.int32) - 1
    found = np.full(layout.rows, -1, np.int32)
    found[rows[shared]] = numbers[shared]
    return found


def _neighbours(
    nodes: int, pairs: NDArray[np.void]
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float64]]:
    """Of every node its neighbours, the most similar first: others[first[node]:first[node + 1]], and the scores."""
    one, other = (pairs["pair"] >> _SHIFT).astype(np.int32), (pairs["pair"] & _LOW).astype(np.int32)
    source, target = np.concatenate((one, other)), np.concatenate((other, one))
    scores = np.concatenate((pairs["similarity"], pairs["similarity"]))
    order = np.lexsort((target, -scores, source))
    first = np.searchsorted(source[order], np.arange(nodes + 1, dtype=np.int32))
    return first, target[order], scores[order]


def _contested(
    layout: Layout, numbering: Numbering, addresses: NDArray[np.int32], first: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Rows of ours and other corpora whose text, address or near twin another row has, in the order of preference."""
    order = numbering.order
    nodes = numbering.nodes[order]
    copies = np.bincount(nodes, minlength=len(numbering.representative))
    competing = (layout.is_of(Role.OURS) | layout.is_of(Role.OTHER))[order]
    contested = (copies[nodes] > 1) | (addresses[order] >= 0) | (np.diff(first)[nodes] > 0)
    return order[competing & contested]


def _held(nodes: NDArray[np.int32], holder: NDArray[np.int32]) -> int:
    """Index of the first of the nodes that is kept; -1: none."""
    kept = np.flatnonzero(holder[nodes] >= 0)
    return int(kept[0]) if len(kept) else -1


def _mark_labels(layout: Layout, winner: NDArray[np.int32], reason: NDArray[np.uint8]) -> None:
    exact = np.flatnonzero(reason == Reason.EXACT)
    if len(exact):
        names = layout.column("label", (Role.OURS,))
        mine, kept = names[exact], names[winner[exact]]
        reason[exact[(mine != kept) & (mine != 0) & (kept != 0)]] = Reason.OTHER_LABEL
