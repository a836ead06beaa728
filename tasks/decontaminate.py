"""What an evaluation set has, training must not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.config.dedup import DecontaminateConfig
from tasks.stage import progress, stage
from tasks.text import decontaminate as text_decontaminate
from tasks.workers import workers


class DecontaminateSpec(Config):
    decontaminate: DecontaminateConfig
    contents: tuple[str, ...]
    """sha256 of each evaluation set's file."""


@stage("decontaminate", code="tasks.text.decontaminate", resume=True)
def decontaminate(config: DecontaminateSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Drop near-duplicates of evaluation texts and what shares runs of words with them; report every leak."""
    (documents,) = inputs
    text_decontaminate.decontaminate(
        config.decontaminate,
        artifacts.home(),
        documents,
        out,
        workers(documents.manifest["rows"]["kept"]),
        progress("decontaminate documents"),
    )
