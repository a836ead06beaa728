"""From raw pages or lines to documents."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.artifacts import Draft
from tasks.config import CleanConfig
from tasks.stage import progress, stage
from tasks.text import clean as text_clean


@stage("clean", code="tasks.text.clean")
def clean(config: CleanConfig, inputs: Sequence[Any], out: Draft) -> None:
    """Extract main text and labelled records, normalise, find sentences, identify the language, filter with reasons."""
    (pages,) = inputs
    text_clean.clean(config, pages, out, progress("clean pages"))
