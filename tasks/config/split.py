"""Sides of the split."""

from __future__ import annotations

from pydantic import Field

from bert_core.config import Config


class SplitConfig(Config):
    """Train, validation and test by group and by near-duplicate cluster."""

    validation_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.1, gt=0, lt=0.5)
    group: bool = Field(True, description="documents of one group (page) stay together; False: only clusters do")
    seed: int = 13
