"""Train, validation and test, by group and near-duplicate cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import SplitConfig
from tasks.stage import stage
from tasks.text import split as text_split


class SplitSpec(Config):
    split: SplitConfig
    labels: tuple[str, ...]


@stage("split", code="tasks.text.split")
def split(config: SplitSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Assign sides so that no near twin is on two of them; a document keeps its side on later nights."""
    documents, previous = inputs
    text_split.split(config.split, documents, previous, config.labels, out)
