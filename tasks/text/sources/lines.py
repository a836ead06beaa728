"""Text files of one record a line: read with bounded memory, cut at newlines, decoded line by line."""

from __future__ import annotations

import codecs
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from tasks.text.charset import decode
from tasks.text.sources.compressed import BrokenStream, buffered
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unreadable

SAMPLE_BYTES = 1 << 18
_DATE_ID = re.compile(r"\d{8}-\d{2}-\d{3}-\d{3}")  # People's Daily numbers its paragraphs: 19980101-01-001-001
_CLOSING = frozenset(".,;:!?%)]}'’”")
_OPENING = frozenset("([{‘“")
_WIDE_MARKS = {  # longest first: UTF-32's mark starts with UTF-16's
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}


class Line(NamedTuple):
    where: str
    """Its number; in a piece that does not start the file, `@` and the offset of its first byte."""
    data: bytes | None
    """Without its end; None: longer than allowed."""


def read_lines(stream: io.BufferedReader, max_bytes: int, start: int = 0, stop: int | None = None) -> Iterator[Line]:
    """Lines (ended by LF or CR LF) of the bytes from `start`, where the stream stands, to `stop`.

    Of a line over `max_bytes` no more than that is ever held.
    """
    number, offset = 0, start
    while (stop is None or offset < stop) and (data := stream.readline(max_bytes + 2)):
        number += 1
        where = f"@{offset}" if start else str(number)
        offset += len(data)
        line = data.removesuffix(b"\n").removesuffix(b"\r")
        is_whole = len(line) <= max_bytes
        while not is_whole and data and not data.endswith(b"\n"):
            data = stream.readline(1 << 20)
            offset += len(data)
        if number == 1 and not start:
            line = line.removeprefix(codecs.BOM_UTF8)
        yield Line(where, line if is_whole else None)


def piece_lines(piece: Piece) -> Iterator[Line]:
    """The lines of a unit, as UTF-8 where the file's mark says that it is UTF-16 or UTF-32."""
    start, stop = piece.unit.start, piece.unit.stop
    if start:
        piece.file.seek(start)
    stream = piece.expanded() if not start else buffered(piece.file)
    return read_lines(_utf8(stream), piece.limits.max_record_bytes, start, stop)


def line_documents(piece: Piece, tagged: bool = False) -> Iterator[Record]:
    """One document a line. Blank lines, too long ones and those in another encoding than the stated are told."""
    for line, text in decoded(piece, piece_lines(piece)):
        if isinstance(text, Unreadable):
            yield text
        elif not (text := untagged(text) if tagged else text).strip():
            yield Unreadable(f"{piece.name}:{line.where}", "blank line")
        else:
            yield piece.unnamed(line.where, text)


def decoded(piece: Piece, lines: Iterator[Line]) -> Iterator[tuple[Line, str | Unreadable]]:
    """Each line's text. Without a stated encoding it is found in the unit's first lines, and doubted for each line."""
    held, fault = _sample(lines)
    encoding = piece.encoding or file_encoding([line.data for line in held if line.data])
    for line in chain(held, lines):
        url = f"{piece.name}:{line.where}"
        if line.data is None:
            yield (
                line,
                Unreadable(url, "record too large", f"more than {piece.limits.max_record_bytes} bytes"),
            )
        elif piece.encoding is None:
            yield line, line_text(line.data, encoding)
        elif (text := _strict(line.data, piece.encoding)) is None:
            yield line, Unreadable(url, f"not {piece.encoding}", repr(line.data[:80]))
        else:
            yield line, text
    if fault is not None:
        raise fault


def _sample(lines: Iterator[Line]) -> tuple[list[Line], BrokenStream | None]:
    """The first lines, and what ended them before their time: they are whole, and must not go with it."""
    held: list[Line] = []
    size = 0
    try:
        for line in lines:
            held.append(line)
            size += len(line.data or b"")
            if size > SAMPLE_BYTES:
                break
    except BrokenStream as fault:
        return held, fault
    return held, None


def file_encoding(lines: list[bytes]) -> str:
    """The encoding of most of the lines that are not ASCII."""
    telling = [line for line in lines if not line.isascii()]
    strange = [line for line in telling if _strict(line, "utf-8") is None]
    return "utf-8" if 2 * len(strange) < len(telling) or not telling else decode(b"\n".join(strange))[1]


def line_text(data: bytes, encoding: str) -> str:
    """A line of a file that is mostly in `encoding`.

    Beyond ASCII, bytes that are valid UTF-8 hardly ever are anything else by accident, unless they are pairs: 联通 in
    GBK is valid UTF-8. So UTF-8 is tried first, except where the file's encoding has several bytes for a character.
    """
    if data.isascii():
        return data.decode()
    own = _strict(data, encoding)
    if own is not None and len(own) < len(data):
        return own
    other = _strict(data, "utf-8")
    return other if other is not None else own if own is not None else decode(data)[0]


def cuts(path: Path, unit_bytes: int) -> Iterator[tuple[int, int | None, str]]:
    """(start, stop, sha256) of pieces of at least `unit_bytes` (but for the last), each ending after a newline.

    Each has its own sha256, so a file that grows at its end changes its last piece alone.
    """
    with path.open("rb") as file:
        start, digest = 0, hashlib.sha256()
        while block := file.read(min(1 << 20, unit_bytes)):
            digest.update(block)
            if file.tell() - start < unit_bytes:
                continue
            while not block.endswith(b"\n") and (block := file.readline(1 << 20)):
                digest.update(block)
            if file.tell() < path.stat().st_size:
                yield start, file.tell(), digest.hexdigest()
                start, digest = file.tell(), hashlib.sha256()
        yield start, None, digest.hexdigest()


def untagged(line: str) -> str:
    """The text of `word/tag word/tag …`. Blanks come back only where the script has them: not beside Han or kana."""
    text = ""
    for token in line.split():
        word = token.rpartition("/")[0] if "/" in token else token
        if word and not _DATE_ID.fullmatch(word):
            text += " " + word if text and _spaced(text[-1], word[0]) else word
    return text


def is_wide(head: bytes) -> bool:
    """Whether a file starts with a mark of UTF-16 or UTF-32, in which a newline is no single byte."""
    return head.startswith(tuple(_WIDE_MARKS))


class _Recoded(io.RawIOBase):
    """UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, inner: io.BufferedReader, encoding: str) -> None:
        super().__init__()
        self._inner, self._left = inner, b""
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._encoding = encoding

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            data = self._inner.read(1 << 16)
            try:
                self._left = self._decoder.decode(data, final=not data).encode()
            except UnicodeError as error:
                raise BrokenStream(f"invalid {self._encoding[:6].upper()}", str(error)) from None
            if not data:
                break
        found, self._left = self._left[: len(buffer)], self._left[len(buffer) :]
        buffer[: len(found)] = found
        return len(found)


def _utf8(stream: io.BufferedReader) -> io.BufferedReader:
    """The stream without a byte order mark, recoded where it is not made of bytes."""
    head = stream.peek(4)[:4]
    for mark, encoding in _WIDE_MARKS.items():
        if head.startswith(mark):
            stream.read(len(mark))
            return io.BufferedReader(_Recoded(stream, encoding), 1 << 20)
    return stream


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


def _spaced(before: str, after: str) -> bool:
    wide = any(unicodedata.east_asian_width(char) in "WF" for char in (before, after))
    return not wide and after not in _CLOSING and before not in _OPENING
