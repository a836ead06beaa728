"""Sections of tables and lines, laid out for a terminal of 100 columns or as GitHub-flavoured markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rich.cells import cell_len  # columns that a text takes: Chinese characters take two

WIDTH = 100
GAP = "  "
UNBREAKABLE = "\xa0"


@dataclass(frozen=True)
class Column:
    title: str
    align: Literal["left", "right"] = "left"
    terminal_only: bool = False
    """A picture made of characters, which markdown would not keep aligned."""


@dataclass(frozen=True)
class Table:
    """Rows of cells, one for each column. In a terminal the last column wraps."""

    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Lines:
    texts: tuple[str, ...]


Block: TypeAlias = Table | Lines


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]
    note: str = ""
    """A few words beside the title."""


def numbers(*titles: str) -> tuple[Column, ...]:
    """Right-aligned columns."""
    return tuple(Column(title, "right") for title in titles)


def section_text(section: Section) -> str:
    """No line is longer than `WIDTH`, but for a word that is."""
    title = f"── {section.title.upper()} " + (f"· {section.note} " if section.note else "")
    blocks = [_block_text(block) for block in section.blocks]
    text = "\n".join([title + "─" * max(0, WIDTH - cell_len(title)), "\n\n".join(blocks)])
    return text.replace(UNBREAKABLE, " ")


def section_markdown(section: Section) -> str:
    blocks = [_block_markdown(block) for block in section.blocks]
    note = [f"*{section.note}*"] if section.note else []
    return "\n\n".join([f"## {section.title}", *note, *blocks]).replace(UNBREAKABLE, " ")


def unbroken(text: str) -> str:
    """`text` in such a form that its words stay on one line; the layout shows plain spaces."""
    return text.replace(" ", UNBREAKABLE)


def wrapped(text: str, indent: str = "   ") -> str:
    return "\n".join(
        textwrap.wrap(
            text,
            WIDTH,
            initial_indent=indent,
            subsequent_indent=indent + "  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    )


def _block_text(block: Block) -> str:
    if isinstance(block, Lines):
        return "\n".join(wrapped(text) for text in block.texts)
    widths = [
        max(cell_len(cell) for cell in cells)
        for cells in zip([column.title for column in block.columns], *block.rows, strict=True)
    ]
    taken = sum(widths[:-1]) + len(GAP) * (len(widths) - 1) + 3
    widths[-1] = min(widths[-1], max(20, WIDTH - taken))
    lines = _row_lines([column.title for column in block.columns], block.columns, widths)
    for row in block.rows:
        lines += _row_lines(row, block.columns, widths)
    return "\n".join(lines)


def _row_lines(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> list[str]:
    last = textwrap.wrap(cells[-1], max(1, widths[-1]), break_on_hyphens=False) or [""]
    lines = [[*cells[:-1], last[0]], *([""] * (len(cells) - 1) + [rest] for rest in last[1:])]
    return [
        "   "
        + GAP.join(
            _padded(cell, column.align, width) for cell, column, width in zip(line, columns, widths, strict=True)
        ).rstrip()
        for line in lines
    ]


def _padded(cell: str, align: str, width: int) -> str:
    space = " " * max(0, width - cell_len(cell))
    return space + cell if align == "right" else cell + space


def _block_markdown(block: Block) -> str:
    if isinstance(block, Lines):
        return "\n".join(f"- {text}" for text in block.texts)
    shown = [i for i, column in enumerate(block.columns) if not column.terminal_only]
    rules = ["---:" if block.columns[i].align == "right" else "---" for i in shown]
    titles = [block.columns[i].title or " " for i in shown]
    rows = [[row[i].strip().replace("|", "\\|") for i in shown] for row in block.rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, rules, *rows))
