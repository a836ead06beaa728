"""Bodies in WARC files (ISO 28500): gzip, one member a record, so that any can be read by its offset."""

from __future__ import annotations

import hashlib
import os
import re
import zlib
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Protocol

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.artifacts import ArtifactError, store

MAX_OPEN_WARCS = 32
_READ_BYTES = 16_384
_LENGTH = re.compile(rb"^Content-Length:\s*(\d+)\s*$", re.IGNORECASE | re.MULTILINE)
WARCS = "crawl-*.warc.gz"


def warc_name(number: int) -> str:
    return f"crawl-{number:05d}.warc.gz"


def warc_number(path: Path) -> int:
    return int(path.name.removeprefix("crawl-").removesuffix(".warc.gz"))


WARC = warc_name(0)


class HasBody(Protocol):
    """A row that says where a body lies."""

    @property
    def url(self) -> str: ...
    @property
    def warc(self) -> str | None: ...
    @property
    def warc_offset(self) -> int | None: ...
    @property
    def body_sha256(self) -> str | None: ...


class BodyReader:
    """Reads bodies by WARC offset and keeps the files open."""

    def __init__(self) -> None:
        self._files: dict[str, BinaryIO] = {}

    def __enter__(self) -> BodyReader:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        for file in self._files.values():
            file.close()
        self._files.clear()

    def read(self, row: HasBody, file: Path | None = None) -> bytes:
        """The body, checked against the row's sha256.

        Args:
            file: where the WARC lies, if not yet (or no longer) where the row says.

        Raises:
            ArtifactError: the file is missing, the record torn, or the body another one.
        """
        assert row.warc is not None, row.url
        stream = self._open(file or store() / row.warc)
        stream.seek(row.warc_offset or 0)
        try:
            body = response_body(stream)
        except (zlib.error, EOFError, ValueError) as error:
            raise ArtifactError(f"{row.warc} at {row.warc_offset}: not a readable record ({error!r})") from error
        if hashlib.sha256(body).hexdigest() != row.body_sha256:
            raise ArtifactError(
                f"{row.warc} at {row.warc_offset}: the body of {row.url} is not the one that was fetched; "
                f"crawl again into an empty store, or restore the file"
            )
        return body

    def _open(self, path: Path) -> BinaryIO:
        name = str(path)
        if name not in self._files:
            if len(self._files) >= MAX_OPEN_WARCS:
                self._files.pop(next(iter(self._files))).close()
            try:
                self._files[name] = path.open("rb")
            except FileNotFoundError:
                raise ArtifactError(f"{path}: the WARC file of an earlier night is missing") from None
        return self._files[name]


def response_body(stream: BinaryIO) -> bytes:
    """The body of the response record that begins where the stream stands.

    For records that `BodyWriter` wrote: a gzip member each, the body as it is. warcio's general reader, which parses
    the headers too, took 1.6 times as long.

    Raises:
        zlib.error, EOFError, ValueError: there is no whole record.
    """
    unpacker, data = zlib.decompressobj(wbits=31), bytearray()
    while not unpacker.eof:
        if not (chunk := stream.read(_READ_BYTES)):
            raise EOFError("the file ends within the record")
        data += unpacker.decompress(chunk)
    head, _, block = data.partition(b"\r\n\r\n")
    if (length := _LENGTH.search(head)) is None:
        raise ValueError("the record has no length")
    return bytes(block[: int(length[1])].partition(b"\r\n\r\n")[2])


class BodyWriter:
    """Appends response records to a WARC file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self._writer = WARCWriter(self._file, gzip=True)
        if not self._file.tell():
            header = self._writer.create_warcinfo_record(path.name, {"format": "WARC File Format 1.0"})
            self._writer.write_record(header)

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

    def flush(self) -> int:
        """Hand what was written to the system, which keeps it when this process is killed; returns the file's size."""
        self._file.flush()
        return self._file.tell()

    def sync(self) -> None:
        """Wait until what was flushed is on the disk."""
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class WarcSeries:
    """The WARC files of one crawl: a new one once the last is over `max_bytes` long."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        """Goes on after the last file that is in the folder."""
        self._folder = folder
        self._max_bytes = max_bytes
        self._number = max((warc_number(path) for path in folder.glob(WARCS)), default=0)
        self._writer = BodyWriter(folder / warc_name(self._number))

    def write(
        self, url: str, status: int, headers: Sequence[tuple[str, str]], body: bytes, date: str
    ) -> tuple[str, int, int]:
        """Append a record and flush it; returns the file's name, the record's offset, and its end."""
        if self._writer.flush() > self._max_bytes:
            self.close()
            self._number += 1
            self._writer = BodyWriter(self._folder / warc_name(self._number))
        offset = self._writer.write(url, status, headers, body, date)
        return self._writer.path.name, offset, self._writer.flush()

    def sync(self) -> None:
        self._writer.sync()

    def close(self) -> None:
        self._writer.flush()
        self._writer.sync()
        self._writer.close()
