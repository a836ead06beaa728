"""Sections and tables of the reports, as HTML whose texts are escaped and as markdown."""

from __future__ import annotations

from collections.abc import Sequence

from bert_core.intervals import Interval
from tasks.text.look.render import tables
from tasks.text.look.render.markup import Markup, element, foreign

_SPECIAL = "\\`*_[]<>#|~"


def section(title: str, *parts: Markup, level: int = 3) -> Markup:
    return element("section", element(f"h{level}", title), *parts)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], numbers: int = 0) -> Markup:
    """Cells are escaped, and their direction does not change that of what is around them."""
    return tables.table(heads, [[foreign(cell) for cell in row] for row in rows], numbers)


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a table, in whose cells markdown and HTML mean nothing."""
    cells = [list(heads), ["---"] * len(heads), *([plain(cell) for cell in row] for row in rows)]
    return ["| " + " | ".join(row) + " |" for row in cells]


def bullet(text: str, remark: str) -> str:
    return f"- {plain(text)}: {plain(remark)}"


def plain(text: str) -> str:
    """On one line, with a backslash before what means something in markdown or HTML."""
    return "".join("\\" + character if character in _SPECIAL else character for character in " ".join(text.split()))


def figure(interval: Interval | None, sign: bool = False) -> str:
    """Three digits with the interval; a dash where there is no figure."""
    if interval is None:
        return "–"
    shape = "+.3f" if sign else ".3f"
    return f"{interval.estimate:{shape}} [{interval.low:{shape}}, {interval.high:{shape}}]"
