"""Content encodings of HTTP, undone within limits (RFC 9110, section 8.4.1).

Scrapy's own middleware takes what it gets of a truncated stream for the whole, and passes bodies in an encoding that it
does not know as they are; here both have a reason.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator, Sequence
from typing import Any

import brotli

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ACCEPTED = "gzip, deflate, br, zstd"
MAX_LAYERS = 3
CHUNK_BYTES = 65_536
ZSTD_WINDOW_LOG = 23  # 8 MB, what RFC 9659 allows for HTTP; a frame may ask for 2 GB


class BodyError(ValueError):
    """The body cannot be decoded; `reason` is for the row, and `lasting` when another try will end the same."""

    def __init__(self, reason: str, *, lasting: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.lasting = lasting


def decode_body(body: bytes, encodings: Sequence[str], max_bytes: int, *, cut: bool = False) -> bytes:
    """`body` without its content encodings.

    Args:
        encodings: values of `Content-Encoding`, in the order in which they were applied.
        max_bytes: of the result, and of every layer on the way.
        cut: only the head of the body is there and wanted: what can be decoded, at most `max_bytes`.

    Raises:
        BodyError: a bomb, a truncated or damaged stream, an unknown encoding, too many of them.
    """
    layers = [layer.strip().lower() for value in encodings for layer in value.split(",")]
    layers = [layer for layer in layers if layer not in ("", "identity")]
    if len(layers) > MAX_LAYERS:
        raise BodyError(f"more than {MAX_LAYERS} content encodings", lasting=True)
    for layer in reversed(layers):
        body = _decoded(body, layer, max_bytes, cut)
    return body


def _decoded(body: bytes, encoding: str, max_bytes: int, cut: bool) -> bytes:
    if encoding not in DECODERS:
        raise BodyError("content encoding not known", lasting=True)
    if not body:  # some servers name the encoding of nothing
        return b""
    result = bytearray()
    try:
        for chunk in DECODERS[encoding](body):
            result += chunk
            if len(result) > max_bytes:
                if cut:
                    break
                raise BodyError(f"body over {max_bytes} bytes", lasting=True)
    except (zlib.error, brotli.error, zstd.ZstdError) as error:
        if not cut:
            raise BodyError(f"body damaged ({encoding})", lasting=False) from error
    except EOFError as error:
        if not cut:
            raise BodyError("body cut short", lasting=False) from error
    return bytes(result[:max_bytes])


def _gzip(body: bytes) -> Iterator[bytes]:
    """All members; what is no member after the first is ignored, as browsers do."""
    while body[:2] == b"\x1f\x8b":
        decoder = zlib.decompressobj(wbits=31)
        yield from _inflate(decoder, body)
        body = decoder.unused_data
        if body[:2] != b"\x1f\x8b":
            return
    raise zlib.error("no gzip member")


def _deflate(body: bytes) -> Iterator[bytes]:
    """zlib's format, or without its header, as some servers send it."""
    try:
        zlib.decompressobj().decompress(body, 1)
        yield from _inflate(zlib.decompressobj(), body)
    except zlib.error:
        yield from _inflate(zlib.decompressobj(wbits=-15), body)


def _inflate(decoder: Any, body: bytes) -> Iterator[bytes]:
    while not decoder.eof:
        chunk = decoder.decompress(body, CHUNK_BYTES)
        body = decoder.unconsumed_tail
        if not chunk and not body and not decoder.eof:
            raise EOFError
        yield chunk


def _brotli(body: bytes) -> Iterator[bytes]:
    decoder = brotli.Decompressor()
    chunk = decoder.process(body, output_buffer_limit=CHUNK_BYTES)
    yield chunk
    while not decoder.is_finished():
        chunk = decoder.process(b"", output_buffer_limit=CHUNK_BYTES)
        if not chunk and not decoder.is_finished():
            raise EOFError
        yield chunk


def _zstd(body: bytes) -> Iterator[bytes]:
    """All frames."""
    while body:
        decoder = zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: ZSTD_WINDOW_LOG})
        while not decoder.eof:
            chunk = decoder.decompress(body, CHUNK_BYTES)
            body = b""
            if not chunk and decoder.needs_input and not decoder.eof:
                raise EOFError
            yield chunk
        body = decoder.unused_data


DECODERS = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "br": _brotli, "zstd": _zstd}
