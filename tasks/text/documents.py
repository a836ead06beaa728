"""The tables that the corpus stages hand to each other: schemas, ids, reading and writing.

Every stage keeps the columns of the one before and adds its own, so a document carries its history with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef, Draft

DOCUMENTS = "documents.parquet"
REJECTS = "rejects.parquet"
HEAD_CHARACTERS = 300

RAW_SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("source", pa.string()),
        ("fetched_at", pa.string()),
        ("text", pa.string()),
        ("kind", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),
    ]
)
DOCUMENT_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("source", pa.string()),
        ("fetched_at", pa.string()),
        ("language", pa.string()),
        ("title", pa.string()),
        ("text", pa.string()),
        ("kind", pa.string()),
        ("label", pa.string()),
        ("group", pa.string()),
        ("sentences", pa.list_(pa.int32())),
        ("meta", pa.string()),
    ]
)
CLEAN_REJECT_SCHEMA = pa.schema(
    [("url", pa.string()), ("kind", pa.string()), ("reason", pa.string()), ("text", pa.string())]
)
DUPLICATE_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("url", pa.string()),
        ("kind", pa.string()),
        ("reason", pa.string()),
        ("duplicate_of", pa.string()),
        ("similarity", pa.float64()),
        ("text", pa.string()),
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


def read_documents(ref: ArtifactRef) -> pa.Table:
    return read_table(ref / DOCUMENTS, DOCUMENT_SCHEMA)


def column(table: pa.Table, name: str) -> list[str]:
    values: list[str] = table[name].to_pylist()
    return values


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
