"""The exact similarity of candidate pairs, with the texts on disk and a few megabytes of them in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.text.dedup.candidates import Codes
from tasks.text.dedup.numbering import OWN, REPRESENTATIVE
from tasks.text.dedup.shelves import Layout, rows_of
from tasks.text.dedup.sketches import Shingling, batched
from tasks.text.ngrams import Hashes, distinct, jaccard
from tasks.text.normalise import canonical
from tasks.text.parts import Part, Receipt

TEXTS, PLACES, SIMILAR = "texts", "places", "similar"
WANTED = "wanted.npy"
PLACE = np.dtype([("node", np.int32), ("length", np.int32), ("offset", np.int64)])
SIMILARITY = np.dtype([("pair", np.uint64), ("similarity", np.float64)])
BATCH_BYTES = 4_000_000
"""Of text whose shingles are in memory at once, with 8 bytes for each."""
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)


@dataclass(frozen=True)
class CopyTexts:
    """Writes the canonical texts of a shelf's nodes that are to be compared, to be found by node. Pickles."""

    folder: str

    def __call__(self, number: int, part: Part) -> Receipt:
        folder = Path(self.folder)
        layout = Layout.load(folder)
        own = np.load(folder / OWN, mmap_mode="r")[layout.starts[number] : layout.starts[number + 1]]
        wanted = np.load(folder / WANTED, mmap_mode="r")
        rows = np.flatnonzero(own >= 0)
        rows = rows[wanted[own[rows]]]
        places = []
        with part.writing(TEXTS, ".bin") as path, path.open("wb") as file:
            for row, document in rows_of(layout.shelves[number], rows, ["text"]) if len(rows) else ():
                text = canonical(document["text"]).encode("utf-8", "surrogatepass")
                places.append((own[row], len(text), file.tell()))
                file.write(text)
        with part.writing(PLACES, ".npy") as path, path.open("wb") as file:
            np.save(file, np.sort(np.array(places, PLACE), order="node"))
        return Receipt(facts={"texts": len(places)})


@dataclass(frozen=True)
class PairRange:
    """Pairs of some files between two codes: [start, stop)."""

    files: tuple[str, ...]
    start: int
    stop: int


@dataclass(frozen=True)
class Compare:
    """Writes the pairs whose similarity is at least `least`, in order. Pickles."""

    folder: str
    shingling: Shingling
    least: float

    def __call__(self, pairs: PairRange, part: Part) -> Receipt:
        codes = _between(pairs)
        texts = Texts(Path(self.folder))
        found = np.empty(len(codes), SIMILARITY)
        found["pair"] = codes
        done = 0
        for batch in _batches(codes, texts):
            values = similarities(batch, texts, self.shingling, self.least)
            found["similarity"][done : done + len(batch)] = values
            done += len(batch)
        with part.writing(SIMILAR, ".npy") as path, path.open("wb") as file:
            np.save(file, found[found["similarity"] >= self.least])
        return Receipt(facts={"compared": len(codes)})


class Texts:
    """Canonical texts by node, read when they are asked for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "copied"
        self._layout = Layout.load(folder)
        self._representative = np.load(folder / REPRESENTATIVE, mmap_mode="r")

    def places(self, nodes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        """(shelf, place in its file) of each node."""
        shelves = self._layout.shelf_of(self._representative[nodes])
        found = np.empty(len(nodes), PLACE)
        for shelf in np.unique(shelves).tolist():
            places = np.load(self._folder / PLACES / f"part-{shelf:05d}.npy", mmap_mode="r")
            here = shelves == shelf
            found[here] = places[np.searchsorted(places["node"], nodes[here])]
        return shelves, found

    def get(self, nodes: NDArray[np.int64]) -> list[str]:
        """Their texts."""
        texts = [""] * len(nodes)
        shelves, places = self.places(nodes)
        for shelf in np.unique(shelves).tolist():
            with (self._folder / TEXTS / f"part-{shelf:05d}.bin").open("rb") as file:
                for index in np.flatnonzero(shelves == shelf).tolist():
                    data = os.pread(file.fileno(), int(places["length"][index]), int(places["offset"][index]))
                    texts[index] = data.decode("utf-8", "surrogatepass")
        return texts


def similarities(codes: Codes, texts: Texts, shingling: Shingling, least: float) -> list[float]:
    """The Jaccard similarity of each pair; 0.0 where the numbers of shingles alone keep it under `least`."""
    one, other = (codes >> _SHIFT).astype(np.int64), (codes & _LOW).astype(np.int64)
    nodes = distinct(np.concatenate((one, other)).astype(np.uint64)).astype(np.int64)
    sets = shingle_sets(texts.get(nodes), shingling)
    pairs = zip(np.searchsorted(nodes, one).tolist(), np.searchsorted(nodes, other).tolist(), strict=True)
    return [jaccard(sets[i], sets[j], least) for i, j in pairs]


def shingle_sets(texts: Sequence[str], shingling: Shingling) -> list[Hashes]:
    """The distinct hashed shingles of each text."""
    found: list[Hashes] = []
    for run in batched(texts):
        hashed = shingling.shingles(run)
        found += [distinct(hashed[index]) for index in range(len(hashed))]
    return found


def ranges(files: Sequence[Path], at_once: int) -> list[PairRange]:
    """The pairs of all files, cut into pieces of about `at_once` pairs. A function of the files alone."""
    step = max(1, at_once // 100)
    sampled = [np.load(file, mmap_mode="r")[::step] for file in files]
    every = np.sort(np.concatenate(sampled)) if sampled else np.empty(0, np.uint64)
    if not len(every):
        return []
    cuts = [0, *sorted({int(code) for code in every[100::100]}), 2**64]
    return [PairRange(tuple(map(str, files)), a, b) for a, b in pairwise(cuts)]


def _between(pairs: PairRange) -> Codes:
    found = []
    for file in pairs.files:
        codes = np.load(file, mmap_mode="r")
        stop = len(codes) if pairs.stop == 2**64 else np.searchsorted(codes, np.uint64(pairs.stop))
        found.append(codes[np.searchsorted(codes, np.uint64(pairs.start)) : stop])
    return distinct(np.concatenate(found))


def _batches(codes: Codes, texts: Texts) -> Iterator[Codes]:
    """Runs of pairs with a bounded amount of text, or one pair. Their first texts come in order, so most are shared."""
    if not len(codes):
        return
    one, other = (codes >> _SHIFT).astype(np.int64), (codes & _LOW).astype(np.int64)
    sizes = texts.places(other)[1]["length"].astype(np.int64)
    is_new = np.concatenate(([True], one[1:] != one[:-1]))
    sizes[is_new] += texts.places(one[is_new])[1]["length"]
    cuts = np.flatnonzero(np.diff(np.cumsum(sizes) // BATCH_BYTES)) + 1
    yield from np.split(codes, cuts)
