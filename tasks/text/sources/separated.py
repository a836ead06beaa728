"""CSV and TSV by the names in their first row (RFC 4180; quotes may hold newlines)."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator

from tasks.text.sources.lines import decoded, piece_lines
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unreadable
from tasks.text.sources.tables import check_columns

MAX_REPLAYS = 100


def csv_documents(piece: Piece, delimiter: str) -> Iterator[Record]:
    """One document a row, named by its first line; rows of another number of fields than the header's are told.

    Raises:
        CorpusError: the header lacks a column.
    """
    header: list[str] | None = None
    for number, row in _rows(piece, delimiter):
        if isinstance(row, Unreadable):
            yield row
        elif header is None:
            check_columns(piece.name, row, piece.columns)
            header = row
        elif not row:
            yield Unreadable(f"{piece.name}:{number}", "blank line")
        elif len(row) != len(header):
            detail = f"{len(row)} fields, the header has {len(header)}"
            yield Unreadable(f"{piece.name}:{number}", "broken CSV row", detail)
        else:
            yield piece.row(number, dict(zip(header, row, strict=True)))
    if header is None:
        yield Unreadable(piece.name, "empty file")


def csv_header(piece: Piece, delimiter: str) -> list[str]:
    """The names in the first row; [] if there is none."""
    return next((row for _, row in _rows(piece, delimiter) if isinstance(row, list)), [])


class _Lines(Iterator[str]):
    """Lines for csv.reader, which takes as many as the row has; those of a broken row can be read again."""

    def __init__(self, piece: Piece) -> None:
        self._lines = decoded(piece, piece_lines(piece))
        self._max = piece.limits.max_record_bytes
        self._again: deque[tuple[int, str]] = deque()
        self._held: list[tuple[int, str]] = []
        self._size = self._number = 0
        self.unreadable: list[Unreadable] = []

    @property
    def row(self) -> int:
        """The number of the current row's first line."""
        return self._held[0][0] if self._held else self._number

    def start_row(self) -> None:
        self._held, self._size = [], 0

    def replay(self) -> None:
        """Read all but the first line of the current row again."""
        self._again.extendleft(reversed(self._held[1:]))

    def __next__(self) -> str:
        number, text = self._again.popleft() if self._again else self._fresh()
        self._held.append((number, text))
        self._size += len(text)
        if self._size > self._max:
            raise csv.Error(f"a row of more than {self._max} characters: a quote is not closed")
        return text + "\n"

    def _fresh(self) -> tuple[int, str]:
        while True:
            _, text = next(self._lines)
            self._number += 1
            if isinstance(text, str):
                return self._number, text
            self.unreadable.append(text)


def _rows(piece: Piece, delimiter: str) -> Iterator[tuple[int, list[str] | Unreadable]]:
    """(first line, fields) of each row. After a row that is broken, reading goes on with its second line."""
    limit = piece.limits.max_record_bytes
    csv.field_size_limit(max(csv.field_size_limit(), limit))  # one for the process; by default 131,072 characters
    lines, replays = _Lines(piece), 0
    rows = csv.reader(lines, delimiter=delimiter, strict=True)  # not strict: an open quote at the end is no error
    while True:
        lines.start_row()
        try:
            row: list[str] | Unreadable | None = next(rows, None)
        except csv.Error as error:
            row = Unreadable(f"{piece.name}:{lines.row}", "broken CSV row", str(error))
            # Each open quote could cost a whole cap of rereading.
            replays += 1
            if replays <= MAX_REPLAYS:
                lines.replay()
            rows = csv.reader(lines, delimiter=delimiter, strict=True)
        yield from ((lines.row, each) for each in lines.unreadable)
        lines.unreadable.clear()
        if row is None:
            return
        yield lines.row, row
