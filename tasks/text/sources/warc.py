"""Source warc: WARC and WET files (ISO 28500), one record after the other, over broken ones to the next."""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from fastwarc.warc import ArchiveIterator, WarcRecord, WarcRecordType

from tasks.config.sources import WarcSource
from tasks.text.documents import CorpusError
from tasks.text.sources import locations
from tasks.text.sources.compressed import BrokenStream, Caps, Expanded, compression, expanded
from tasks.text.sources.http_message import NotHttp, parse_response
from tasks.text.sources.piece import Record
from tasks.text.sources.raw import RawDocument, Unit, Unreadable

_MARKERS = {"gzip": b"\x1f\x8b\x08", "zstd": b"\x28\xb5\x2f\xfd", None: b"\r\n\r\nWARC/1."}
_LISTING_CAPS = Caps(1_000_000_000, 1000)


@dataclass(frozen=True)
class WarcReader:
    """Reads responses, resources and conversions. A unit is a file.

    fastwarc reads the records: 4.5 times as many a second as warcio (4,299 and 957 pages of 40 kB).
    """

    source: WarcSource
    root: Path

    def units(self) -> list[Unit]:
        paths = locations.find(self.source.paths, self.root) if self.source.paths else []
        if self.source.listing is not None:
            paths += [self.source.prefix + path for path in self._listed(self.source.listing)]
        if not paths:
            raise CorpusError(f"{self.source.listing}: the listing names no file")
        return [Unit(path, locations.content(path, self.root)) for path in paths[: self.source.max_files]]

    def read(self, unit: Unit) -> Iterator[Record]:
        with locations.open_binary(unit.path, self.root) as file:
            for position, found in records(file, unit.path, self.source.max_record_bytes):
                yield found if isinstance(found, Unreadable) else self._document(unit, position, *found)

    def _listed(self, listing: str) -> list[str]:
        try:
            with locations.open_binary(listing, self.root) as file:
                lines = [line.decode().strip() for line in expanded(file, _LISTING_CAPS)]
        except (BrokenStream, UnicodeDecodeError) as error:
            raise CorpusError(f"{listing}: not a listing of paths: {error}") from None
        return [line for line in lines if line]

    def _document(self, unit: Unit, position: int, record: WarcRecord, block: bytes) -> Record:
        url = (record.headers.get("WARC-Target-URI") or "").strip("<>") or f"{unit.path}@{position}"
        if record.record_type == WarcRecordType.response:
            try:
                response = parse_response(block, self.source.max_record_bytes)
            except NotHttp as error:
                return Unreadable(url, "broken HTTP response", str(error))
            except BrokenStream as error:
                return Unreadable(url, error.reason, error.detail)
            if response.status != 200:
                return Unreadable(url, f"http {response.status}")
            block, content_type = response.body, response.content_type
            content_type = content_type or record.headers.get("WARC-Identified-Payload-Type")
        elif record.record_type in (WarcRecordType.resource, WarcRecordType.conversion):
            content_type = record.headers.get("Content-Type")
        else:
            return Unreadable(url, f"record type {record.record_type}")
        return self._page(url, block, content_type, record, {"warc": unit.path, "offset": str(position)})

    def _page(
        self, url: str, body: bytes, content_type: str | None, record: WarcRecord, meta: dict[str, str]
    ) -> Record:
        media = (content_type or "text/html").split(";")[0].strip().lower()
        if media not in self.source.content_types:
            return Unreadable(url, "content type not asked for", media[:100])
        if not body.strip():
            return Unreadable(url, "empty page")
        date = record.headers.get("WARC-Date") or ""
        bare = RawDocument(url, fetched_at=date, kind=self.source.kind, language=self.source.language, meta=meta)
        if record.record_type != WarcRecordType.conversion:
            return replace(bare, body=body, content_type=content_type)
        try:
            return replace(bare, text=body.decode())
        except UnicodeDecodeError as error:
            return Unreadable(url, "invalid UTF-8", str(error))


def records(file: BinaryIO, name: str, max_bytes: int) -> Iterator[tuple[int, tuple[WarcRecord, bytes] | Unreadable]]:
    """(offset, record with its block) of all records; after one that cannot be read, of the next that can.

    A record that says that it is larger than `max_bytes` is passed over without expanding it.

    Raises:
        CorpusError: the file is no WARC from its first byte.
    """
    kind = _kind(file, name)
    position: int | None = 0
    in_ruins = False
    while position is not None:
        file.seek(position)
        begun, size = position, 0
        try:
            for record in ArchiveIterator(file, parse_http=False):
                begun, size = record.stream_pos, record.content_length
                if "Content-Length" not in record.headers:
                    raise OSError("no Content-Length: the header is torn")
                if size > max_bytes:
                    yield begun, Unreadable(_url(record, name, begun), "record too large", f"{size} bytes")
                    break
                block = record.reader.read(size) if size else b""
                if len(block) < size:
                    raise OSError(f"{len(block)} of {size} bytes are there")
                in_ruins = False
                yield begun, (record, block)
            else:
                _check_end(file, kind, begun)  # fastwarc takes a torn header for the end
                return
        except OSError as error:  # fastwarc's for whatever is wrong
            if not in_ruins:
                yield begun, Unreadable(f"{name}@{begun}", "broken WARC record", str(error)[:300])
            in_ruins = True
        position = _next_member(file, kind, begun, size)


def _kind(file: BinaryIO, name: str) -> str | None:
    head = file.read(8)
    kind = compression(head)
    if kind not in _MARKERS or (kind is None and not head.startswith(b"WARC/")):
        raise CorpusError(f"{name}: not a WARC file, plain or of gzip or zstd members: it starts with {head!r}")
    return kind


def _check_end(file: BinaryIO, kind: str | None, begun: int) -> None:
    """
    Raises:
        OSError: the file does not end with the record that begins at `begun`, or with what belongs to it.
    """
    file.seek(begun)
    if kind is None:
        file.seek(max(begun, file.seek(0, io.SEEK_END) - 4))
        if not file.read(4).endswith(b"\n\r\n"):
            raise OSError("the file ends in the middle of a record")
        return
    try:
        rest = Expanded(file, kind, Caps(1 << 62, float("inf")))
        while rest.read(1 << 20):
            pass
    except BrokenStream as error:
        raise OSError(f"{error.reason} {error.detail}") from None


def _next_member(file: BinaryIO, kind: str | None, begun: int, size: int) -> int | None:
    """The offset after `begun` of what looks like the start of a record: of a member, where the file has members.

    In a plain file a page may hold what looks like a record: its `size` bytes are passed over, if the file has them.
    """
    marker = _MARKERS[kind]
    start = begun + 1
    if kind is None and begun + size < file.seek(0, io.SEEK_END):
        start = begun + max(size, 1)
    file.seek(start)
    tail = b""
    while block := file.read(1 << 20):
        window = tail + block
        found = window.find(marker)
        if found >= 0:
            return start - len(tail) + found + (4 if kind is None else 0)
        start += len(block)
        tail = window[-(len(marker) - 1) :]
    return None


def _url(record: WarcRecord, name: str, position: int) -> str:
    return (record.headers.get("WARC-Target-URI") or "").strip("<>") or f"{name}@{position}"
