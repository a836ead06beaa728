"""Expectation maximisation over all segmentations of all words at once, for `unigram`.

N characters of all distinct words, V pieces, E edges: an edge is a piece at a place of a word. Words are numbered in a
fixed order, and sums run in the order of edges: the result is a function of the words alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

MAX_PIECE = 16  # characters, as in SentencePiece

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Lattice:
    """Words one after the other. A word of n characters has n + 1 nodes: before each character, and its end."""

    def __init__(self, words: list[str], counts: list[int]) -> None:
        text = "".join(words)
        lengths = np.array([len(word) for word in words])
        self.text = text
        self.alphabet, self.codes = np.unique(
            np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32), return_inverse=True
        )
        """(N,): index of each character in the alphabet."""
        self.word = np.repeat(np.arange(len(words)), lengths)
        """(N,)"""
        self.counts = np.array(counts, dtype=np.float64)
        ends = np.cumsum(lengths)
        self.left = np.repeat(ends, lengths) - np.arange(len(text))
        """(N,): characters from here to the end of the word."""
        self.depth = np.arange(len(text) + len(words)) - np.repeat(ends - lengths + np.arange(len(words)), lengths + 1)
        """(nodes,): characters before the node in its word."""
        self.first = ends - lengths + np.arange(len(words))
        """(words,): first node of each; the last is before the next word's first."""
        self.last = self.first + lengths


@dataclass(frozen=True)
class Pieces:
    """V pieces and the E edges that they make, ascending by end node, then by length."""

    score: Floats
    """(V,): log probability."""
    place: Ints
    """(V,): position of one occurrence in the text."""
    length: Ints
    """(V,)"""
    start: Ints
    """(E,): node"""
    end: Ints
    piece: Ints

    def __len__(self) -> int:
        return len(self.score)

    def kept(self, keep: NDArray[np.bool_], score: Floats) -> Pieces:
        """Those pieces alone, renumbered, with their edges."""
        number = np.cumsum(keep) - 1
        edge = keep[self.piece]
        edges = (self.start[edge], self.end[edge], number[self.piece[edge]])
        return Pieces(score[keep], self.place[keep], self.length[keep], *edges)

    def named(self, lattice: Lattice) -> list[tuple[str, float]]:
        places, lengths, scores = self.place.tolist(), self.length.tolist(), self.score.tolist()
        return [
            (lattice.text[place : place + length], score)
            for place, length, score in zip(places, lengths, scores, strict=True)
        ]


def seeds(lattice: Lattice, min_count: int, size: int) -> Pieces:
    """All characters, and the `size` substrings with the largest count times length."""
    positions = np.arange(len(lattice.codes))
    weight = lattice.counts[lattice.word]
    place, length, count, edges = [], [], [], []
    gram, total = lattice.codes.astype(np.int64), 0
    for size_ in range(1, MAX_PIECE + 1):
        found, where, gram = np.unique(gram, return_index=True, return_inverse=True)
        counts = np.bincount(gram, weight[positions], len(found))
        frequent = (counts >= min_count) if size_ > 1 else np.ones(len(found), dtype=bool)
        keep = frequent[gram]
        gram = (np.cumsum(frequent) - 1)[gram[keep]]
        place.append(positions[where[frequent]])
        positions = positions[keep]
        length.append(np.full(int(frequent.sum()), size_))
        count.append(counts[frequent])
        edges.append((positions, gram + total))
        total += len(place[-1])
        longer = lattice.left[positions] > size_
        positions, gram = positions[longer], gram[longer]
        gram = gram * len(lattice.alphabet) + lattice.codes[positions + size_]
        if not len(positions):
            break
    return _chosen(lattice, np.concatenate(place), np.concatenate(length), np.concatenate(count), edges, size)


def estimate(lattice: Lattice, pieces: Pieces) -> Pieces:
    """One round: expected counts of all pieces over all segmentations, and their probabilities after those.

    The Bayesian update of SentencePiece, which draws rare pieces to zero; those expected less than half a time go.
    """
    forward = _forward(lattice, pieces)
    backward = _backward(lattice, pieces)
    word = np.searchsorted(lattice.first, pieces.start, side="right") - 1
    share = forward[pieces.start] + pieces.score[pieces.piece] + backward[pieces.end] - forward[lattice.last][word]
    expected: Floats = np.bincount(pieces.piece, np.exp(share) * lattice.counts[word], len(pieces)).astype(np.float64)
    keep = (expected >= 0.5) | (pieces.length == 1)
    expected = np.maximum(expected, 0.5)
    return pieces.kept(keep, _digamma(expected) - _digamma(expected[keep].sum(keepdims=True)))


def prune(lattice: Lattice, pieces: Pieces, size: int) -> Pieces:
    """The `size` pieces (and all characters) without which the likelihood of the best segmentations would fall most.

    A piece that goes is replaced by the best other segmentation of itself.
    """
    count = np.zeros(len(pieces))
    best = _best_edges(lattice.depth, pieces.score, pieces.start, pieces.end, pieces.piece)
    for words, edge in _walk(best, pieces.start, lattice.first, lattice.last):
        count += np.bincount(pieces.piece[edge], lattice.counts[words], len(pieces))
    total = np.log(count.sum())
    parts, others = _alternatives(lattice, pieces, count)
    with np.errstate(divide="ignore", invalid="ignore"):
        after = others - parts * np.log(count.sum() + count * (parts - 1))
        loss = count * (np.log(count) - total - after)
    single = pieces.length == 1
    loss[count == 0] = -np.inf
    loss[single] = np.inf
    keep = np.zeros(len(pieces), dtype=bool)
    keep[np.argsort(-loss, kind="stable")[: max(size, int(single.sum()))]] = True
    return pieces.kept(keep & ((count > 0) | single), pieces.score)


def _chosen(
    lattice: Lattice, place: Ints, length: Ints, count: Floats, edges: list[tuple[Ints, Ints]], size: int
) -> Pieces:
    rank = np.where(length == 1, np.inf, count * length)
    keep = np.zeros(len(place), dtype=bool)
    keep[np.argsort(-rank, kind="stable")[: size + int((length == 1).sum())]] = True
    position, piece = np.concatenate([each[0] for each in edges]), np.concatenate([each[1] for each in edges])
    start = position + lattice.word[position]  # one node more in each word before
    end = start + length[piece]
    order = np.lexsort((length[piece], end))
    weight = count * length
    score = np.log(weight) - np.log(weight[keep].sum())
    return Pieces(score, place, length, start[order], end[order], piece[order]).kept(keep, score)


def _levels(depth: Ints, nodes: Ints) -> list[Ints]:
    """Edge numbers by the depth of their nodes, those of one node together."""
    at = depth[nodes]
    order = np.argsort(at, kind="stable")
    bounds = np.searchsorted(at[order], np.arange(int(at.max()) + 2)) if len(at) else np.zeros(1, np.int64)
    return [order[low:high] for low, high in pairwise(bounds.tolist()) if high > low]


def _groups(nodes: Ints) -> Ints:
    """First of each run of equal nodes."""
    return np.flatnonzero(np.concatenate([[True], nodes[1:] != nodes[:-1]]))


def _forward(lattice: Lattice, pieces: Pieces) -> Floats:
    """(nodes,): log of the summed probability of all ways from the start of the word."""
    result = np.zeros(len(lattice.depth))
    for edges in _levels(lattice.depth, pieces.end):
        ends = pieces.end[edges]
        values = result[pieces.start[edges]] + pieces.score[pieces.piece[edges]]
        groups = _groups(ends)
        result[ends[groups]] = np.logaddexp.reduceat(values, groups)
    return result


def _backward(lattice: Lattice, pieces: Pieces) -> Floats:
    """(nodes,): log of the summed probability of all ways to the end of the word."""
    result = np.zeros(len(lattice.depth))
    by_start = np.argsort(pieces.start, kind="stable")
    for level in reversed(_levels(lattice.depth, pieces.start[by_start])):
        edges = by_start[level]
        starts = pieces.start[edges]
        values = result[pieces.end[edges]] + pieces.score[pieces.piece[edges]]
        groups = _groups(starts)
        result[starts[groups]] = np.logaddexp.reduceat(values, groups)
    return result


def _best_edges(depth: Ints, score: Floats, start: Ints, end: Ints, piece: Ints) -> Ints:
    """(nodes,): the edge by which the most probable way reaches each node; of equal ones the shortest; -1 = none."""
    value = np.zeros(len(depth))
    best = np.full(len(depth), -1)
    for edges in _levels(depth, end):
        ends = end[edges]
        values = value[start[edges]] + score[piece[edges]]
        groups = _groups(ends)
        highest = np.maximum.reduceat(values, groups)
        sizes = np.diff(np.append(groups, len(edges)))
        winners = np.flatnonzero(values == np.repeat(highest, sizes))
        winners = winners[_groups(ends[winners])]
        value[ends[groups]] = highest
        best[ends[groups]] = edges[winners]
    return best


def _walk(best: Ints, start: Ints, first: Ints, last: Ints) -> list[tuple[Ints, Ints]]:
    """(words, their edges), one step back from the ends of all words after the other, to their beginnings."""
    words, nodes, steps = np.arange(len(first)), last.copy(), []
    while len(words):
        edges = best[nodes]
        steps.append((words, edges))
        nodes = start[edges]
        on = nodes > first[words]
        words, nodes = words[on], nodes[on]
    return steps


def _alternatives(lattice: Lattice, pieces: Pieces, count: Floats) -> tuple[Floats, Floats]:
    """(V,) each: pieces in the best segmentation without the piece itself, and the sum of the logs of their counts
    after they took over the piece's."""
    parts, logs = np.ones(len(pieces)), np.zeros(len(pieces))
    long = np.flatnonzero(pieces.length > 1)
    first = pieces.place[long] + lattice.word[pieces.place[long]]
    lengths = pieces.length[long]
    low = np.searchsorted(pieces.end, first, side="right")
    high = np.searchsorted(pieces.end, first + lengths, side="right")
    owner = np.repeat(np.arange(len(long)), high - low)
    edge = np.arange(len(owner)) + np.repeat(low - (np.cumsum(high - low) - (high - low)), high - low)
    inside = (pieces.start[edge] >= first[owner]) & (pieces.piece[edge] != long[owner])
    owner, edge = owner[inside], edge[inside]
    base = np.cumsum(lengths + 1) - (lengths + 1)  # each piece as a word of its own
    shift = base[owner] - first[owner]
    start, end, piece = pieces.start[edge] + shift, pieces.end[edge] + shift, pieces.piece[edge]
    depth = np.arange(int((lengths + 1).sum())) - np.repeat(base, lengths + 1)
    best = _best_edges(depth, pieces.score, start, end, piece)
    parts[long] = 0
    for which, edges in _walk(best, start, base, base + lengths):
        parts[long[which]] += 1
        logs[long[which]] += np.log(np.maximum(count[piece[edges]] + count[long[which]], 1e-300))
    return parts, logs


def _digamma(x: Floats) -> Floats:
    """To 1e-9: the recurrence up to 7, then the asymptotic series (Abramowitz and Stegun, 6.3.18)."""
    result, x = np.zeros_like(x), x.copy()
    while (small := x < 7).any():
        result[small] -= 1 / x[small]
        x[small] += 1
    inverse = 1 / (x * x)
    return result + np.log(x) - 0.5 / x - inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
