"""A stage in steps, each part by part in a folder of its own: what is done stays done when the stage is killed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.artifacts import ArtifactRef, Draft
from tasks.text.parts import PARTS, Part, Progress, Receipt, Workers, build_parts


@dataclass
class Steps:
    """Runs the steps of one stage and counts them for its progress."""

    folder: Path
    identity: str
    """Of everything that the steps are made from: parts of an attempt at something else are made again."""
    workers: Workers
    progress: Progress
    total: int
    done: int = 0

    def run(
        self,
        name: str,
        items: Sequence[Any],
        make: Callable[[Any, Part], Receipt],
        writes: Sequence[str],
        *,
        folder: Path | None = None,
        keys: Sequence[str] | None = None,
        previous: ArtifactRef | None = None,
    ) -> list[Receipt]:
        """The receipts of the items' parts, which are made where they are not there yet.

        Args:
            folder: by default that of the step's name within the stage's.
            keys: by default what the stage is made from, and the item's number.
        """
        folder = folder or self.folder / name
        keys = keys if keys is not None else self.keys(name, len(items))
        self.done += 1
        if (receipts := _finished(folder / PARTS, keys)) is None:
            receipts = build_parts(
                items, keys, make, Draft(folder), self.workers, self.told, folders=writes, previous=previous
            )
        self.told(1, 1)
        return receipts

    def keys(self, name: str, count: int) -> list[str]:
        return [f"{self.identity} {name} {index} of {count}" for index in range(count)]

    def told(self, done: int, total: int) -> None:
        """Progress in hundredths of a step."""
        self.progress(100 * (self.done - 1) + 100 * done // max(total, 1), 100 * self.total)


def _finished(parts: Path, keys: Sequence[str]) -> list[Receipt] | None:
    """The receipts of a step that ended before the stage was killed."""
    if not parts.exists():
        return None
    entries = json.loads(parts.read_text("utf-8"))
    if [entry["key"] for entry in entries] != list(keys):
        return None
    return [Receipt(Counter(entry["rows"]), Counter(entry["dropped"]), entry["facts"]) for entry in entries]
