"""Compressed files as plain byte streams, with caps: a bomb is an error, and memory holds one buffer."""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO, cast

from backports import zstd

from tasks.config.sources import ReadLimits

BUFFER_BYTES = 1 << 20
SLACK_BYTES = 8_000_000
"""Expanded bytes before the ratio counts: a small file of one repeated line is no bomb."""
MAX_LAYERS = 3
MEMORY_LIMIT = 256 << 20
"""For the window of xz; zstd's is 128 MB (2^27), what its own command line allows."""
SUFFIXES = (".gz", ".zst", ".bz2", ".xz")
_MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x50\x2a\x4d\x18": "zstd",  # a skippable frame, with which pzstd starts
}
_HEAD_BYTES = 6


class BrokenStream(Exception):
    """The bytes cannot be read on. What was read before is whole."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True)
class Caps:
    """How far a stream may expand."""

    max_bytes: int
    max_ratio: float

    @classmethod
    def of(cls, limits: ReadLimits) -> Caps:
        return cls(limits.max_expanded_bytes, limits.max_ratio)


class _Gzip:
    """zlib's decompressor with the interface that bz2's, lzma's and zstd's share."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data


_DECOMPRESSORS: dict[str, Callable[[], Any]] = {
    "gzip": _Gzip,
    "bzip2": bz2.BZ2Decompressor,
    "xz": lambda: lzma.LZMADecompressor(memlimit=MEMORY_LIMIT),
    "zstd": lambda: zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: 27}),
}


class Expanded(io.RawIOBase):
    """The expanded bytes of a stream of one or more members of one kind.

    Raises (from read):
        BrokenStream: truncated, broken, or a decompression bomb.
    """

    def __init__(self, inner: BinaryIO | io.BufferedReader, kind: str, caps: Caps) -> None:
        super().__init__()
        self._inner, self._kind, self._caps = inner, kind, caps
        self._member: Any = _DECOMPRESSORS[kind]()
        self._taken = self._given = 0
        self.member_offset = 0
        """Where the member of the last bytes starts, in bytes taken. One `readinto` never crosses members."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while True:
            if self._member.eof and not self._next_member():
                return 0
            data = self._take() if self._member.needs_input else b""
            ended = self._member.needs_input and not data
            try:
                found = self._member.decompress(data, len(buffer))
            except (zlib.error, OSError, EOFError, lzma.LZMAError, zstd.ZstdError) as error:
                raise BrokenStream(f"broken {self._kind}", str(error)) from None
            if found:
                self._given += len(found)
                self._check()
                buffer[: len(found)] = found
                return len(found)
            if ended and not self._member.eof:
                raise BrokenStream(f"truncated {self._kind}", f"after {self._given} expanded bytes")

    def _take(self) -> bytes:
        data = self._inner.read(1 << 16)
        self._taken += len(data)
        return data

    def _next_member(self) -> bool:
        """Members may follow each other, and zeros may follow the last (tapes are padded so)."""
        rest = self._member.unused_data or self._take()
        while rest and not (rest := rest.lstrip(b"\0")):
            rest = self._take()
        if not rest:
            return False
        if len(rest) < _HEAD_BYTES:
            rest += self._take()
        if compression(rest) != self._kind:
            raise BrokenStream(f"broken {self._kind}", f"{rest[:8]!r} after its end")
        self.member_offset = self._taken - len(rest)
        self._member = _Primed(_DECOMPRESSORS[self._kind](), rest)
        return True

    def _check(self) -> None:
        ratio = self._given / max(self._taken, 1)
        if self._given > self._caps.max_bytes or (self._given > SLACK_BYTES and ratio > self._caps.max_ratio):
            detail = f"{self._given} bytes of {self._taken} so far; at most {self._caps.max_bytes} bytes, or "
            raise BrokenStream("decompression bomb", f"{detail}{self._caps.max_ratio:g} times the compressed size")


class _Primed:
    """A decompressor that gets the bytes left over by the one before it first."""

    def __init__(self, inner: Any, rest: bytes) -> None:
        self._inner, self._rest = inner, rest

    def decompress(self, data: bytes, max_length: int) -> bytes:
        rest, self._rest = self._rest, b""
        found: bytes = self._inner.decompress(rest + data, max_length)
        return found

    @property
    def needs_input(self) -> bool:
        return not self._rest and self._inner.needs_input

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        found: bytes = self._inner.unused_data
        return found


def compression(head: bytes) -> str | None:
    """The compression whose magic number the bytes start with (at least six of them)."""
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def expanded(file: BinaryIO, caps: Caps) -> io.BufferedReader:
    """A file's bytes, expanded as often as its bytes say that it was compressed (not: its name).

    Raises:
        BrokenStream: compressed more than three times over; also later, from reading.
    """
    stream = buffered(file)
    for _ in range(MAX_LAYERS + 1):
        kind = compression(stream.peek(_HEAD_BYTES)[:_HEAD_BYTES])
        if kind is None:
            return stream
        stream = buffered(Expanded(stream, kind, caps))
    raise BrokenStream("decompression bomb", f"compressed more than {MAX_LAYERS} times over")


def buffered(file: BinaryIO | Expanded) -> io.BufferedReader:
    return io.BufferedReader(cast(io.RawIOBase, file), BUFFER_BYTES)


def read_capped(stream: BinaryIO | io.BufferedReader, max_bytes: int) -> bytes:
    """All that is left of a stream.

    Raises:
        BrokenStream: it is more than `max_bytes`.
    """
    data = stream.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise BrokenStream("record too large", f"more than {max_bytes} bytes")
    return data


def without_compression(path: str) -> str:
    """The path without .gz and the like."""
    for suffix in SUFFIXES:
        path = path.removesuffix(suffix)
    return path
