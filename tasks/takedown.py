"""The list of what must not be in a corpus: where it lies, and what it says at the moment."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bert_core.files import file_sha256
from tasks import artifacts

FILE = "takedown.jsonl"


@dataclass(frozen=True)
class Current:
    path: Path
    content: str
    """sha256 of the list, "" without one: part of stages' identities, so that an entry rebuilds what it may touch."""


def current() -> Current:
    """The home folder's list."""
    path = artifacts.home() / FILE
    return Current(path, file_sha256(path) if path.exists() else "")
