"""From raw documents to documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks import takedown
from tasks.artifacts import Draft
from tasks.config import CleanConfig
from tasks.stage import progress, stage
from tasks.text import clean as text_clean
from tasks.workers import workers


class CleanSpec(Config):
    clean: CleanConfig
    takedown: str
    """sha256 of the takedown list; "" without one."""
    word_lists: tuple[str, ...] = ()
    """sha256 of each list of bad words: the recipe has only their names."""


@stage("clean", code="tasks.text.clean", resume=True)
def clean(config: CleanSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Normalise, take boilerplate and personal data out, identify the language, filter with reasons, find sentences."""
    (raw,) = inputs
    unwanted = takedown.current().path if config.takedown else None
    text_clean.clean(
        config.clean, raw, unwanted, out, workers(raw.manifest["rows"]["kept"]), progress("clean documents")
    )
