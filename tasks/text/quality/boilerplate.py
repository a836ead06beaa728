"""Lines and paragraphs that many pages of a site show: navigation, footers, licences, notices of cookies.

Counted part by part, by any worker; the counts of the parts are merged; what is boilerplate is only known after the
last. As CCNet does (Wenzek et al., arXiv 1911.00359, section 3.1), lines are compared by their letters and digits
alone, in lower case and with every number taken for 0. Unlike there a line counts for its site: what two sites share
is a matter for deduplication.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tasks.text.quality.measured import PARAGRAPH_CHARACTERS

COUNTS = np.dtype([("key", "<u8"), ("pages", "<u4")])
"""One entry for each line of each site, ascending by key: 12 bytes."""
_SLICES = 64
_BUFFERED_KEYS = 1 << 20

_NOT_WORD = re.compile(r"[\W_]+")
_NUMBER = re.compile(rb"\d+")
_ASCII_LOWER = bytes(range(256)).lower()
_ASCII_SIGNS = bytes(code for code in range(128) if not chr(code).isalnum())
_ANY_NUMBER = re.compile(r"\d+")


class LineCounter:
    """On how many pages of its host each line stands. Holds 12 bytes for each different line of each host.

    With a text's length in lines known, memory is bounded by the part that a worker is given, not by the corpus.
    """

    def __init__(self) -> None:
        self._counts = np.empty(0, COUNTS)
        self._keys: list[int] = []

    def add_page(self, host: str, lines: Iterable[str]) -> None:
        """Count the lines of a whole page, each once."""
        self._keys += {line_key(host, line) for line in lines}
        if len(self._keys) >= _BUFFERED_KEYS:
            self._compact()

    def counts(self) -> NDArray[np.void]:
        """Everything counted so far, as `COUNTS`."""
        self._compact()
        return self._counts

    def save(self, path: Path) -> None:
        """Write the counts as one .npy file, which `merged` maps into memory."""
        with path.open("wb") as file:
            np.save(file, self.counts(), allow_pickle=False)

    def _compact(self) -> None:
        fresh = np.empty(len(self._keys), COUNTS)
        fresh["key"], fresh["pages"] = np.array(self._keys, np.uint64), 1
        self._counts, self._keys = _summed([self._counts, fresh]), []


class Boilerplate:
    """The lines that are boilerplate, by key."""

    def __init__(self, keys: NDArray[np.uint64]) -> None:
        self.keys = keys
        """Ascending."""
        self._known = frozenset(keys.tolist())

    def own(self, text: str, levels: Sequence[int], host: str) -> tuple[str, Sequence[int]]:
        """The text without the lines that are boilerplate on its host, and the levels of the lines that stay."""
        if not self._known:
            return text, levels
        lines = text.split("\n")
        kept = [number for number, line in enumerate(lines) if line_key(host, line) not in self._known]
        if len(kept) == len(lines):
            return text, levels
        return "\n".join(lines[number] for number in kept), [levels[number] for number in kept] if levels else levels

    def save(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, self.keys, allow_pickle=False)

    @staticmethod
    def load(path: Path) -> Boilerplate:
        return Boilerplate(np.load(path, allow_pickle=False))


def merged(
    parts: Sequence[NDArray[np.void] | Path], line_pages: int, paragraph_pages: int | None = None
) -> Boilerplate:
    """What stands on at least `line_pages` pages of one host; a paragraph on at least `paragraph_pages`, if given.

    Parts are counts or their files, in any order. Holds a 64th of them at a time, and the keys of what was found.
    """
    mapped = [
        np.load(part, mmap_mode="r", allow_pickle=False) if isinstance(part, os.PathLike) else part for part in parts
    ]
    least = np.array([line_pages, line_pages if paragraph_pages is None else paragraph_pages])
    found = [np.empty(0, np.uint64)]
    for counts in map(_summed, _sliced(mapped)):
        is_paragraph = (counts["key"] & np.uint64(1)).astype(np.intp)
        found.append(counts["key"][counts["pages"] >= least[is_paragraph]])
    return Boilerplate(np.concatenate(found))


def line_key(host: str, line: str) -> int:
    """64 bits of a line's letters and digits on a host, the last of which says whether the line is a paragraph."""
    if line.isascii():
        plain = line.encode().translate(_ASCII_LOWER, _ASCII_SIGNS)
        plain = _NUMBER.sub(b"0", plain)
    else:
        plain = _ANY_NUMBER.sub("0", _NOT_WORD.sub("", line.lower())).encode("utf-8", "replace")
    digest = hashlib.blake2b(plain, digest_size=8, person=_person(host)).digest()
    return int.from_bytes(digest, "little") & ~1 | (len(line) >= PARAGRAPH_CHARACTERS)


@lru_cache(maxsize=10_000)
def _person(host: str) -> bytes:
    return hashlib.blake2b(host.encode("utf-8", "replace"), digest_size=16).digest()


def _sliced(parts: Sequence[NDArray[np.void]]) -> Iterator[list[NDArray[np.void]]]:
    """The parts cut at the same keys, so that no key is in two slices; slices ascend."""
    bounds = [number << 58 for number in range(1, _SLICES)]
    edges = [[0, *np.searchsorted(part["key"], np.array(bounds, np.uint64)), len(part)] for part in parts]
    for number in range(_SLICES):
        yield [np.asarray(part[edge[number] : edge[number + 1]]) for part, edge in zip(parts, edges, strict=True)]


def _summed(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    every = np.concatenate(parts) if parts else np.empty(0, COUNTS)
    keys, places = np.unique(every["key"], return_inverse=True)
    result = np.empty(len(keys), COUNTS)
    result["key"], result["pages"] = keys, np.bincount(places, every["pages"], minlength=len(keys))
    return result
