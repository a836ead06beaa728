"""Exact and near duplicates, across nights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tasks.artifacts import Draft
from tasks.config import DedupConfig
from tasks.stage import progress, stage
from tasks.text import dedup as text_dedup


@stage("dedup", code="tasks.text.dedup")
def dedup(config: DedupConfig, inputs: Sequence[Any], out: Draft) -> None:
    """Drop exact and near duplicates (MinHash-LSH); what was kept the night before wins."""
    documents, previous = inputs
    text_dedup.dedup(config, documents, previous, out, progress("dedup documents"))
