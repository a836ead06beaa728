"""Tables of parts, as one table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.text.documents import BATCH_DOCUMENTS


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path that takes the place of `path` when the block ends without an error."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def sweep(*folders: Path) -> None:
    """Remove the temporary files that a killed process left there."""
    for folder in folders:
        for path in folder.glob(".*"):
            path.unlink()


def join(files: Sequence[Path], path: Path, schema: pa.Schema) -> None:
    """Write the rows of all files, in order, to `path`. Memory holds a batch of rows."""
    with replacing(path) as temporary, pq.ParquetWriter(temporary, schema, compression="zstd") as writer:
        for file in files:
            with pq.ParquetFile(file) as parquet:
                for batch in parquet.iter_batches(BATCH_DOCUMENTS):
                    writer.write_batch(batch)
