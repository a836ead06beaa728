"""Reading of text files that are already on disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import FilesSource
from tasks.stage import progress, stage
from tasks.text import collect as text_collect


class CollectSpec(Config):
    source: FilesSource
    files_content: tuple[str, ...]
    """sha256 of each file: the recipe has only their names."""


@stage("collect", code="tasks.text.collect")
def collect(config: CollectSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Read text files of one document a line."""
    text_collect.collect(config.source, out, progress("collect lines"))
