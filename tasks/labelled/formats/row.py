"""One record of a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Row:
    """Named values; or, where the record cannot be read, the reason."""

    number: int
    """Line of a text file where the record begins; row of a table; both from 1."""
    values: dict[str, Any] = field(default_factory=dict)
    problem: str = ""
    detail: str = ""


@dataclass(frozen=True)
class NoClass:
    """A class's index that the file's own list of classes does not have."""

    index: int
    classes: int
