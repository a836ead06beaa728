"""Which checkpoints stay. A function of what lies there, so the policy outlives the process that began it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Keep:
    """The newest `last`, the best, and for good the first after every so many positions."""

    last: int = 2
    best: bool = True
    """The one with the lowest held-out loss, of those that carry one; of equals the earliest."""
    every_positions: int | None = None


@dataclass(frozen=True)
class Entry:
    """What the policy looks at: fields of a checkpoint's index."""

    step: int
    positions: int
    loss: float | None


def surplus(entries: Iterable[Entry], keep: Keep, newest: int) -> list[int]:
    """Steps to remove after `newest` was published, ascending.

    A step beyond `newest` goes too: a run continues from the newest valid checkpoint, so one beyond it was damaged.
    The first of each stretch of `every_positions` stays, and as long as it stays it is the first of its stretch: no
    memory is needed.
    """
    steps = {entry.step: entry for entry in entries if entry.step <= newest}
    kept = set(sorted(steps, reverse=True)[: keep.last])
    measured = [entry for entry in steps.values() if entry.loss is not None]
    if keep.best and measured:
        kept.add(min(measured, key=lambda entry: (entry.loss, entry.step)).step)
    if keep.every_positions:
        first: dict[int, int] = {}
        for step in sorted(steps):
            stretch = steps[step].positions // keep.every_positions
            if stretch:
                kept.add(first.setdefault(stretch, step))
    return sorted({entry.step for entry in entries} - kept)
