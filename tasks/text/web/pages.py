"""Crawled pages as later stages read them: one Parquet row an address, bodies in WARC files.

A row may point into the WARC of an earlier night: a page that did not change is not stored twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq
from warcio.archiveiterator import ArchiveIterator
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.artifacts import ArtifactError, ArtifactRef, store

PAGES = "pages.parquet"
CONTENT = "content.parquet"
WARC = "crawl-00000.warc.gz"
MAX_OPEN_WARCS = 32

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
    ]
)


@dataclass
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


@dataclass(frozen=True)
class Page:
    """A page with a body, for the stages that read it."""

    url: str
    content_type: str | None
    fetched_at: str
    body: bytes


def write_pages(folder: Path, rows: Sequence[PageRow]) -> None:
    """Write `pages.parquet`, and `content.parquet`: what later stages can see of it, without times and places."""
    ordered = [asdict(row) for row in sorted(rows, key=lambda row: row.url)]
    pages = pa.Table.from_pylist(ordered, schema=SCHEMA)
    pq.write_table(pages, folder / PAGES)
    # Only rows with a body: a new dead link must not rebuild the corpus.
    content = [{**row, "status": 200} for row in ordered if row["warc"] is not None]
    fields = [SCHEMA.field(name) for name in ("url", "status", "body_sha256", "content_type")]
    pq.write_table(pa.Table.from_pylist(content, schema=pa.schema(fields)), folder / CONTENT)


def read_pages(folder: Path) -> list[PageRow]:
    """All rows, sorted by URL."""
    return [PageRow(**row) for row in pq.read_table(folder / PAGES, schema=SCHEMA).to_pylist()]


def iter_pages(ref: ArtifactRef) -> Iterator[Page]:
    """The pages of a night that have a body, sorted by URL.

    Besides the fetched and the unchanged pages these are known pages that failed for the moment (a 503, a timeout),
    with the body of the last night that had one.

    Raises:
        ArtifactError: a WARC file is missing, or holds other bytes than the row's sha256 says.
    """
    with BodyReader() as bodies:
        for row in read_pages(Path(ref.path)):
            if row.warc is not None:
                yield Page(row.url, row.content_type, row.fetched_at, bodies.read(row))


def read_body(row: PageRow) -> tuple[str, bytes]:
    """Content type and body of one row; for many rows use `iter_pages`."""
    with BodyReader() as bodies:
        return row.content_type or "", bodies.read(row)


class BodyReader:
    """Reads bodies by WARC offset and keeps the files open."""

    def __init__(self) -> None:
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *exception: object) -> None:
        for file in self._files.values():
            file.close()

    def read(self, row: PageRow) -> bytes:
        """The body, checked against the row's sha256."""
        assert row.warc is not None, row.url
        file = self._open(row.warc)
        file.seek(row.warc_offset or 0)
        try:
            body = bytes(next(iter(ArchiveIterator(file))).content_stream().read())
        except Exception as error:  # warcio and zlib raise many kinds for torn bytes
            raise ArtifactError(f"{row.warc} at {row.warc_offset}: not a readable record ({error!r})") from error
        if hashlib.sha256(body).hexdigest() != row.body_sha256:
            raise ArtifactError(
                f"{row.warc} at {row.warc_offset}: the body of {row.url} is not the one that was fetched; "
                f"crawl again into an empty store, or restore the file"
            )
        return body

    def _open(self, warc: str) -> BinaryIO:
        if warc not in self._files:
            if len(self._files) >= MAX_OPEN_WARCS:
                self._files.pop(next(iter(self._files))).close()
            try:
                self._files[warc] = (store() / warc).open("rb")
            except FileNotFoundError:
                raise ArtifactError(f"{store() / warc}: the WARC file of an earlier night is missing") from None
        return self._files[warc]


class BodyWriter:
    """Appends response records to a WARC file, one gzip member each (ISO 28500), so that any can be read by offset."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._writer = WARCWriter(self._file, gzip=True)
        self._writer.write_record(self._writer.create_warcinfo_record(path.name, {"format": "WARC File Format 1.0"}))

    def write(self, url: str, status: int, headers: Sequence[tuple[str, str]], body: bytes, date: str) -> int:
        """Append a record; returns its offset.

        The body is stored decoded: the encodings of the transfer are kept as `X-Archive-Orig-` headers.
        """
        offset = self._file.tell()
        changed = ("content-encoding", "transfer-encoding", "content-length")
        kept = [(f"X-Archive-Orig-{name}" if name.lower() in changed else name, value) for name, value in headers]
        http = StatusAndHeaders(f"{status} OK", [*kept, ("Content-Length", str(len(body)))], protocol="HTTP/1.1")
        record = self._writer.create_warc_record(
            url, "response", payload=BytesIO(body), http_headers=http, warc_headers_dict={"WARC-Date": date}
        )
        self._writer.write_record(record)
        return offset

    def close(self) -> None:
        self._file.close()
