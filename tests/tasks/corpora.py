"""Small corpora for the tests of the text stages: real artifacts in a temporary store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tasks.artifacts import ArtifactRef, Draft, build, find
from tasks.text.documents import DOCUMENT_SCHEMA, DOCUMENTS, document_id, read_table, rows_table, write_table


def ignore(done: int, total: int) -> None:
    """A progress callback for tests that do not look at it."""


def publish(stage: str, night: str, fill: Callable[[Draft], None]) -> ArtifactRef:
    key = f"{night:0<64}"
    with build(stage, "test", key, config=None) as out:
        fill(out)
    ref = find(stage, "test", key)
    assert ref is not None
    return ref


def documents(night: str, texts: Sequence[tuple[str, str, str | None]]) -> ArtifactRef:
    """A clean artifact of (group, text, label)."""
    rows = [
        (document_id("review", group, text), group, "site", "", "en", "", text, "review", label, group, [0], "{}")
        for group, text, label in texts
    ]
    return publish("clean", night, lambda out: write_table(out.path / DOCUMENTS, rows_table(rows, DOCUMENT_SCHEMA)))


def rows(ref: ArtifactRef, file: str = DOCUMENTS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = read_table(ref / file).to_pylist()
    return found


def reasons(ref: ArtifactRef) -> list[tuple[str, str]]:
    """(text, reason) of every reject."""
    return [(row["text"], row["reason"]) for row in rows(ref, "rejects.parquet")]
