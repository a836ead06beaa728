"""Parquet, and folders that Hugging Face datasets wrote with save_to_disk; read with pyarrow alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.labelled.formats.row import NoClass, Row
from tasks.labelled.ledger import LabelledDataError

_BATCH_ROWS = 1_024


def parquet_rows(name: str, file: BinaryIO) -> Iterator[Row]:
    """
    Raises:
        LabelledDataError: not Parquet, or torn.
    """
    try:
        found = pq.ParquetFile(file)
        yield from _rows(found.schema_arrow, found.iter_batches(_BATCH_ROWS))
    except (pa.ArrowException, OSError) as error:
        raise LabelledDataError(f"{name}: not a readable Parquet file: {error}") from None


def arrow_rows(name: str, file: BinaryIO) -> Iterator[Row]:
    """
    Raises:
        LabelledDataError: not an Arrow stream, or torn.
    """
    try:
        with pa.ipc.open_stream(file) as stream:
            yield from _rows(stream.schema, stream)
    except (pa.ArrowException, OSError) as error:
        raise LabelledDataError(f"{name}: not a readable Arrow stream: {error}") from None


def _rows(schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[Row]:
    names = _class_names(schema)
    number = 0
    for batch in batches:
        for values in batch.to_pylist():
            number += 1
            for column, classes in names.items():
                values[column] = _named(values.get(column), classes)
            yield Row(number, values)


def _named(value: Any, classes: list[str]) -> Any:
    if isinstance(value, list):
        return [_named(each, classes) for each in value]
    if not isinstance(value, int):
        return value
    return classes[value] if 0 <= value < len(classes) else NoClass(value, len(classes))


def _class_names(schema: pa.Schema) -> dict[str, list[str]]:
    """Names of the classes of integers and of lists of them, which datasets keeps in the schema's metadata."""
    stated = (schema.metadata or {}).get(b"huggingface")
    try:
        features = json.loads(stated)["info"]["features"] if stated else {}
        found = {name: _names(each) for name, each in features.items()}
    except (ValueError, KeyError, AttributeError, TypeError):  # somebody else's metadata
        return {}
    return {name: names for name, names in found.items() if names}


def _names(feature: Any) -> list[str]:
    """`Sequence` (or, since datasets 4, `List`) wraps a feature; old files have a list of one."""
    if isinstance(feature, list):
        return _names(feature[0])
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        return _names(feature["feature"])
    if isinstance(feature, dict) and feature.get("_type") == "ClassLabel":
        return [str(name) for name in feature["names"]]
    return []
