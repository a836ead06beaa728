"""Crawled pages as later stages read them: one Parquet row an address, bodies in WARC files.

A row may point into the WARC of an earlier night: a page that did not change is not stored twice.

- `pages.parquet`: a row for every address, sorted by URL.
- `content.parquet`: what later stages can see of the pages with a body, without times and places.
- `bodies.parquet`: the rows with a body once more, sorted by a hash of the URL: what units of work are cut from.
- `feeds.json`: what the night's feeds named, for the next night.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef
from tasks.text.web.warc import WARC, BodyReader, BodyWriter

__all__ = ["BODIES", "CONTENT", "FEEDS", "PAGES", "WARC", "BodyReader", "BodyWriter", "Page", "PageRow", "iter_pages"]

PAGES = "pages.parquet"
CONTENT = "content.parquet"
BODIES = "bodies.parquet"
FEEDS = "feeds.json"
BATCH_ROWS = 10_000

SCHEMA = pa.schema(
    [
        ("url", pa.string()),
        ("status", pa.int32()),
        ("fetched_at", pa.string()),
        ("etag", pa.string()),
        ("last_modified", pa.string()),
        ("content_type", pa.string()),
        ("body_sha256", pa.string()),
        ("warc", pa.string()),
        ("warc_offset", pa.int64()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("redirect_to", pa.string()),
        ("depth", pa.int32()),
        ("canonical", pa.string()),
    ]
)
_CONTENT_FIELDS = ("url", "status", "body_sha256", "content_type", "canonical")
_BODY_FIELDS = ("url", "fetched_at", "content_type", "body_sha256", "warc", "warc_offset", "canonical")
CONTENT_SCHEMA = pa.schema([SCHEMA.field(name) for name in _CONTENT_FIELDS])
BODY_SCHEMA = pa.schema([pa.field("hash", pa.uint32()), *(SCHEMA.field(name) for name in _BODY_FIELDS)])


@dataclass(slots=True)
class PageRow:
    """What became of one address. `warc` (relative to the store) and `warc_offset` say where its body lies, if any."""

    url: str
    outcome: str  # fetched | not_modified | redirected | skipped | failed
    reason: str = ""
    status: int = 0  # 0: there was no response
    fetched_at: str = ""  # of the fetch that got the body
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None
    body_sha256: str | None = None
    warc: str | None = None
    warc_offset: int | None = None
    redirect_to: str | None = None
    depth: int = 0
    canonical: str | None = None  # the other address on the site under which the page wants to be known


@dataclass(frozen=True)
class Page:
    """A page with a body, for the stages that read it."""

    url: str
    content_type: str | None
    fetched_at: str
    body: bytes
    canonical: str | None = None
    """The other address on the site under which it wants to be known (normalised), if it says one."""


def url_hash(url: str) -> int:
    """32 bits of the URL's sha256: where in the order of `bodies.parquet` it stands."""
    return int.from_bytes(hashlib.sha256(url.encode("utf-8", "surrogatepass")).digest()[:4], "big")


def write_pages(folder: Path, rows: Sequence[PageRow]) -> None:
    """Write the three tables. Memory beside `rows` is that of a batch and of the references to them."""
    ordered = sorted(rows, key=lambda row: row.url)
    _write(folder / PAGES, SCHEMA, map(asdict, ordered))
    # Only rows with a body: a new dead link must not rebuild the corpus.
    with_body = [row for row in ordered if row.warc is not None]
    _write(folder / CONTENT, CONTENT_SCHEMA, ({**asdict(row), "status": 200} for row in with_body))
    hashed = sorted(((url_hash(row.url), row) for row in with_body), key=lambda pair: (pair[0], pair[1].url))
    _write(folder / BODIES, BODY_SCHEMA, ({"hash": number, **asdict(row)} for number, row in hashed))


def _write(path: Path, schema: pa.Schema, rows: Iterable[dict[str, Any]]) -> None:
    iterator = iter(rows)
    with pq.ParquetWriter(path, schema) as writer:
        while batch := list(islice(iterator, BATCH_ROWS)):
            writer.write_table(pa.Table.from_pylist(batch, schema=schema))


def read_pages(folder: Path) -> list[PageRow]:
    """All rows, sorted by URL. Columns that an earlier version did not write are None."""
    return list(iter_rows(folder))


def iter_rows(folder: Path) -> Iterator[PageRow]:
    """`read_pages`, a batch at a time."""
    with pq.ParquetFile(folder / PAGES) as file:
        for batch in file.iter_batches(BATCH_ROWS):
            yield from (PageRow(**row) for row in batch.to_pylist())


def iter_pages(ref: ArtifactRef) -> Iterator[Page]:
    """The pages of a night that have a body, sorted by URL. For pieces of them see `tasks.text.web.units`.

    Besides the fetched and the unchanged pages these are known pages that failed for the moment (a 503, a timeout),
    with the body of the last night that had one.

    Raises:
        ArtifactError: a WARC file is missing, or holds other bytes than the row's sha256 says.
    """
    with BodyReader() as bodies:
        for row in iter_rows(Path(ref.path)):
            if row.warc is not None:
                yield Page(row.url, row.content_type, row.fetched_at, bodies.read(row), row.canonical)


def read_body(row: PageRow) -> tuple[str, bytes]:
    """Content type and body of one row; for many rows use `iter_pages`."""
    with BodyReader() as bodies:
        return row.content_type or "", bodies.read(row)
