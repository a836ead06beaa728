"""Pairs of texts that may be similar: those that meet in a bucket of a band, and whose signatures do not object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.text.dedup.numbering import FOREIGN, OWN, REPRESENTATIVE, SIGNATURES
from tasks.text.dedup.shelves import Layout
from tasks.text.dedup.sketches import Shingling, band_name, read
from tasks.text.minhash import agreeing, least_agreeing
from tasks.text.ngrams import distinct
from tasks.text.parts import Part, Receipt

BANDS_AT_ONCE = 6
PAIRS = "pairs"
_CHUNK = 200_000
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)

Codes = NDArray[np.uint64]
"""Pairs of nodes i < j as i * 2^32 + j."""


@dataclass(frozen=True)
class Bands:
    """Bands whose pairs one worker looks for."""

    folder: str
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class FindPairs:
    """Writes the distinct pairs of some bands, in order. Holds 50 bytes for each text, and 8 for each pair. Pickles."""

    shingling: Shingling
    least: float
    """Similarity below which a pair is of no use."""
    bucket_limit: int

    def __call__(self, bands: Bands, part: Part) -> Receipt:
        folder = Path(bands.folder)
        layout, rows = Layout.load(folder), Counter[str]()
        filter = _Filter(folder, self.shingling.entries, self.least)
        found = _Distinct()
        keys = _keys(layout, folder, [*bands.numbers, (bands.numbers[-1] + 1) % self.shingling.bands])
        for band, more in pairwise(keys):
            for met in bucket_pairs(band, more, self.bucket_limit, rows):
                rows["met"] += len(met)
                found.add(filter(met))
        pairs = found.merged()
        with part.writing(PAIRS, ".npy") as path, path.open("wb") as file:
            np.save(file, pairs)
        return Receipt(rows, facts={"pairs": len(pairs)})


def bucket_pairs(
    keys: NDArray[np.uint32], more: NDArray[np.uint32], limit: int, counts: Counter[str]
) -> Iterator[Codes]:
    """All pairs of nodes with equal keys, a chunk at a time; of buckets of more than `limit`, some of them.

    In such a bucket every text is compared with the `limit / 2` first ones, which are those that would be kept, and
    with the `limit / 2` before it in the order of `more`, another band, in which the similar ones of them meet. So a
    thousand copies of one text cost a thousand times `limit` pairs and not a million.
    """
    nodes = (keys.astype(np.uint64) << _SHIFT) | np.arange(len(keys), dtype=np.uint64)
    nodes.sort()
    changes = np.flatnonzero(nodes[1:] >> _SHIFT != nodes[:-1] >> _SHIFT) + 1
    starts = np.concatenate(([0], changes))
    sizes = np.diff(np.concatenate((starts, [len(nodes)])))
    nodes &= _LOW
    for size in np.unique(sizes[(sizes > 1) & (sizes <= limit)]).tolist():
        yield from _all_pairs(nodes, starts[sizes == size], size)
    for start, size in zip(starts[sizes > limit].tolist(), sizes[sizes > limit].tolist(), strict=True):
        counts["large_buckets"] += 1
        counts["largest_bucket"] = max(counts["largest_bucket"], size)
        yield from _some_pairs(nodes[start : start + size], more, limit)


def _all_pairs(nodes: Codes, starts: NDArray[np.int64], size: int) -> Iterator[Codes]:
    one, other = np.triu_indices(size, 1)
    at_once = max(1, _CHUNK // len(one))
    for begin in range(0, len(starts), at_once):
        members = nodes[starts[begin : begin + at_once, None] + np.arange(size)]
        yield (members[:, one] << _SHIFT | members[:, other]).ravel()


def _some_pairs(bucket: Codes, more: NDArray[np.uint32], limit: int) -> Iterator[Codes]:
    near = bucket[np.argsort(more[bucket], kind="stable")]
    for step in range(1, limit // 2 + 1):
        yield _coded(near[step:], near[:-step])
    for leader in bucket[: limit // 2]:
        yield _coded(np.full(len(bucket), leader), bucket)


def _coded(one: Codes, other: Codes) -> Codes:
    apart = one != other
    one, other = one[apart], other[apart]
    return np.minimum(one, other) << _SHIFT | np.maximum(one, other)


def _keys(layout: Layout, folder: Path, bands: Sequence[int]) -> NDArray[np.uint32]:
    """(bands, nodes): the keys of the rows that stand for a node. Opening a part's file is what takes time: once."""
    own = np.load(folder / OWN, mmap_mode="r")
    keys = np.zeros((len(bands), len(np.load(folder / REPRESENTATIVE, mmap_mode="r"))), np.uint32)
    names = [band_name(band) for band in bands]
    for _, shelf, rows in layout.numbered():
        nodes = own[rows]
        for band, values in zip(keys, read(Path(shelf.sketches), *names), strict=True):
            band[nodes[nodes >= 0]] = values[nodes >= 0]
    return keys


class _Distinct:
    """Collects codes; those that come again and again take no memory for long."""

    def __init__(self) -> None:
        self._parts: list[Codes] = [np.empty(0, np.uint64)]
        self._waiting = 0

    def add(self, codes: Codes) -> None:
        self._parts.append(codes)
        self._waiting += len(codes)
        if self._waiting > max(_CHUNK, len(self._parts[0])):
            self.merged()

    def merged(self) -> Codes:
        self._parts = [distinct(np.concatenate(self._parts))]
        self._waiting = 0
        return self._parts[0]


class _Filter:
    """Keeps pairs that matter to this corpus and whose signatures are similar enough."""

    def __init__(self, folder: Path, entries: int, least: float) -> None:
        self._foreign = np.load(folder / FOREIGN, mmap_mode="r")
        self._representative = np.load(folder / REPRESENTATIVE, mmap_mode="r")
        self._signatures = np.memmap(folder / SIGNATURES, np.uint8, "r").reshape(-1, entries)
        self._least = least_agreeing(least, entries)

    def __call__(self, codes: Codes) -> Codes:
        one, other = (codes >> _SHIFT).astype(np.int64), (codes & _LOW).astype(np.int64)
        matters = ~(self._foreign[one] & self._foreign[other])
        codes, one, other = codes[matters], one[matters], other[matters]
        rows, others = self._representative[one], self._representative[other]
        return codes[agreeing(self._signatures[rows], self._signatures[others]) >= self._least]
