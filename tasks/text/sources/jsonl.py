"""JSON Lines: one object a line (jsonlines.org)."""

from __future__ import annotations

from collections.abc import Iterator

import orjson

from tasks.text.sources.lines import piece_lines
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unreadable


def jsonl_documents(piece: Piece) -> Iterator[Record]:
    """One document an object; a line that is none is told, and the rest is read."""
    for line in piece_lines(piece):
        url = f"{piece.name}:{line.where}"
        if line.data is None:
            yield Unreadable(url, "record too large", f"more than {piece.limits.max_record_bytes} bytes")
        elif not line.data.strip():
            yield Unreadable(url, "blank line")
        else:
            yield _document(piece, line.where, url, line.data)


def _document(piece: Piece, where: str, url: str, data: bytes) -> Record:
    try:
        if piece.encoding is not None:
            data = data.decode(piece.encoding).encode()
        else:
            data.decode()  # JSON is UTF-8 (RFC 8259, section 8.1); orjson says no more than that it is not JSON
        value = orjson.loads(data)
    except UnicodeDecodeError as error:
        return Unreadable(url, f"invalid {piece.encoding or 'UTF-8'}", str(error))
    except orjson.JSONDecodeError as error:
        return Unreadable(url, "not JSON", f"{error}: {data[:80]!r}")
    if not isinstance(value, dict):
        return Unreadable(url, "not a JSON object", repr(data[:80]))
    return piece.row(where, value)
