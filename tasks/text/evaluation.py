"""The texts of evaluation sets, from the files that a recipe names."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.dedup import EvaluationSet
from tasks.text.documents import BATCH_DOCUMENTS, CorpusError

_OPEN: dict[str, Callable[..., IO[str]]] = {".gz": gzip.open, ".bz2": bz2.open}
LEGAL = ".jsonl, .csv, .tsv, .txt (each also .gz or .bz2), .parquet"


def texts(each: EvaluationSet, home: Path) -> Iterator[tuple[int, str]]:
    """(row, text), rows from 0. Memory holds a batch of rows.

    Raises:
        CorpusError: the file is missing, cannot be read in full, or lacks the column; names it. To leave a text out
            silently would be worse than to stop.
    """
    path = home / each.path
    is_empty = True
    try:
        for row, text in _rows(path, each.column):
            if not isinstance(text, str):
                raise CorpusError(f"{path}, row {row}: {each.column!r} is {text!r:.80}, not a text")
            is_empty = False
            yield row, text
    except FileNotFoundError:
        raise CorpusError(f"evaluation set {each.name!r}: {path}: no such file") from None
    except (OSError, EOFError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise CorpusError(f"evaluation set {each.name!r}: {path} cannot be read: {error}") from None
    if is_empty:
        raise CorpusError(f"evaluation set {each.name!r}: {path} has no texts")


def _rows(path: Path, column: str) -> Iterator[tuple[int, object]]:
    suffixes = [suffix for suffix in path.suffixes if suffix not in _OPEN]
    kind = suffixes[-1] if suffixes else ""
    if kind == ".parquet":
        yield from _parquet(path, column)
        return
    if kind not in _TEXTUAL:
        raise CorpusError(f"{path}: {kind or 'no suffix'} is not an evaluation set's; legal are {LEGAL}")
    with _OPEN.get(path.suffix, open)(path, "rt", encoding="utf-8-sig", newline="") as file:
        yield from _TEXTUAL[kind](path, file, column)


def _parquet(path: Path, column: str) -> Iterator[tuple[int, object]]:
    with pq.ParquetFile(path) as parquet:
        _demand(column, parquet.schema_arrow.names, str(path))
        row = 0
        for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=[column]):
            for text in batch[0].to_pylist():
                yield row, text
                row += 1


def _jsonl(path: Path, file: IO[str], column: str) -> Iterator[tuple[int, object]]:
    for row, line in enumerate(file):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
        except ValueError as error:
            raise CorpusError(f"{path}, row {row}: not JSON ({error}): {line[:80]!r}") from None
        _demand(column, list(entry) if isinstance(entry, dict) else [], f"{path}, row {row}")
        yield row, entry[column]


def _csv(path: Path, file: IO[str], column: str) -> Iterator[tuple[int, object]]:
    yield from _separated(path, csv.DictReader(file), column)


def _tsv(path: Path, file: IO[str], column: str) -> Iterator[tuple[int, object]]:
    yield from _separated(path, csv.DictReader(file, delimiter="\t"), column)


def _separated(path: Path, reader: csv.DictReader[str], column: str) -> Iterator[tuple[int, object]]:
    _demand(column, list(reader.fieldnames or []), str(path))
    for row, entry in enumerate(reader):
        yield row, entry[column]


def _txt(path: Path, file: IO[str], column: str) -> Iterator[tuple[int, object]]:
    for row, line in enumerate(file):
        if line.strip():
            yield row, line.strip()


def _demand(column: str, names: list[str], where: str) -> None:
    if column not in names:
        raise CorpusError(f"{where}: no column {column!r}; it has {names}")


_TEXTUAL = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _tsv, ".txt": _txt}
