"""Which samples there are and which share a row: made once for a folder of shards, then mapped.

To cut and pack 10^9 tokens takes seconds and gigabytes, and a run is opened by every rank and after every crash; so
the index of a long text is kept in files. They lie in the folder of the shards, in a folder named by a hash of what
they were made from: they are shared by all runs and nodes that see these shards, go when the shards go, and do not
disturb an artifact, whose manifest lists what is checked. Where that folder cannot be written, the system's temporary
one serves. The index of a short text is made anew each time, in less time than files would take.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.chunking import chunk
from bert_core.files import sync, write_json
from bert_core.packing import PackingPlan, pack
from bert_core.refill import refill
from bert_core.shards import TokenShards

VERSION = 1
"""To be raised with any change of `chunk` or `pack`: an index made by the old ones is another index."""
KEPT_FROM = 5_000_000
"""Tokens from which on an index is kept in files; below, making it takes less than 0.2 s."""

FULL = 0.991
"""Share of positions that shall hold tokens."""

_HEADER = "rows.json"
_ARRAYS = ("samples", "row_offsets", "sample_ids")
_BLOCKS = 1024
_BLOCKS_CHECKED = 16
_CHECKED_WHOLE = 2**24  # bytes


@dataclass(frozen=True)
class RowIndex:
    """The samples of a text and the rows that they are packed in."""

    samples: NDArray[np.uint32]
    """(N, 3): document, first token, one after the last."""
    plan: PackingPlan
    num_documents: int
    """With text."""

    @property
    def num_samples(self) -> int:
        return len(self.samples)

    @property
    def num_rows(self) -> int:
        return self.plan.num_rows


class _BadIndexError(ValueError):
    """Files that are not a whole index of this text."""


def open_row_index(shards: TokenShards, row_length: int, *, pairs: bool, folder: str | Path | None = None) -> RowIndex:
    """The rows of `row_length` tokens of a text; read from files if there are any, else made, and kept if it is long.

    An index that is torn or damaged is made again; one process makes it while others wait.

    Args:
        pairs: samples are pairs of segments, with three special tokens rather than two.
        folder: where files are kept, whatever the length of the text; None: with the shards, if the text is long.
    """
    if folder is None and shards.num_tokens < KEPT_FROM:
        return make_row_index(shards, row_length, pairs=pairs)
    key = index_key(shards, row_length, pairs=pairs)
    home = _writable(shards.folder) if folder is None else Path(folder)
    home.mkdir(parents=True, exist_ok=True)
    path = home / f".rows-{key[:16]}"
    try:
        return read_row_index(path, key)
    except _BadIndexError:
        with _alone(home):
            try:
                return read_row_index(path, key)  # another process made it
            except _BadIndexError:
                write_row_index(make_row_index(shards, row_length, pairs=pairs), path, key)
    return read_row_index(path, key)


def make_row_index(shards: TokenShards, row_length: int, *, pairs: bool) -> RowIndex:
    """The rows of a text. Long documents are cut where sentences start, if rows then are full; else ever more often
    inside sentences: whole ones leave room that only short documents can fill, of books alone 11% of rows of 128. Where
    that is not enough either, documents are cut that would fit a row.
    """
    specials = 3 if pairs else 2
    max_tokens = row_length - specials
    samples = chunk(shards, max_tokens, pairs=pairs)
    plan = _packed(samples, row_length, specials)
    for max_spare in (max_tokens // 16, max_tokens // 64, 0):
        if plan.efficiency < FULL:
            others = chunk(shards, max_tokens, pairs=pairs, max_spare=max_spare)
            samples, plan = _fuller((samples, plan), (others, _packed(others, row_length, specials)))
    if plan.efficiency < FULL:
        samples, plan = _fuller((samples, plan), refill(shards, samples, plan, specials))
    num_documents = int(np.count_nonzero(np.diff(samples[:, 0].astype(np.int64), prepend=-1)))
    return RowIndex(samples, plan, num_documents)


def _packed(samples: NDArray[np.uint32], row_length: int, specials: int) -> PackingPlan:
    return pack(samples[:, 2] - samples[:, 1] + np.uint32(specials), row_length)


def _fuller(*found: tuple[NDArray[np.uint32], PackingPlan]) -> tuple[NDArray[np.uint32], PackingPlan]:
    """The fuller rows; if equally full, the first."""
    return max(found, key=lambda each: each[1].efficiency)


def index_key(shards: TokenShards, row_length: int, *, pairs: bool) -> str:
    """sha256 of what decides an index."""
    return hashlib.sha256(json.dumps([VERSION, shards.index_sha256, row_length, pairs]).encode()).hexdigest()


def write_row_index(index: RowIndex, path: Path, key: str) -> None:
    """Publish an index as the folder `path` by one rename; what was there before goes."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    plan = index.plan
    narrow = np.uint32 if index.num_samples < 2**32 else np.uint64
    arrays = (index.samples, plan.row_offsets.astype(narrow), plan.sample_ids.astype(narrow))
    for name, array in zip(_ARRAYS, arrays, strict=True):
        np.save(partial / f"{name}.npy", array)
        sync(partial / f"{name}.npy")
    header = {
        "key": key,
        "row_length": plan.row_length,
        "num_tokens": plan.num_tokens,
        "num_documents": index.num_documents,
        "files": {
            name: {"bytes": (file := partial / f"{name}.npy").stat().st_size, "crc32": list(_checksums(file, None))}
            for name in _ARRAYS
        },
    }
    write_json(partial / _HEADER, {"header": header, "sha256": _digest(header)})
    if path.exists():
        shutil.rmtree(path)
    os.rename(partial, path)
    sync(path.parent)


def read_row_index(path: Path, key: str) -> RowIndex:
    """The index in `path`, mapped, after a check of its header, sizes, and checksums: all those of a small file, 16 of
    the 1024 of a large one.

    Raises:
        _BadIndexError: missing, another text's, torn or damaged.
    """
    try:
        found = json.loads((path / _HEADER).read_text("utf-8"))
        header: dict[str, Any] = found["header"]
        if found["sha256"] != _digest(header) or header["key"] != key:
            raise _BadIndexError(f"{path}: its header is damaged or another text's")
        for name, entry in header["files"].items():
            _check(path / f"{name}.npy", entry)
        samples, row_offsets, sample_ids = (np.load(path / f"{name}.npy", mmap_mode="r") for name in _ARRAYS)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise _BadIndexError(f"{path}: {error}") from None
    plan = PackingPlan(header["row_length"], row_offsets, sample_ids, header["num_tokens"])
    return RowIndex(samples, plan, header["num_documents"])


def _check(file: Path, entry: dict[str, Any]) -> None:
    if (size := file.stat().st_size) != entry["bytes"]:
        raise _BadIndexError(f"{file} has {size} bytes; its header lists {entry['bytes']}")
    expected: list[int] = entry["crc32"]
    blocks = list(range(len(expected)))
    if size > _CHECKED_WHOLE:
        blocks = np.linspace(0, len(expected) - 1, _BLOCKS_CHECKED, dtype=int).tolist()
    for block, found in zip(blocks, _checksums(file, blocks), strict=True):
        if found != expected[block]:
            raise _BadIndexError(f"{file}: block {block} of {len(expected)} is damaged")


def _checksums(file: Path, blocks: list[int] | None) -> Iterator[int]:
    """crc32 of each of the blocks, which are equal parts of the file; None: of all."""
    size = max(1, -(-file.stat().st_size // _BLOCKS))
    count = -(-file.stat().st_size // size)
    with file.open("rb") as data:
        for block in range(count) if blocks is None else blocks:
            data.seek(block * size)
            yield zlib.crc32(data.read(size))


def _digest(header: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode()).hexdigest()


def _writable(folder: Path) -> Path:
    if os.access(folder, os.W_OK):
        return folder
    return Path(tempfile.gettempdir()) / f"bert-foundry-rows-{os.getuid()}"


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time; the lock is on the folder itself, so none is left behind, and it goes with the process."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
