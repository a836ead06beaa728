"""Evidence must not leak: what training shares with validation and test; repeats and contradictions within a side."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tasks.config.data import DataConfig
from tasks.labelled.similar import Key, Likeness

REPEAT, CONFLICT = "repeated example", "equal text with another label"
ORDER = ("test", "validation", "train")
"""A duplicate is dropped from the later one."""

Verdicts = list[tuple[str, str] | None]


@dataclass
class Found:
    """Of N examples of all sides: what should go, and why; and what was found, for the report."""

    verdicts: Verdicts
    """(N,): (reason, detail), or None."""
    counts: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))
    """By reason, pairs of rows: the one that was found, and what it is like."""

    def note(self, reason: str, row: int, like: int, detail: str, *, drop: bool) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if len(self.examples[reason]) < 5 and (like, row) not in self.examples[reason]:
            self.examples[reason].append((row, like))
        if drop and self.verdicts[row] is None:
            self.verdicts[row] = (reason, detail)


def find(
    config: DataConfig,
    sides: Sequence[str],
    ids: Sequence[str],
    targets: Sequence[str],
    likeness: Likeness,
    *,
    contradict: bool,
) -> Found:
    """
    Args:
        sides: (N,): of each example.
        targets: (N,): equal where what is to be predicted is equal.
        contradict: whether two different targets of one text cannot both be right.
    """
    found = Found([None] * len(sides))
    rows: dict[str, list[int]] = defaultdict(list)
    for row, side in enumerate(sides):
        rows[side].append(row)
    for side in ORDER:
        groups: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for row in rows[side]:
            groups[likeness.spellings[row]].append(row)  # to the letter: a name in capitals may have another label
        for group in groups.values():
            if len(group) > 1:
                _repeats(config, group, ids, targets, found)
                if contradict:
                    _conflicts(config, group, ids, targets, found)
    _across(config, rows, ids, likeness, found)
    return found


def _repeats(
    config: DataConfig, group: Sequence[int], ids: Sequence[str], targets: Sequence[str], found: Found
) -> None:
    first: dict[str, int] = {}
    for row in group:
        before = first.setdefault(targets[row], row)
        if before != row:
            found.note(REPEAT, row, before, f"of {ids[before]}", drop=config.repeats == "drop")


def _conflicts(
    config: DataConfig, group: Sequence[int], ids: Sequence[str], targets: Sequence[str], found: Found
) -> None:
    for row in group:
        if found.verdicts[row] is not None:
            continue
        like = next((other for other in group if targets[other] != targets[row]), None)
        if like is None:
            return
        detail = f"{targets[row]}; {ids[like]} has {targets[like]}"
        found.note(CONFLICT, row, like, detail, drop=config.conflicts == "drop")


def _across(
    config: DataConfig, rows: Mapping[str, Sequence[int]], ids: Sequence[str], likeness: Likeness, found: Found
) -> None:
    holders: dict[Key, tuple[int, str]] = {}
    for side in ORDER:
        for row in rows[side] if holders else ():
            mine = likeness.keys[row]
            near = [each for each in likeness.near(mine, config.near_threshold) if each[0] in holders]
            if near:
                key, similarity = max(near, key=lambda each: (each[0] == mine, each[1]))
                like, other = holders[key]
                reason = f"{'exact' if key == mine else 'near'} duplicate of {other}"
                detail = f"{similarity:.2f} like {ids[like]}"
                found.note(reason, row, like, detail, drop=config.duplicates == "drop")
        for row in rows[side]:
            holders.setdefault(likeness.keys[row], (row, side))
