"""Which texts of an example make it what it is, and which of them may be changed while its label stays true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Task

_FIELDS: dict[str, tuple[str, ...]] = {
    "sequence": ("text",),
    "pair": ("text", "text_b"),
    "token": ("tokens",),
    "span": ("question", "context"),
    "choice": ("text", "choices"),
    "embedding": ("text", "text_b"),
    "seq2seq": ("text",),
    "causal": ("text",),
}
_CHANGEABLE: dict[str, tuple[str, ...]] = {
    "sequence": ("text",),
    "pair": ("text", "text_b"),
    "token": ("tokens",),
    "span": ("question",),  # offsets of the answers count characters of the context
    "choice": ("text",),  # noise in some of the choices would give away which one is right
    "embedding": ("text", "text_b"),
    "seq2seq": ("text",),
    "causal": ("text",),
}

Row = dict[str, Any]


def changeable(task: Task, row: Row) -> tuple[str, ...]:
    """The columns of which one at a time may be changed; those that are empty in `row` are not among them."""
    return tuple(column for column in _CHANGEABLE[task.type] if row[column])


def fields_of(task: Task, row: Row) -> list[str]:
    """The texts of an example, in which a leak would show."""
    return [_text(row[column]) for column in _FIELDS[task.type]]


def required(task: Task) -> tuple[str, ...]:
    """Columns without which nothing can be augmented."""
    return ("id", *_FIELDS[task.type], *(("tags",) if task.type == "token" else ()))


def _text(value: str | Sequence[str] | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else " ".join(value)
