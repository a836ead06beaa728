"""CSV and TSV (RFC 4180): quotes may hold line breaks."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence

from tasks.labelled.formats.row import Row
from tasks.labelled.ledger import LabelledDataError

BROKEN = "broken row"
_Record = tuple[int, list[str]]
"""Line where it begins, and its fields."""


def separated_rows(name: str, text: str, delimiter: str, header: Sequence[str]) -> Iterator[Row]:
    """A row for each record; one with more or fewer fields than the header is told, blank lines are passed over.

    In many TSV files quotation marks are only that: so they are read where reading them as quotes fails, or swallows
    lines that are whole rows.

    Raises:
        LabelledDataError: no header, a name twice in it, or a quote that is never closed.
    """
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    plain = _plain(text) if delimiter == "\t" and '"' in text else None
    try:
        records = list(_quoted(name, text, delimiter))
    except LabelledDataError:
        if plain is None:
            raise
        records = plain
    if plain is not None and len(plain) > len(records) and len({len(fields) for _, fields in plain}) == 1:
        records = plain
    names = list(header) or (records.pop(0)[1] if records else [])
    _check(name, names)
    for number, fields in records:
        if len(fields) == len(names):
            yield Row(number, dict(zip(names, fields, strict=True)))
        else:
            detail = f"{len(fields)} fields, the header has {len(names)}"
            yield Row(number, dict(zip(names, fields, strict=False)), BROKEN, detail)


def _quoted(name: str, text: str, delimiter: str) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    start = 1
    try:
        for fields in reader:
            if fields:
                yield start, fields
            start = reader.line_num + 1
    except csv.Error as error:
        raise LabelledDataError(
            f"{name}: line {start}: not {'TSV' if delimiter == chr(9) else 'CSV'}: {error}. A quotation mark that "
            f"opens a field must be closed, and one inside of it doubled"
        ) from None


def _plain(text: str) -> list[_Record]:
    lines = enumerate(text.replace("\r\n", "\n").split("\n"), 1)
    return [(number, line.split("\t")) for number, line in lines if line]


def _check(name: str, header: Sequence[str]) -> None:
    if not any(header):
        raise LabelledDataError(f"{name}: empty; its first line must name the columns (or set `header`)")
    if twice := sorted({each for each in header if header.count(each) > 1}):
        raise LabelledDataError(
            f"{name}: columns {', '.join(map(repr, twice))} are there twice; give each its own name"
        )
