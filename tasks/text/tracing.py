"""From a row of a shard back to its document and URL, and from a URL to its rows.

Each part of the shards has its part of the index, `index/part-00000.parquet`, sorted by URL. A row is found by reading
its part's index. A URL is found by the minimum and maximum that Parquet keeps for each group of `GROUP_ROWS` rows: one
footer for each part, and the groups whose range holds the URL, of which a part that is sorted has one or two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bert_core.shard_writer import Places
from tasks.artifacts import ArtifactRef
from tasks.text.parts import part_files

INDEX = "index"
GROUP_ROWS = 8_192
SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("document_id", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
        ("shard", pa.int32()),  # of this part: 0, 1, …; not the file's name, so that a part can be linked as another
        ("row", pa.int64()),
        ("first_token", pa.int64()),
        ("tokens", pa.int64()),
    ]
)
SHARD_NAME = re.compile(r"part-(\d{5,})(?:\.(\d+))?\.arrow")


class TraceError(LookupError):
    """There is no such row or shard; the message says what there is."""


@dataclass(frozen=True)
class Row:
    """Where a document is in the shards of one artifact."""

    url: str
    document_id: str
    source: str
    split: str
    shard: str
    """File name in the folder of the split."""
    row: int
    first_token: int
    """In the shard."""
    tokens: int


def locate_row(folder: ArtifactRef | Path, split: str, shard: str, row: int) -> Row:
    """What row `row` of `<folder>/<split>/<shard>` is.

    Args:
        folder: an encode artifact.
        shard: a file name, such as part-00003.arrow.

    Raises:
        TraceError: there is no such shard or row.
    """
    found = SHARD_NAME.fullmatch(shard)
    file = folder / INDEX / f"part-{found[1]}.parquet" if found else None
    if found is None or file is None or not file.exists():
        raise TraceError(f"{folder / split}: no shard {shard!r}; legal: part-00000.arrow and so on")
    number = int(found[2] or 0)
    wanted = (pc.field("split") == split) & (pc.field("shard") == number) & (pc.field("row") == row)
    for each in _read(file, wanted):
        return each
    raise TraceError(f"{folder / split / shard}: no row {row}")


def locate_url(folder: ArtifactRef | Path, url: str) -> Iterator[Row]:
    """The rows of a URL's documents, in the order of parts; none where the URL is not in these shards."""
    for file in part_files(folder / INDEX):
        with pq.ParquetFile(file) as parquet:
            groups = [group for group in range(parquet.num_row_groups) if _may_hold(parquet, group, url)]
            table = parquet.read_row_groups(groups) if groups else SCHEMA.empty_table()
        yield from _rows(file, table.filter(pc.field("url") == url))


def index_rows(batch: pa.RecordBatch, split: str, places: Places, tokens: NDArray[np.int64]) -> pa.Table:
    """Rows of the index for a batch of documents.

    Args:
        batch: with the columns url, id and source.
        tokens: of each document.
    """
    columns = [
        batch["url"],
        batch["id"],
        batch["source"],
        pa.repeat(split, len(batch)),
        pa.array(places.shard, pa.int32()),
        pa.array(places.row, pa.int64()),
        pa.array(places.first_token, pa.int64()),
        pa.array(tokens, pa.int64()),
    ]
    return pa.table(columns, schema=SCHEMA)


def write_index_part(path: Path, rows: Sequence[pa.Table]) -> None:
    """Write a part's index; a function of the rows alone."""
    table = pa.concat_tables([SCHEMA.empty_table(), *rows])
    table = table.sort_by([(name, "ascending") for name in ("url", "split", "shard", "row")])
    pq.write_table(table, path, compression="zstd", row_group_size=GROUP_ROWS)


def shard_suffix(number: int) -> str:
    """Of a part's shards: almost every part has one of a side."""
    return f".{number}.arrow" if number else ".arrow"


def _read(file: Path, wanted: pc.Expression) -> list[Row]:
    return _rows(file, pq.read_table(file, filters=wanted))


def _rows(file: Path, table: pa.Table) -> list[Row]:
    part = file.name.removesuffix(".parquet")
    return [Row(**{**row, "shard": part + shard_suffix(row["shard"])}) for row in table.to_pylist()]


def _may_hold(parquet: pq.ParquetFile, group: int, url: str) -> bool:
    """Compared as bytes, as Parquet does. A file without statistics may hold anything."""
    statistics = parquet.metadata.row_group(group).column(0).statistics
    if statistics is None or not statistics.has_min_max:
        return True
    return bool(statistics.min.encode() <= url.encode() <= statistics.max.encode())
