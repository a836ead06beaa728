"""Source dataset: a folder written by Hugging Face `save_to_disk`, or the Parquet files of a hub repository.

A saved folder holds `dataset_info.json`, `state.json` (which names the files) and Arrow streams; a dictionary of
splits has `dataset_dict.json` and such a folder for each split. Both are read with pyarrow alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
from huggingface_hub import HfFileSystem
from huggingface_hub.errors import HTTPError  # of whatever it speaks HTTP with, and the base of its own HTTP errors

from tasks.config.sources import DatasetSource
from tasks.text.documents import CorpusError
from tasks.text.sources import locations
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unit, Unreadable
from tasks.text.sources.tables import (
    BATCH_ROWS,
    batch_rows,
    check_columns,
    check_text,
    class_names,
    named_columns,
    parquet_documents,
)

DICTIONARY = "dataset_dict.json"
STATE = "state.json"


@dataclass(frozen=True)
class SavedDatasetReader:
    """Reads a saved folder. A unit is one of its Arrow files."""

    source: DatasetSource
    root: Path

    def units(self) -> list[Unit]:
        folder = str(self.source.path)
        units = []
        for split in self._splits(folder):
            path = f"{folder}/{split}" if split else folder
            for entry in self._json(path, STATE).get("_data_files", []):
                name = f"{path}/{entry['filename']}"
                self._check(name)
                units.append(Unit(name, locations.content(name, self.root)))
        if not units:
            raise CorpusError(f"{self.root / folder}: a saved dataset without a data file")
        return units

    def read(self, unit: Unit) -> Iterator[Record]:
        with locations.open_binary(unit.path, self.root) as file:
            piece = _piece(self.source, unit, file, unit.path)
            number = 0
            try:
                stream = pa.ipc.open_stream(file)
                names = class_names(stream.schema)
                wanted = [name for name in stream.schema.names if name in named_columns(self.source.columns)]
                for batch in stream:
                    yield from _rows(piece, batch.select(wanted), names, number)
                    number += batch.num_rows
            except (pa.ArrowException, OSError) as error:
                yield Unreadable(f"{unit.path}:{number + 1}", "broken Arrow file", str(error)[:500])

    def _splits(self, folder: str) -> list[str]:
        if not (self.root / folder / DICTIONARY).exists():
            if self.source.split:
                raise CorpusError(f"{self.root / folder}: holds one dataset without splits; leave `split` out")
            return [""]
        splits = [str(name) for name in self._json(folder, DICTIONARY)["splits"]]
        if self.source.split is None:
            return splits
        if self.source.split not in splits:
            raise CorpusError(f"{self.root / folder}: no split {self.source.split!r}; it has {', '.join(splits)}")
        return [self.source.split]

    def _json(self, folder: str, name: str) -> dict[str, Any]:
        path = self.root / folder / name
        try:
            found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except FileNotFoundError:
            raise CorpusError(f"{path}: not there, so {folder} is no folder that save_to_disk wrote") from None
        except ValueError as error:
            raise CorpusError(f"{path}: not JSON: {error}") from None
        return found

    def _check(self, path: str) -> None:
        with locations.open_binary(path, self.root) as file:
            try:
                schema = pa.ipc.open_stream(file).schema
            except (pa.ArrowException, OSError) as error:
                raise CorpusError(f"{path}: not an Arrow stream: {error}") from None
        check_columns(path, schema.names, self.source.columns)
        check_text(path, schema, self.source.columns)


@dataclass(frozen=True)
class HubReader:
    """Reads the Parquet files of a hub repository at one commit. A unit is a file; its name there is the address."""

    source: DatasetSource

    def units(self) -> list[Unit]:
        root = f"datasets/{self.source.repo}@{self.source.revision}"
        try:
            found: Any = HfFileSystem().glob(f"{root}/{self.source.files}", detail=True)
        except (HTTPError, OSError) as error:
            raise CorpusError(
                f"hub dataset {self.source.repo} at {self.source.revision}: not to be had: "
                f"{type(error).__name__}: {str(error)[:300]}. Without a network, save the dataset elsewhere "
                f"(save_to_disk) and set `path`"
            ) from None
        paths = sorted(path for path, info in found.items() if info["type"] == "file" and self._is_in_split(path))
        if not paths:
            split = f" in split {self.source.split}" if self.source.split else ""
            raise CorpusError(f"hub dataset {self.source.repo}: no file matches {self.source.files}{split}")
        return [Unit(f"hf://{path}", str(found[path].get("blob_id") or found[path]["size"])) for path in paths]

    def read(self, unit: Unit) -> Iterator[Record]:
        with locations.open_binary(unit.path, Path()) as file:
            yield from parquet_documents(_piece(self.source, unit, file, unit.path))

    def _is_in_split(self, path: str) -> bool:
        """The hub's layouts: `data/train-00000-of-00002.parquet`, `train/0000.parquet`, `train.parquet`."""
        if self.source.split is None:
            return True
        name, parent = PurePosixPath(path).name, PurePosixPath(path).parent.name
        return parent == self.source.split or name.startswith((f"{self.source.split}-", f"{self.source.split}."))


def _piece(source: DatasetSource, unit: Unit, file: Any, name: str) -> Piece:
    return Piece(name, file, unit, source, source.kind, source.label, source.columns, source.limits)


def _rows(piece: Piece, batch: pa.RecordBatch, names: dict[str, list[str]], number: int) -> Iterator[Record]:
    for start in range(0, batch.num_rows, BATCH_ROWS):
        for row in batch_rows(batch.slice(start, BATCH_ROWS), names):
            number += 1
            if isinstance(row, UnicodeDecodeError):
                yield Unreadable(f"{piece.name}:{number}", "invalid UTF-8", str(row))
            else:
                yield piece.row(number, row)
