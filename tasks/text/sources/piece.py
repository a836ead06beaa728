"""An opened unit, and how the records in it become documents: names, groups, labels."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from tasks.config.source import SourceConfig
from tasks.config.sources import Columns, ReadLimits
from tasks.text.documents import content_id
from tasks.text.sources.compressed import Caps, expanded
from tasks.text.sources.raw import RawDocument, Unit, Unreadable

Record = RawDocument | Unreadable


@dataclass
class Piece:
    """A unit that is being read, and what the source says of its records."""

    name: str
    """What records are named after."""
    file: BinaryIO
    """Of the whole file, as it is stored."""
    unit: Unit
    source: SourceConfig
    kind: str
    label: str | None = None
    columns: Columns = field(default_factory=Columns)
    limits: ReadLimits = field(default_factory=ReadLimits)
    encoding: str | None = None
    _before: Counter[str] = field(default_factory=Counter)

    def expanded(self) -> io.BufferedReader:
        return expanded(self.file, Caps.of(self.limits))

    def whole(self, **content: Any) -> RawDocument:
        """The file as one document; `content` are fields of RawDocument."""
        return RawDocument(url=self.name, kind=self.kind, label=self.label, language=self.source.language, **content)

    def unnamed(self, where: object, text: str, label: str | None = None, **content: Any) -> RawDocument:
        """A record without a name of its own: a line, or a row without url and id.

        Its group is its content and how often that came before in the unit, not its number: a record that is inserted
        above changes no identity.
        """
        label = self.label if label is None else label
        same = content_id(self.kind, label or "", text)
        group = content_id(same, str(self._before[same]))
        self._before[same] += 1
        language = content.pop("language", "") or self.source.language
        return RawDocument(
            url=f"{self.name}:{where}",
            text=text,
            kind=self.kind,
            label=label,
            group=group,
            context=self.name,
            language=language,
            **content,
        )

    def row(self, where: object, row: Mapping[str, Any]) -> Record:
        """The record of a table's row (or a JSON object) by the names of its columns."""
        columns, url = self.columns, f"{self.name}:{where}"
        wanted = (columns.title, columns.date, columns.language, columns.label, columns.url, columns.id)
        missing = [name for name in (columns.text, *wanted, *columns.meta) if name is not None and name not in row]
        if missing:
            detail = f"no {', '.join(missing)}; there are {', '.join(map(str, row))}"
            return Unreadable(url, "missing column", detail[:500])
        text = row[columns.text]
        if text is None:
            return Unreadable(url, "no text", f"{columns.text} is null")
        if not isinstance(text, str):
            return Unreadable(url, "text is not a string", f"{columns.text} is {type(text).__name__}: {text!r}"[:500])
        if len(text) > self.limits.max_record_bytes:
            return Unreadable(url, "record too large", f"{len(text)} characters")
        if not text.strip():
            return Unreadable(url, "blank line")
        title, date, language, label, address, identity = (_plain(row, name) for name in wanted)
        meta = {name: _plain(row, name) for name in columns.meta if row[name] is not None}
        if not address and not identity:
            return self.unnamed(where, text, label or None, title=title, date=date, language=language, meta=meta)
        return RawDocument(
            url=address or f"{self.name}!{identity}",
            text=text,
            title=title,
            date=date,
            language=language or self.source.language,
            kind=self.kind,
            label=label or self.label,
            meta=meta,
        )


def _plain(row: Mapping[str, Any], column: str | None) -> str:
    """A cell as text: times in ISO 8601, lists and objects as JSON, "" for nothing."""
    value = None if column is None else row[column]
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
