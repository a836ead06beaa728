"""Strings as numbers: a few bytes for each row of a corpus, and each distinct string once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from tasks.text.dedup.numbering import ordered

KEY_BYTES = 16
BATCH_ROWS = 16_384
_NO_DIGIT = 255
_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_VALUES = np.full(256, _NO_DIGIT, np.uint8)
_VALUES[_DIGITS] = np.arange(len(_DIGITS), dtype=np.uint8)

Numbers = NDArray[np.int32]


class Names(Protocol):
    """Distinct strings, numbered from 0."""

    def __len__(self) -> int: ...

    def take(self, numbers: Numbers) -> pa.Array:
        """(numbers): the strings."""
        ...


@dataclass(frozen=True)
class Column:
    """A column of strings in Parquet files, read again each time."""

    files: tuple[Path, ...]
    name: str

    def count(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)

    def batches(self) -> Iterator[pa.Array]:
        """The rows of all files in order, `BATCH_ROWS` at most at a time."""
        for file in self.files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(BATCH_ROWS, columns=[self.name]):
                    yield batch.column(0).cast(pa.binary())


def number(columns: Sequence[Column], *, ascending: bool = False) -> tuple[list[Numbers], Names]:
    """Of each column (rows): the numbers of its strings, the same in all columns; and the strings.

    Rows are compared by 16 bytes: what 32 hex digits say, as ids have them, or else a hash. Of hex digits nothing else
    is held; of other strings, each distinct one.

    Args:
        ascending: strings are numbered in ascending order; otherwise in any that is a function of the columns.
    """
    counts = [column.count() for column in columns]
    keys = np.empty((sum(counts), KEY_BYTES), np.uint8)
    if _read_hex(columns, keys):
        order, is_new = ordered(keys)
        names: Names = _HexNames(keys[order[is_new]])
        numbers = np.empty(len(keys), np.int32)
        numbers[order] = np.cumsum(is_new, dtype=np.int32) - 1
    else:
        lengths = _read_hashes(columns, keys)
        order, is_new = ordered(keys)
        del keys
        numbers, is_first = _by_appearance(order, is_new)
        del order, is_new
        names = _TextNames(_distinct(columns, is_first, lengths))
        if ascending:
            numbers, names = _sorted(numbers, names)
    return np.split(numbers, np.cumsum(counts)[:-1]), names


@dataclass(frozen=True)
class _HexNames:
    keys: NDArray[np.uint8]
    """(names, 16)"""

    def __len__(self) -> int:
        return len(self.keys)

    def take(self, numbers: Numbers) -> pa.Array:
        keys = self.keys[numbers]
        digits = np.empty((len(keys), 2 * KEY_BYTES), np.uint8)
        digits[:, ::2], digits[:, 1::2] = _DIGITS[keys >> 4], _DIGITS[keys & 15]
        offsets = np.arange(len(keys) + 1, dtype=np.int32) * (2 * KEY_BYTES)
        return pa.StringArray.from_buffers(len(keys), pa.py_buffer(offsets), pa.py_buffer(digits))


@dataclass(frozen=True)
class _TextNames:
    texts: pa.LargeStringArray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, numbers: Numbers) -> pa.Array:
        return self.texts.take(pa.array(numbers)).cast(pa.string())


def _read_hex(columns: Sequence[Column], keys: NDArray[np.uint8]) -> bool:
    """Fill in (rows, 16); False as soon as there is a string other than of 32 hex digits."""
    row = 0
    for column in columns:
        for batch in column.batches():
            if not pc.all(pc.equal(pc.binary_length(batch), 2 * KEY_BYTES), skip_nulls=False, min_count=0).as_py():
                return False
            _, data = _bytes_of(batch)
            values = _VALUES[data.reshape(-1, 2 * KEY_BYTES)]
            if (values == _NO_DIGIT).any():
                return False
            np.bitwise_or(values[:, ::2] << 4, values[:, 1::2], out=keys[row : row + len(batch)])
            row += len(batch)
    return True


def _read_hashes(columns: Sequence[Column], keys: NDArray[np.uint8]) -> Numbers:
    """Fill in (rows, 16); returns (rows): how many bytes each string has."""
    lengths, row = np.empty(len(keys), np.int32), 0
    for column in columns:
        for batch in column.batches():
            rows = slice(row, row + len(batch))
            hashes = (hashlib.blake2b(each, digest_size=KEY_BYTES).digest() for each in batch.to_pylist())
            keys[rows] = np.frombuffer(b"".join(hashes), np.uint8).reshape(-1, KEY_BYTES)
            lengths[rows] = pc.binary_length(batch).to_numpy(zero_copy_only=False)
            row += len(batch)
    return lengths


def _by_appearance(order: NDArray[np.int64], is_new: NDArray[np.bool_]) -> tuple[Numbers, NDArray[np.bool_]]:
    """(rows): numbers in the order in which strings first appear, and whether a row is such a first one."""
    first = order[is_new]  # the order is stable, so of equal rows the first comes first
    is_first = np.zeros(len(order), bool)
    is_first[first] = True
    appearance = (np.cumsum(is_first, dtype=np.int32) - 1)[first]
    numbers = np.empty(len(order), np.int32)
    numbers[order] = appearance[np.cumsum(is_new, dtype=np.int32) - 1]
    return numbers, is_first


def _distinct(columns: Sequence[Column], is_first: NDArray[np.bool_], lengths: Numbers) -> pa.LargeStringArray:
    """The strings of the rows that are first, copied to one place that has just the right size."""
    count = int(np.count_nonzero(is_first))
    offsets = np.zeros(count + 1, np.int64)
    np.cumsum(lengths[is_first], out=offsets[1:])
    data, row, stop = np.empty(int(offsets[-1]), np.uint8), 0, 0
    for column in columns:
        for batch in column.batches():
            _, chosen = _bytes_of(batch.filter(pa.array(is_first[row : row + len(batch)])))
            data[stop : stop + len(chosen)] = chosen
            stop += len(chosen)
            row += len(batch)
    return pa.LargeStringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(data))


def _bytes_of(batch: pa.BinaryArray) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
    """Offsets and bytes of a batch without nulls."""
    _, offsets, data = batch.buffers()
    at = np.frombuffer(offsets, np.int32)[batch.offset : batch.offset + len(batch) + 1]
    if data is None or not len(batch):
        return at, np.empty(0, np.uint8)
    return at, np.frombuffer(data, np.uint8)[at[0] : at[-1]]


def _sorted(numbers: Numbers, names: _TextNames) -> tuple[Numbers, _TextNames]:
    # Bytes of UTF-8 sort like the characters that they stand for.
    order = pc.sort_indices(names.texts)
    rank = np.empty(len(order), np.int32)
    rank[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    return rank[numbers], _TextNames(names.texts.take(order))
