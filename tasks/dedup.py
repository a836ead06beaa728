"""Exact, same-address and near duplicates, across sources, nights and other corpora."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks import takedown
from tasks.artifacts import Draft
from tasks.config.dedup import DedupConfig
from tasks.stage import progress, stage
from tasks.text import dedup as text_dedup
from tasks.workers import workers


class DedupSpec(Config):
    dedup: DedupConfig
    takedown: str
    """sha256 of the takedown list; "" without one."""


@stage("dedup", code="tasks.text.dedup", resume=True)
def dedup(config: DedupSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Drop exact and near duplicates (MinHash-LSH); what another corpus has, or was kept the night before, wins."""
    documents, previous, *against = inputs
    unwanted = takedown.current().path if config.takedown else None
    text_dedup.dedup(
        config.dedup,
        documents,
        previous,
        against,
        out,
        workers(documents.manifest["rows"]["kept"]),
        progress("dedup documents"),
        unwanted,
    )
