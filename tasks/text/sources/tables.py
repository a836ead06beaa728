"""Parquet by the names of its columns, and what all tables share."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.config.sources import Columns
from tasks.text.documents import CorpusError
from tasks.text.sources.compressed import BrokenStream
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unreadable

BATCH_ROWS = 256


def check_columns(name: str, found: Sequence[str], columns: Columns) -> None:
    """
    Raises:
        CorpusError: one that the recipe names is not there.
    """
    optional = (columns.title, columns.url, columns.id, columns.date, columns.language, columns.label)
    missing = [column for column in (columns.text, *optional, *columns.meta) if column and column not in found]
    if missing:
        raise CorpusError(
            f"{name}: no column {', '.join(missing)}; it has {', '.join(found) or 'none'}. "
            f"Name the columns in `columns` of the source, or leave the file out"
        )


def parquet_documents(piece: Piece) -> Iterator[Record]:
    """One document a row of the unit's row groups; memory holds a batch and the column chunks that it comes from.

    Raises:
        CorpusError: it is not Parquet, or lacks a column.
    """
    file = open_parquet(piece.file, piece.name, piece.columns)
    names = class_names(file.schema_arrow)
    wanted = [name for name in file.schema_arrow.names if name in named_columns(piece.columns)]
    starts = [0]
    for group in range(file.num_row_groups):
        starts.append(starts[-1] + file.metadata.row_group(group).num_rows)
    for group in range(piece.unit.start, piece.unit.stop or file.num_row_groups):
        where = f"{piece.name}:{starts[group] + 1}"
        try:
            _check_expanded(file, group, piece)
            yield from _rows(piece, file, group, wanted, names, starts[group])
        except (pa.ArrowException, OSError) as error:
            yield Unreadable(where, "broken Parquet", str(error)[:500])
        except BrokenStream as error:
            yield Unreadable(where, error.reason, error.detail)


def open_parquet(file: BinaryIO, name: str, columns: Columns) -> pq.ParquetFile:
    """
    Raises:
        CorpusError: it is not Parquet, lacks a column, or its text column holds no text.
    """
    try:
        found = pq.ParquetFile(file, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise CorpusError(f"{name}: not a readable Parquet file: {error}") from None
    check_columns(name, found.schema_arrow.names, columns)
    check_text(name, found.schema_arrow, columns)
    return found


def check_text(name: str, schema: pa.Schema, columns: Columns) -> None:
    """
    Raises:
        CorpusError: the text column is of another type.
    """
    kind = schema.field(columns.text).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)):
        raise CorpusError(f"{name}: column {columns.text} is {kind}, not string; name the column of the text")


def class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of integer columns, which Hugging Face datasets keep in the schema's metadata."""
    stated = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stated)["info"]["features"] if stated else {}
        return {name: each["names"] for name, each in features.items() if each.get("_type") == "ClassLabel"}
    except (ValueError, KeyError, AttributeError, TypeError):  # somebody else's metadata
        return {}


def batch_rows(batch: pa.RecordBatch, names: dict[str, list[str]]) -> Iterator[dict[str, Any] | UnicodeDecodeError]:
    """A batch's rows as Python values, classes by their names; the error where a string is not UTF-8."""
    try:
        rows: list[Any] = batch.to_pylist()
    except UnicodeDecodeError:  # neither Arrow nor Parquet looks into strings
        rows = [_row_or_error(batch.slice(index, 1)) for index in range(batch.num_rows)]
    for row in rows:
        if isinstance(row, dict):
            for column, classes in names.items():
                value = row.get(column)
                if isinstance(value, int):
                    row[column] = classes[value] if 0 <= value < len(classes) else None
        yield row


def _row_or_error(row: pa.RecordBatch) -> dict[str, Any] | UnicodeDecodeError:
    try:
        found: dict[str, Any] = row.to_pylist()[0]
    except UnicodeDecodeError as error:
        return error
    return found


def _rows(
    piece: Piece, file: pq.ParquetFile, group: int, wanted: list[str], names: dict[str, list[str]], number: int
) -> Iterator[Record]:
    for batch in file.iter_batches(BATCH_ROWS, row_groups=[group], columns=wanted, use_threads=False):
        for row in batch_rows(batch, names):
            number += 1
            if isinstance(row, UnicodeDecodeError):
                yield Unreadable(f"{piece.name}:{number}", "invalid UTF-8", str(row))
            else:
                yield piece.row(number, row)


def _check_expanded(file: pq.ParquetFile, group: int, piece: Piece) -> None:
    """
    Raises:
        BrokenStream: the row group would expand to more than the caps allow.
    """
    metadata = file.metadata.row_group(group)
    chunks = [metadata.column(index) for index in range(metadata.num_columns)]
    wanted = [chunk for chunk in chunks if chunk.path_in_schema.split(".")[0] in named_columns(piece.columns)]
    size = sum(chunk.total_uncompressed_size for chunk in wanted)
    if size > piece.limits.max_row_group_bytes:
        raise BrokenStream("row group too large", f"{size} bytes; at most {piece.limits.max_row_group_bytes}")


def named_columns(columns: Columns) -> set[str]:
    optional = (columns.title, columns.url, columns.id, columns.date, columns.language, columns.label)
    return {column for column in (columns.text, *optional, *columns.meta) if column}
