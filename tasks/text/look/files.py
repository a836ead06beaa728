"""The tables of an artifact, read in batches, whatever columns this version of a stage wrote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef
from tasks.text.documents import BATCH_DOCUMENTS
from tasks.text.parts import part_files


def tables(ref: ArtifactRef, name: str) -> list[Path]:
    """The files of table `name`: `name.parquet`, or the parts in the folder `name`; [] if the artifact has neither."""
    single = ref / f"{name}.parquet"
    if single.is_file():
        return [single]
    return [path for path in part_files(ref / name) if path.suffix == ".parquet"]


def batches(file: Path, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """The columns in this order; one that the file lacks is null."""
    with pq.ParquetFile(file) as parquet:
        found = set(parquet.schema_arrow.names)
        for batch in parquet.iter_batches(BATCH_DOCUMENTS, columns=[name for name in columns if name in found]):
            yield pa.RecordBatch.from_arrays(
                [batch[name] if name in found else pa.nulls(batch.num_rows, pa.string()) for name in columns],
                names=list(columns),
            )


def has_column(file: Path, name: str) -> bool:
    return name in pq.read_schema(file).names
