"""What every source yields, and how a source is cut into units of work."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class RawDocument:
    """A record of a source as it was found: bytes that still have to be decoded and extracted, or text."""

    url: str
    """Address, or what names the record in its source: `path:line`, `package!path`, `dump#title`."""
    body: bytes | None = None
    """HTML or plain text in an encoding still to be found. Exactly one of `body` and `text` is not None."""
    text: str | None = None
    content_type: str | None = None
    """Of `body`, as it came with it; None: HTML."""
    fetched_at: str = ""
    """ISO 8601, or ""."""
    title: str = ""
    date: str = ""
    """When it was published, ISO 8601; "" = unknown."""
    language: str = ""
    """ISO 639 code that the source states; "" = unknown."""
    kind: str = "page"
    label: str | None = None
    group: str = ""
    """What stays on one side of the split; "" = the url."""
    context: str = ""
    """What is in one language with it (its page or file); "" = the url."""
    levels: Sequence[int] = ()
    """One for each line of `text`: 1 to 6 = heading of that level, 0 = other; () = no headings known."""
    meta: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that was seen and cannot become a document: it is counted under `reason`, and kept among the rejects."""

    url: str
    reason: str
    """A few words, without figures of the record, since drops are counted by it."""
    detail: str = ""
    """What was found, for the person who reads the rejects."""


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of a source that one worker reads in one go; JSON. Units partition a source, in a fixed order."""

    path: str
    """A local path, or an fsspec URI."""
    content: str
    """What the bytes are: sha256 of the file, or the store's checksum and size. Equal content, equal records."""
    start: int = 0
    """Byte offset, row or page, as the reader understands it."""
    stop: int | None = None
    """None: to the end."""

    @property
    def identity(self) -> str:
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


class Reader(Protocol):
    """A source that can be read in pieces, by any worker, again and again with the same result. Pickles."""

    def units(self) -> list[Unit]:
        """All pieces, in the source's order: the same for every call over the same bytes.

        Raises:
            CorpusError: there is nothing to read; names the path and what is legal.
        """
        ...

    def read(self, unit: Unit) -> Iterator[RawDocument | Unreadable]:
        """The unit's records in order; memory holds one record (or one batch). Never raises for what a record holds.

        Raises:
            CorpusError: the file itself is gone or is not what its type says from its first byte.
        """
        ...
