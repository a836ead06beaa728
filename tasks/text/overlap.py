"""What texts share with evaluation texts: runs of words, whole short texts, and near-duplicates, against an index."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tasks.config.dedup import DecontaminateConfig
from tasks.text.dedup.sketches import batched
from tasks.text.minhash import agreeing, band_keys, bands, least_agreeing, signatures, sketch
from tasks.text.ngrams import Hashes, Offsets, Ragged, characters, code_points, distinct, jaccard, ngrams, runs, words
from tasks.text.normalise import canonical

NEAR, NGRAM, WHOLE = "near duplicate", "n-gram", "whole text"
_FILTER_BITS = 22
_ASSIGNED = 0x32400
"""Above the last code point that is a letter. (Variation selectors follow; they separate nothing that matters.)"""
# Scripts that put no blanks between words: each character counts as a word.
_ALONE = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3040, 0x30FF), (0x31F0, 0x31FF)),
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x20000, 0x323AF)),
)


@dataclass(frozen=True)
class Units:
    """Words, and characters of scripts without blanks, of several canonical texts."""

    hashes: Ragged
    starts: Offsets
    """(units): where each begins, in characters from the start of the first text."""
    texts: Offsets
    """(texts + 1): where each text begins, in the same characters."""
    is_character: NDArray[np.bool_]
    """(units)"""

    @staticmethod
    def of(texts: Sequence[str]) -> Units:
        points, offsets = code_points(texts)
        kinds = _kinds()[np.minimum(points, _ASSIGNED)]
        starts = kinds > 0
        starts[1:] &= (kinds[1:] == 2) | (kinds[1:] != kinds[:-1])
        firsts = offsets[:-1][np.diff(offsets) > 0]
        starts[firsts] = kinds[firsts] > 0
        at = np.flatnonzero(starts)
        return Units(runs(points, offsets, starts, kinds == 0), at, offsets, kinds[at] == 2)

    def span(self, text: int, first: int, size: int) -> slice:
        """Where `size` units from unit `first` of a text stand in it."""
        begin, end = int(self.hashes.offsets[text]) + first, int(self.hashes.offsets[text]) + first + size
        last = self.starts[end] if end < self.hashes.offsets[text + 1] else self.texts[text + 1]
        return slice(int(self.starts[begin] - self.texts[text]), int(last - self.texts[text]))


@dataclass(frozen=True)
class Overlap:
    """A text has something of an evaluation text."""

    text: int
    evaluation: int
    """Number of the evaluation text in the index."""
    kind: str
    share: float
    """Jaccard similarity, or the share of the evaluation text's runs that the text has."""
    shown: str = ""
    """The first shared run."""


@dataclass(frozen=True)
class Runs:
    """Runs of one length."""

    hashes: Hashes
    """In order; one that several evaluation texts have comes several times."""
    owners: NDArray[np.int32]
    """The evaluation text of each."""

    @cached_property
    def filter(self) -> NDArray[np.bool_]:
        """Whether any hash begins with these bits: most runs of a text are ruled out by one look (4 MB)."""
        table = np.zeros(1 << _FILTER_BITS, bool)
        table[self.hashes >> np.uint64(64 - _FILTER_BITS)] = True
        return table


@dataclass(frozen=True)
class Index:
    """Evaluation texts by their runs and bands. Arrays, about 12 bytes for each run and 650 for each text."""

    runs: dict[int, Runs]
    """By number of units."""
    distinct_runs: NDArray[np.int32]
    """(evaluation texts): 0 where a text is too short to be looked for."""
    is_whole: NDArray[np.bool_]
    """(evaluation texts): shorter than a run, so it is looked for as a whole."""
    keys: NDArray[np.uint32]
    """(bands, evaluation texts), each band in order."""
    order: NDArray[np.int64]
    """(bands, evaluation texts): whose key it is."""
    signatures: NDArray[np.uint8]
    """(evaluation texts, entries)"""
    shingles: Ragged
    """Distinct hashed shingles of each evaluation text."""

    def save(self, folder: Path) -> None:
        arrays: dict[str, NDArray[Any]] = {f"hash_{size}": runs.hashes for size, runs in self.runs.items()}
        arrays |= {f"owner_{size}": runs.owners for size, runs in self.runs.items()}
        arrays |= {"distinct_runs": self.distinct_runs, "is_whole": self.is_whole}
        arrays |= {"keys": self.keys, "order": self.order}
        arrays |= {"signatures": self.signatures, "shingles": self.shingles.values, "offsets": self.shingles.offsets}
        temporary = folder / f".index.{os.getpid()}.npz"
        np.savez(temporary, **arrays)  # type: ignore[arg-type]
        os.replace(temporary, folder / "index.npz")

    @staticmethod
    def load(folder: Path) -> Index:
        return _load(folder / "index.npz", (folder / "index.npz").stat().st_mtime_ns)


@lru_cache(maxsize=1)
def _load(path: Path, _: int) -> Index:
    with np.load(path) as found:
        sizes = sorted(int(name[5:]) for name in found.files if name.startswith("hash_"))
        return Index(
            {size: Runs(found[f"hash_{size}"], found[f"owner_{size}"]) for size in sizes},
            distinct_runs=found["distinct_runs"],
            is_whole=found["is_whole"],
            keys=found["keys"],
            order=found["order"],
            signatures=found["signatures"],
            shingles=Ragged(found["shingles"], found["offsets"]),
        )


def index(config: DecontaminateConfig, texts: Sequence[str]) -> Index:
    """An index of evaluation texts."""
    found: dict[int, tuple[list[Hashes], list[NDArray[np.int32]]]] = {}
    counts, whole = np.zeros(len(texts), np.int32), np.zeros(len(texts), bool)
    keys, signed, sets, number = [], [], [], 0
    count, rows = bands(config.threshold, config.permutations)
    for run in batched([canonical(text) for text in texts]):
        units = Units.of(run)
        shingled = _shingles(config, run)
        sketches = sketch(shingled, count * rows, config.seed)
        keys.append(band_keys(sketches, count, rows))
        signed.append(signatures(sketches))
        for local in range(len(run)):
            sets.append(distinct(shingled[local]))
            mine = slice(units.hashes.offsets[local], units.hashes.offsets[local + 1])
            one = Ragged(units.hashes.values[mine], np.array([0, mine.stop - mine.start]))
            size = config.character_ngram if 2 * units.is_character[mine].sum() > len(one.values) else config.ngram
            if len(one.values) < size:
                whole[number] = True
                size = len(one.values) if len(one.values) >= config.shortest else 0
            if size:
                hashes = distinct(ngrams(one, size, whole=False).values)
                counts[number] = len(hashes)
                of_size = found.setdefault(size, ([], []))
                of_size[0].append(hashes)
                of_size[1].append(np.full(len(hashes), number, np.int32))
            number += 1
    every = np.concatenate(keys, axis=1)
    order = np.argsort(every, axis=1, kind="stable")
    return Index(
        {size: _sorted(np.concatenate(one), np.concatenate(other)) for size, (one, other) in sorted(found.items())},
        counts,
        whole,
        np.take_along_axis(every, order, axis=1),
        order,
        np.concatenate(signed),
        Ragged(np.concatenate(sets), np.concatenate(([0], np.cumsum(list(map(len, sets)))))),
    )


def overlaps(config: DecontaminateConfig, known: Index, texts: Sequence[str]) -> list[list[Overlap]]:
    """For each text what it shares with evaluation texts, the largest share first."""
    found: list[list[Overlap]] = []
    for run in batched([canonical(text) for text in texts]):
        mine: list[list[Overlap]] = [[] for _ in run]
        for each in (*_near(config, known, run), *_shared_runs(config, known, run)):
            mine[each.text].append(each)
        found += [sorted(each, key=lambda one: (-one.share, one.evaluation, one.kind)) for each in mine]
    return found


def _near(config: DecontaminateConfig, known: Index, texts: Sequence[str]) -> Iterator[Overlap]:
    count, rows = bands(config.threshold, config.permutations)
    shingled = _shingles(config, texts)
    sketches = sketch(shingled, count * rows, config.seed)
    codes = [np.empty(0, np.uint64)]
    for mine, theirs, order in zip(band_keys(sketches, count, rows), known.keys, known.order, strict=True):
        codes.append(_met(mine, theirs, order))
    pairs = distinct(np.concatenate(codes))
    text, evaluation = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
    likely = agreeing(signatures(sketches)[text], known.signatures[evaluation])
    least = least_agreeing(config.threshold, count * rows)
    for i, j in zip(text[likely >= least].tolist(), evaluation[likely >= least].tolist(), strict=True):
        similarity = jaccard(distinct(shingled[i]), known.shingles[j], config.threshold)
        if similarity >= config.threshold:
            yield Overlap(i, j, NEAR, similarity)


def _met(mine: NDArray[np.uint32], theirs: NDArray[np.uint32], order: NDArray[np.int64]) -> Hashes:
    """Pairs with equal keys, as i * 2^32 + j."""
    first, last = (np.searchsorted(theirs, mine, side) for side in ("left", "right"))
    text = np.repeat(np.arange(len(mine)), last - first)
    return (text.astype(np.uint64) << np.uint64(32)) | order[_within(first, last)].astype(np.uint64)


def _shared_runs(config: DecontaminateConfig, known: Index, texts: Sequence[str]) -> Iterator[Overlap]:
    units = Units.of(texts)
    for size, theirs in known.runs.items():
        mine = ngrams(units.hashes, size, whole=False)
        at = np.flatnonzero(theirs.filter[mine.values >> np.uint64(64 - _FILTER_BITS)])
        first, last = (np.searchsorted(theirs.hashes, mine.values[at], side) for side in ("left", "right"))
        place, owner = np.repeat(at, last - first), theirs.owners[_within(first, last)]
        text = np.searchsorted(mine.offsets, place, side="right") - 1
        yield from _counted(config, known, texts, units, size, mine, text, owner, place)


def _counted(
    config: DecontaminateConfig,
    known: Index,
    texts: Sequence[str],
    units: Units,
    size: int,
    mine: Ragged,
    text: NDArray[np.int64],
    owner: NDArray[np.int32],
    place: NDArray[np.int64],
) -> Iterator[Overlap]:
    """Texts with enough different runs of one evaluation text."""
    order = np.lexsort((place, mine.values[place], owner, text))
    text, owner, place = text[order], owner[order], place[order]
    is_pair = np.ones(len(text), bool)
    is_pair[1:] = (text[1:] != text[:-1]) | (owner[1:] != owner[:-1])
    is_run = is_pair.copy()
    is_run[1:] |= mine.values[place[1:]] != mine.values[place[:-1]]
    starts = np.flatnonzero(is_pair)
    if not len(starts):
        return
    shared, firsts = np.add.reduceat(is_run.astype(np.int64), starts), np.minimum.reduceat(place, starts)
    needed = np.minimum(config.least, known.distinct_runs[owner[starts]])
    for i in np.flatnonzero(shared >= needed).tolist():
        number, evaluation = int(text[starts[i]]), int(owner[starts[i]])
        span = units.span(number, int(firsts[i] - mine.offsets[number]), size)
        kind = WHOLE if known.is_whole[evaluation] else NGRAM
        share = float(shared[i] / known.distinct_runs[evaluation])
        yield Overlap(number, evaluation, kind, share, texts[number][span].strip())


def _within(first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """All indices from each `first` to its `last`, one range after the other."""
    lengths = last - first
    ends = np.cumsum(lengths)
    return np.arange(int(ends[-1]) if len(ends) else 0) + np.repeat(first - (ends - lengths), lengths)


def _sorted(hashes: Hashes, owners: NDArray[np.int32]) -> Runs:
    order = np.lexsort((owners, hashes))
    return Runs(hashes[order], owners[order])


def _shingles(config: DecontaminateConfig, texts: Sequence[str]) -> Ragged:
    return ngrams((characters if config.unit == "character" else words)(texts), config.shingle)


@lru_cache(maxsize=1)
def _kinds() -> NDArray[np.uint8]:
    """Of every code point: 0 = between words, 1 = within a word, 2 = a word of its own."""
    kinds = np.fromiter((chr(point).isalnum() or _is_mark(chr(point)) for point in range(_ASSIGNED + 1)), np.uint8)
    for first, last in _ALONE:
        kinds[first : last + 1] *= 2
    return kinds


def _is_mark(char: str) -> bool:
    """Marks belong to the letter before them, as vowel signs in the scripts of India."""
    return unicodedata.category(char).startswith("M")
