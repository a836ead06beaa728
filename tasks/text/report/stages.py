"""What a report is made of: stages that ran, the version they registered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class StageRun:
    """One stage of this run: what its artifact's manifest says, and whether it was built now or before."""

    manifest: Mapping[str, Any]
    """`stage` and, where there are any, `seconds`, `rows`, `dropped`, `facts`, `config`."""
    cached: bool = False
    title: str = ""
    """Where the stage's name is not enough, as when an ablation fine-tunes three times."""
    peak_memory_bytes: int | None = None
    """None: as the manifest's facts say."""

    @property
    def stage(self) -> str:
        return str(self.manifest["stage"])

    @property
    def name(self) -> str:
        return self.title or self.stage

    @property
    def seconds(self) -> float:
        return float(self.manifest.get("seconds", 0.0))

    @property
    def memory(self) -> int | None:
        return self.peak_memory_bytes or self.facts.get("peak_memory_bytes")

    @property
    def rows(self) -> Mapping[str, int]:
        return self.manifest.get("rows") or {}

    @property
    def dropped(self) -> Mapping[str, int]:
        return self.manifest.get("dropped") or {}

    @property
    def facts(self) -> Mapping[str, Any]:
        return self.manifest.get("facts") or {}


@dataclass(frozen=True)
class ModelVersion:
    """What the registry holds after this run."""

    name: str
    version: str
    aliases: tuple[str, ...] = ()
    note: str = ""
    """For example what a promotion replaced."""


def unaccounted(stages: Sequence[StageRun]) -> list[str]:
    """Stages of which kept + dropped is not what was seen: documents that disappeared, or came from nowhere."""
    return [
        f"{stage.name}: {stage.rows['seen']:,} seen, but {stage.rows['kept']:,} kept + "
        f"{sum(stage.dropped.values()):,} dropped"
        for stage in stages
        if {"seen", "kept"} <= stage.rows.keys()
        and stage.rows["seen"] != stage.rows["kept"] + sum(stage.dropped.values())
    ]


def find(stages: Sequence[StageRun], name: str) -> StageRun | None:
    return next((stage for stage in stages if stage.stage == name), None)
