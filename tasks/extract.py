"""From what the sources hold to raw documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import ExtractConfig, Source
from tasks.stage import progress, stage
from tasks.text import reading
from tasks.workers import workers


class ExtractSpec(Config):
    sources: tuple[Source, ...]
    extract: ExtractConfig


@stage("extract", code="tasks.text.reading", resume=True)
def extract(config: ExtractSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Read every unit of every source: main text, headings, title, date, labelled records; count lines by host."""
    *sources, previous = inputs
    reading.extract(config.sources, sources, config.extract, previous, out, workers(), progress("extract units"))
