"""Duplicates, and what an evaluation must not share with training."""

from __future__ import annotations

from pydantic import Field

from bert_core.config import Config


class DedupConfig(Config):
    """Exact and near duplicates by MinHash-LSH over character shingles."""

    threshold: float = Field(0.8, gt=0, le=1, description="estimated Jaccard similarity that makes a near duplicate")
    cluster_threshold: float = Field(0.5, gt=0, le=1, description="similarity that keeps two on one side of the split")
    shingle: int = Field(5, ge=1, le=20, description="characters")
    permutations: int = Field(128, ge=16, le=1024)
    seed: int = 42
