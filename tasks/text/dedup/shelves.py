"""All documents that one deduplication looks at: tonight's, those of earlier nights, and other corpora's."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from enum import IntEnum
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bert_core.files import write_json
from tasks.text.dedup import sketches
from tasks.text.documents import BATCH_DOCUMENTS

LAYOUT = "layout.json"


class Role(IntEnum):
    """Whose a document is, in the order of preference."""

    OTHER = 0
    """Another corpus's: it was there first."""
    OURS = 1
    """Tonight's."""
    KEPT = 2
    """Kept the night before."""
    GONE = 3
    """Kept on an earlier night, and gone the night before."""


@dataclass(frozen=True)
class Shelf:
    """A part of documents and its sketches."""

    role: Role
    documents: str
    sketches: str
    rows: int
    """Of the sketches."""
    is_aligned: bool
    """Whether row i of the sketches is row i of the documents; otherwise the id tells."""
    corpus: str = ""
    """Name of the other corpus."""


@dataclass(frozen=True)
class Layout:
    """The shelves in a fixed order. A row's number counts the rows of sketches over all shelves."""

    shelves: tuple[Shelf, ...]

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(shelves + 1): number of the first row of each; the last is the number of rows."""
        return np.concatenate(([0], np.cumsum([shelf.rows for shelf in self.shelves], dtype=np.int64)))

    @property
    def rows(self) -> int:
        return int(self.starts[-1])

    def numbered(self, *roles: Role) -> Iterator[tuple[int, Shelf, slice]]:
        """(number, shelf, its rows) of the shelves of these roles, by default of all."""
        for number, shelf in enumerate(self.shelves):
            if not roles or shelf.role in roles:
                yield number, shelf, slice(int(self.starts[number]), int(self.starts[number + 1]))

    def shelf_of(self, rows: NDArray[Any]) -> NDArray[np.int64]:
        return np.searchsorted(self.starts, rows, side="right") - 1

    def is_of(self, role: Role) -> NDArray[np.bool_]:
        """(rows)"""
        return np.repeat([shelf.role == role for shelf in self.shelves], np.diff(self.starts))

    def column(self, name: str, roles: Sequence[Role] = tuple(Role)) -> NDArray[Any]:
        """A column of the sketches over all rows; zeros for rows of other roles."""
        found: NDArray[Any] | None = None
        for _, shelf, rows in self.numbered(*roles):
            (values,) = sketches.read(Path(shelf.sketches), name)
            if found is None:
                found = np.zeros((self.rows, *values.shape[1:]), values.dtype)
            found[rows] = values
        assert found is not None
        return found

    def save(self, folder: Path) -> None:
        write_json(folder / LAYOUT, [asdict(shelf) for shelf in self.shelves])

    @staticmethod
    def load(folder: Path) -> Layout:
        return _load(folder / LAYOUT, (folder / LAYOUT).stat().st_mtime_ns)


@lru_cache(maxsize=2)
def _load(path: Path, _: int) -> Layout:
    entries = json.loads(path.read_text("utf-8"))
    return Layout(tuple(Shelf(**{**entry, "role": Role(entry["role"])}) for entry in entries))


def rows_of(shelf: Shelf, wanted: NDArray[np.int64], columns: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(row within the shelf, its document's columns) for the wanted rows, in the order of the documents.

    Memory holds a batch of documents. A column that the documents lack is "".
    """
    places = _places(shelf, wanted)
    with pq.ParquetFile(shelf.documents) as parquet:
        names = [name for name in columns if name in parquet.schema_arrow.names]
        missing = dict.fromkeys(set(columns) - set(names), "")
        start = 0
        for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=names):
            here = [place for place in range(start, start + batch.num_rows) if place in places]
            if here:
                found = batch.take([place - start for place in here]).to_pylist()
                for place, row in zip(here, found, strict=True):
                    yield from ((local, row | missing) for local in places[place])
            start += batch.num_rows


def _places(shelf: Shelf, wanted: NDArray[np.int64]) -> dict[int, list[int]]:
    """Row in the documents -> wanted rows of the sketches that it stands for."""
    if shelf.is_aligned:
        return {row: [row] for row in wanted.tolist()}
    ids = sketches.read(Path(shelf.sketches), "id")[0][wanted]
    rows: dict[bytes, list[int]] = {}
    for row, key in zip(wanted.tolist(), ids, strict=True):
        rows.setdefault(key.tobytes(), []).append(row)
    found = {}
    for place, key in enumerate(document_ids(shelf)):
        if mine := rows.pop(key.tobytes(), None):
            found[place] = mine
    return found


def document_ids(shelf: Shelf) -> NDArray[np.uint8]:
    """(documents, 16): the ids of the documents themselves."""
    path = Path(shelf.documents)
    with pq.ParquetFile(path) as parquet:
        data = b"".join(
            sketches.id_bytes(batch[0].to_pylist(), path)
            for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=["id"])
        )
    return np.frombuffer(data, np.uint8).reshape(-1, 16)
