"""The tables that the corpus stages hand to each other, part by part: schemas, ids, reading and writing.

Every stage keeps the columns of the one before and adds its own, so a document carries its history with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef, Draft
from tasks.text.parts import part_files

DOCUMENTS = "documents"
REJECTS = "rejects"
HEAD_CHARACTERS = 300
BATCH_DOCUMENTS = 512

Schema = pa.Schema
_STRING, _LEVELS = pa.string(), pa.list_(pa.int8())
EXTRACTED_SCHEMA = pa.schema(
    [
        ("url", _STRING),
        ("source", _STRING),  # the recipe's name for it
        ("fetched_at", _STRING),
        ("date", _STRING),  # of publication
        ("language", _STRING),  # as the source states it
        ("title", _STRING),
        ("text", _STRING),
        ("levels", _LEVELS),  # of each line: 1 to 6 = heading, 0 = other
        ("kind", _STRING),
        ("label", _STRING),
        ("group", _STRING),
        ("context", _STRING),
        ("is_main_text", pa.bool_()),
        ("meta", _STRING),
    ]
)
DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", _STRING),
        ("url", _STRING),
        ("source", _STRING),
        ("fetched_at", _STRING),
        ("date", _STRING),
        ("language", _STRING),
        ("title", _STRING),
        ("text", _STRING),
        ("levels", _LEVELS),
        ("kind", _STRING),
        ("label", _STRING),
        ("group", _STRING),
        ("sentences", pa.list_(pa.int32())),
        ("meta", _STRING),
    ]
)
REJECT_SCHEMA = pa.schema(
    [
        *((name, _STRING) for name in ("id", "url", "source", "kind", "reason", "detail", "text")),
        ("characters", pa.int32()),  # of the whole text; `text` is its head
    ]
)


class CorpusError(ValueError):
    """The corpus cannot be what the next stage needs: empty, or a side of the split without documents or labels."""


def content_id(*parts: str) -> str:
    """32 hex digits of the sha256 over the parts. Unambiguous: ("ab", "c") and ("a", "bc") differ."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "big") + encoded)
    return digest.hexdigest()[:32]


def document_id(kind: str, group: str, text: str) -> str:
    return content_id(kind, group, text)


def write_table(path: Path, table: pa.Table) -> None:
    """Write Parquet whose bytes are a function of the table alone (and of the pinned pyarrow)."""
    pq.write_table(table, path, compression="zstd", row_group_size=65_536, store_schema=True)


def read_table(path: Path, schema: pa.Schema | None = None) -> pa.Table:
    """Read a stage's table.

    Raises:
        CorpusError: the file is missing or lacks a column of `schema`.
    """
    try:
        table = pq.read_table(path, memory_map=False)
    except FileNotFoundError:
        raise CorpusError(f"{path}: no such file; the stage that writes it has not run") from None
    missing = [name for name in (schema.names if schema else []) if name not in table.column_names]
    if missing:
        raise CorpusError(f"{path}: lacks the columns {missing}; it has {table.column_names}")
    return table


def document_files(ref: ArtifactRef | Path) -> list[Path]:
    """The parts of an artifact's documents, in order.

    Raises:
        CorpusError: there are none.
    """
    files = part_files(ref / DOCUMENTS)
    if not files:
        raise CorpusError(f"{ref / DOCUMENTS}: no parts of documents; the stage that writes them has not run")
    return files


def read_documents(
    ref: ArtifactRef | Path, columns: Sequence[str] | None = None, *, labelled: bool = False
) -> pa.Table:
    """All documents as one table, for what is known to be small.

    Args:
        columns: by default all.
        labelled: only those with a label.
    """
    filters = pc.field("label").is_valid() if labelled else None
    wanted = list(columns) if columns else None
    return pa.concat_tables(pq.read_table(file, columns=wanted, filters=filters) for file in document_files(ref))


def iter_documents(files: Iterable[Path], columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """Rows one by one; memory holds a batch of them."""
    wanted = list(columns) if columns else None
    for file in files:
        with pq.ParquetFile(file) as parquet:
            for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=wanted):
                yield from batch.to_pylist()


class TableWriter:
    """Rows to a Parquet file in row groups of `BATCH_DOCUMENTS`; its bytes are a function of the rows alone.

    Row groups are small, so that a reader needs the memory of one batch however long the texts are.
    """

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._schema = schema
        self._writer = pq.ParquetWriter(path, schema, compression="zstd")
        self._pending: list[tuple[object, ...]] = []

    def add(self, row: tuple[object, ...]) -> None:
        """A row, in the order of the schema's fields."""
        self._pending.append(row)
        if len(self._pending) == BATCH_DOCUMENTS:
            self._flush()

    def __enter__(self) -> TableWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if kind is None:
            self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._pending:
            self._writer.write_table(rows_table(self._pending, self._schema))
            self._pending.clear()


def column(table: pa.Table, name: str) -> list[str]:
    values: list[str] = table[name].to_pylist()
    return values


def reject(row: Mapping[str, Any], reason: str, detail: str = "") -> tuple[object, ...]:
    """A row of rejects, in the order of REJECT_SCHEMA, for a document that goes."""
    text = row.get("text") or ""
    head = text[:HEAD_CHARACTERS]
    return (row.get("id", ""), row["url"], row["source"], row["kind"], reason, detail, head, len(text))


def rows_table(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    """A table of tuples in the order of the schema's fields."""
    columns = zip(*rows, strict=True) if rows else [()] * len(schema)
    return pa.table([pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)], schema)


def check_balance(out: Draft) -> None:
    """Nothing disappears silently.

    Raises:
        RuntimeError: kept + dropped is not seen, which is a mistake in the stage and not in its input.
    """
    seen, kept, dropped = out.rows["seen"], out.rows["kept"], sum(out.dropped.values())
    if kept + dropped != seen:
        raise RuntimeError(f"{out.path.name}: kept {kept} + dropped {dropped} is not seen {seen}: {out.dropped}")


def reasons(out: Draft) -> str:
    """Drop counts as text, the most frequent first."""
    counts = sorted(out.dropped.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {reason}" for reason, count in counts) or "nothing"
