"""MediaWiki XML dumps (export-0.x schema) as a stream of pages: no tree, no entities, one page in memory.

A dump of many bzip2 streams can be read from the start of any of them. A page belongs to the stream in which its
`<page>` starts, so pieces between streams neither miss nor repeat a page, also where streams end in the middle of one.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from xml.parsers import expat

from tasks.text.sources.compressed import BrokenStream, Caps, Expanded, expanded

CAPS = Caps(1_000_000_000_000, 1000)
HEADER_BYTES = 1 << 20
CHUNK_BYTES = 1 << 18
BROKEN_XML = "broken XML"
_STREAM = re.compile(rb"BZh[1-9]1AY&SY")  # a stream's first block: 80 bits that do not occur by accident
_PAGE = b"<page>"
_FIELDS = {
    "mediawiki/page/title": "title",
    "mediawiki/page/ns": "namespace",
    "mediawiki/page/id": "id",
    "mediawiki/page/revision/id": "revision",
    "mediawiki/page/revision/timestamp": "timestamp",
    "mediawiki/page/revision/model": "model",
    "mediawiki/page/revision/text": "text",
}


@dataclass
class Page:
    """One page of the dump, in its last revision there."""

    title: str = ""
    namespace: str = "0"
    id: str = ""
    revision: str = ""
    timestamp: str = ""
    model: str = "wikitext"
    text: str | None = ""
    """None: longer than allowed."""
    is_redirect: bool = False


@dataclass(frozen=True)
class SiteInfo:
    """What the dump says of its wiki."""

    base: str = ""
    """Address of the main page."""
    language: str = ""
    namespaces: dict[str, str] = field(default_factory=dict)
    """Names by number."""


def stream_starts(file: BinaryIO, apart: int) -> list[int]:
    """Offsets of bzip2 streams, each at least `apart` bytes after the one before; the first is 0."""
    starts, tail, offset = [0], b"", 0
    while block := file.read(1 << 20):
        window = tail + block
        for match in _STREAM.finditer(window):
            start = offset - len(tail) + match.start()
            if start - starts[-1] >= apart:
                starts.append(start)
        offset += len(block)
        tail = window[-9:]
    return starts


def site_info(file: BinaryIO) -> SiteInfo | None:
    """What the dump's head says; None if it is no MediaWiki dump.

    Raises:
        BrokenStream: it cannot be expanded, or declares entities.
    """
    head = _head(file)
    reader = _Reader(max_text=0)
    try:
        reader.feed(head)
    except BrokenStream as error:
        if error.reason != BROKEN_XML:
            raise
        return None
    return reader.site if reader.is_dump else None


def _head(file: BinaryIO) -> bytes:
    """The bytes to the end of <siteinfo>, or as many as can be read: that the rest is torn is told by its reader."""
    head = b""
    try:
        stream = expanded(file, CAPS)
        while b"</siteinfo>" not in head and len(head) < HEADER_BYTES and (more := stream.read1(1 << 16)):
            head += more
    except BrokenStream:
        if not head:
            raise
    return head.partition(b"</siteinfo>")[0]


def pages(file: BinaryIO, max_text: int, start: int = 0, stop: int | None = None) -> Iterator[Page]:
    """The pages that start between two offsets of bzip2 streams; of a dump that is compressed otherwise, all.

    Raises:
        BrokenStream: the rest cannot be read: truncated, not XML, or with entity declarations.
    """
    reader = _Reader(max_text)
    try:
        for data, is_beyond in _chunks(file, start, stop):
            reader.feed(data, is_beyond)
            yield from reader.taken()
            if reader.is_done:
                return
        reader.close(is_whole=start == 0)
    except BrokenStream:
        yield from reader.taken()  # what came before the fault, in the same chunk
        raise
    yield from reader.taken()


def _chunks(file: BinaryIO, start: int, stop: int | None) -> Iterator[tuple[bytes, bool]]:
    """(bytes, whether their stream starts at or after `stop`). Inside a dump, its root element is put first."""
    if start == 0 and stop is None:
        stream = expanded(file, CAPS)
        yield from ((data, False) for data in iter(lambda: stream.read1(CHUNK_BYTES), b""))
        return
    file.seek(start)
    raw = Expanded(file, "bzip2", CAPS)
    data: bytes = raw.read(CHUNK_BYTES)
    if start:
        data = b"<mediawiki>" + _from_first_page(data, raw)
    while data:
        yield data, stop is not None and start + raw.member_offset >= stop
        data = raw.read(CHUNK_BYTES)


def _from_first_page(data: bytes, raw: io.RawIOBase) -> bytes:
    while _PAGE not in data and (more := raw.read(CHUNK_BYTES)):
        data = data[-(len(_PAGE) - 1) :] + more
    return data[data.find(_PAGE) :] if _PAGE in data else b""


class _Reader:
    """An expat parser that keeps one page."""

    def __init__(self, max_text: int) -> None:
        self.site = SiteInfo()
        self.is_dump = self.is_done = False
        self._max_text = max_text
        self._path: list[str] = []
        self._page: Page | None = None
        self._pages: list[Page] = []
        self._text: list[str] | None = None
        self._size = self._fed = 0
        self._limit: int | None = None
        self._key = ""
        self._parser = expat.ParserCreate()
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.EntityDeclHandler = self._entity

    def feed(self, data: bytes, is_beyond: bool = False) -> None:
        """
        Raises:
            BrokenStream: not XML, or with entity declarations.
        """
        if is_beyond and self._limit is None:
            self._limit = self._fed
        self._fed += len(data)
        self._parse(data, False)
        # Beyond the limit only the page that started before it is read on.
        self.is_done = self.is_done or (self._limit is not None and self._page is None and self._fed > self._limit + 6)

    def close(self, is_whole: bool) -> None:
        if is_whole and not self.is_done:
            self._parse(b"", True)

    def taken(self) -> list[Page]:
        found, self._pages = self._pages, []
        return found

    def _parse(self, data: bytes, is_last: bool) -> None:
        try:
            self._parser.Parse(data, is_last)
        except expat.ExpatError as error:
            raise BrokenStream(BROKEN_XML, str(error)) from None

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._path.append(name)
        path = "/".join(self._path) if len(self._path) < 5 else ""
        if path == "mediawiki":
            self.is_dump = True
            self.site = SiteInfo(language=attributes.get("xml:lang", ""))
        elif path == "mediawiki/page":
            if self._limit is not None and self._parser.CurrentByteIndex >= self._limit:
                self.is_done = True
            self._page = None if self.is_done else Page()
        elif path == "mediawiki/page/redirect" and self._page:
            self._page.is_redirect = True
        self._key = attributes.get("key", "")
        self._text, self._size = ([], 0) if self._is_wanted(path) else (None, 0)

    def _is_wanted(self, path: str) -> bool:
        in_page = path in _FIELDS and self._page is not None
        return in_page or path == "mediawiki/siteinfo/base" or path == "mediawiki/siteinfo/namespaces/namespace"

    def _end(self, name: str) -> None:
        path = "/".join(self._path) if len(self._path) < 5 else ""
        self._path.pop()
        if path == "mediawiki/page" and self._page:
            self._pages.append(self._page)
            self._page = None
        if self._text is None:
            return
        text = "".join(self._text)
        if path == "mediawiki/siteinfo/base":
            self.site = SiteInfo(text, self.site.language, self.site.namespaces)
        elif path == "mediawiki/siteinfo/namespaces/namespace":
            self.site.namespaces[self._key] = text
        elif self._page:
            is_long = path.endswith("/text") and self._size > self._max_text
            setattr(self._page, _FIELDS[path], None if is_long else text)
        self._text = None

    def _characters(self, data: str) -> None:
        if self._text is None:
            return
        self._size += len(data)
        if self._size <= max(self._max_text, 10_000):
            self._text.append(data)

    def _entity(self, *declaration: object) -> None:
        raise BrokenStream("XML entity declaration", f"{declaration[0]!r}: dumps have none, bombs do")
