"""Train, validation and test, by group and near-duplicate cluster; sources mixed by weight."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import SplitConfig
from tasks.stage import progress, stage
from tasks.text import split as text_split
from tasks.workers import workers


class SplitSpec(Config):
    split: SplitConfig
    labels: tuple[str, ...]
    weights: dict[str, float]


@stage("split", code="tasks.text.split", resume=True)
def split(config: SplitSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Assign sides so that no near twin is on two of them; a document keeps its side on later nights."""
    documents, clusters, previous = inputs
    text_split.split(
        config.split,
        documents,
        clusters,
        previous,
        config.labels,
        config.weights,
        out,
        workers(documents.manifest["rows"]["kept"]),
        progress("split documents"),
    )
