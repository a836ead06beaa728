"""The HTTP response in a WARC record: status, type, and the body without the encodings of its transfer."""

from __future__ import annotations

import io
import re
import zlib
from dataclasses import dataclass

import brotli

from tasks.text.sources.compressed import BrokenStream, Caps, compression, expanded, read_capped

MAX_ENCODINGS = 3
_STATUS = re.compile(rb"HTTP/\d(?:\.\d)? +(\d{3})")
_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


class NotHttp(ValueError):
    """The block is no HTTP response."""


@dataclass(frozen=True)
class Response:
    status: int
    content_type: str | None
    body: bytes


def parse_response(block: bytes, max_bytes: int) -> Response:
    """A response as it went over the wire, or as archives keep it: decoded, with the old headers left in place.

    Raises:
        NotHttp: no status line or no end of the headers.
        BrokenStream: the body cannot be expanded, or is larger than `max_bytes` then.
    """
    end = _END_OF_HEAD.search(block)
    status = _STATUS.match(block)
    if end is None or status is None:
        raise NotHttp(repr(block[:80]))
    headers = _headers(block[: end.start()])
    body = block[end.end() :]
    if "chunked" in headers.get("transfer-encoding", "").lower():
        body = _joined_chunks(body)
    encodings = [name.strip().lower() for name in headers.get("content-encoding", "").split(",") if name.strip()]
    if len(encodings) > MAX_ENCODINGS:
        raise BrokenStream("decompression bomb", f"{len(encodings)} content encodings")
    for encoding in reversed(encodings):
        body = _without(encoding, body, max_bytes)
    return Response(int(status[1]), headers.get("content-type"), body)


def _headers(head: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in head.split(b"\n")[1:]:
        name, colon, value = line.partition(b":")
        if colon:
            found[name.decode("latin-1").strip().lower()] = value.decode("latin-1").strip()
    return found


def _joined_chunks(body: bytes) -> bytes:
    """The body of a chunked transfer (RFC 9112, section 7.1); as it is, where it is not chunked after all."""
    parts: list[bytes] = []
    position = 0
    while True:
        end = body.find(b"\r\n", position, position + 40)
        try:
            size = int(body[position:end].split(b";")[0], 16)
        except ValueError:
            return body if not parts else b"".join(parts)
        if end < 0 or size < 0:
            return body if not parts else b"".join(parts)
        if size == 0:
            return b"".join(parts)
        parts.append(body[end + 2 : end + 2 + size])
        position = end + 2 + size + 2


def _without(encoding: str, body: bytes, max_bytes: int) -> bytes:
    """Expand a body, unless its archive has done so already: then it does not look like it."""
    if encoding in ("gzip", "x-gzip", "zstd"):
        if compression(body[:6]) is None:
            return body
        return read_capped(expanded(io.BytesIO(body), Caps(1 << 62, float("inf"))), max_bytes)
    if encoding == "deflate":
        return _inflated(body, max_bytes)
    if encoding == "br":
        return _unbrotlied(body, max_bytes)
    return body


def _inflated(body: bytes, max_bytes: int) -> bytes:
    """`deflate` is zlib's format, and to some servers raw deflate."""
    for wbits in (15, -15):
        try:
            found = zlib.decompressobj(wbits).decompress(body, max_bytes + 1)
        except zlib.error:
            continue
        if len(found) > max_bytes:
            raise BrokenStream("record too large", f"more than {max_bytes} bytes when expanded")
        return found
    return body


def _unbrotlied(body: bytes, max_bytes: int) -> bytes:
    decompressor = brotli.Decompressor()
    try:
        found: bytes = decompressor.process(body, output_buffer_limit=max_bytes + 1)
    except brotli.error:  # no magic number tells whether it was expanded already
        return body
    if len(found) > max_bytes:
        raise BrokenStream("record too large", f"more than {max_bytes} bytes when expanded")
    return found
