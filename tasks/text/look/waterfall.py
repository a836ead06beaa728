"""The way from what was read to what is in the corpus: a step for each reason to drop and for each stage's result."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from tasks.text.look.model import CorpusLook, StageLook

REASONS_SHOWN = 6
"""Of a stage; the others are one step together."""


@dataclass(frozen=True)
class Step:
    kind: Literal["total", "drop", "edit", "repeat"]
    title: str
    stage: str
    documents: int
    """A total: that are left. A drop: that go. A repeat: copies that come."""
    left: int
    """Documents after this step."""
    characters: int | None
    characters_left: int | None


def steps(look: CorpusLook) -> tuple[Step, ...]:
    """From the first stage that sees documents to the last one that drops any; sources count other things."""
    stages = [stage for stage in look.stages if stage.stage not in ("scrape", "collect") and stage.kept is not None]
    if not stages:
        return ()
    first = stages[0]
    left = first.seen or 0
    found = [Step("total", "records read", first.title, left, left, None, None)]
    characters: int | None = None
    for stage in stages:
        found += _drops(stage, left, characters)
        if stage.repeated:
            found.append(
                Step("repeat", "repeated by weight", stage.title, stage.repeated, stage.written or 0, None, None)
            )
        left, characters = stage.written or 0, stage.characters
        found.append(Step("total", f"after {stage.title}", stage.title, left, left, characters, characters))
    return tuple(found)


def _drops(stage: StageLook, left: int, characters: int | None) -> list[Step]:
    found = []
    shown, rest = stage.reasons[:REASONS_SHOWN], stage.reasons[REASONS_SHOWN:]
    counted = [(reason.reason, reason.documents, reason.characters) for reason in shown]
    if rest:
        sizes = [reason.characters for reason in rest if reason.characters is not None]
        size = sum(sizes) if len(sizes) == len(rest) else None
        counted.append((f"{len(rest)} other reasons", sum(reason.documents for reason in rest), size))
    for title, documents, size in counted:
        left -= documents
        characters = characters - size if characters is not None and size is not None else None
        found.append(Step("drop", title, stage.title, documents, left, size, characters))
    edited = characters - stage.characters if characters is not None and stage.characters is not None else 0
    if edited > 0 and not stage.repeated:
        title = "taken out of documents that stay"
        found.append(Step("edit", title, stage.title, 0, left, edited, stage.characters))
    return found
