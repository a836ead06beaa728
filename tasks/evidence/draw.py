"""How the report's intervals are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bert_core.metrics import Resampled, Scores, resample
from tasks.evidence.schema import CANDIDATE, Lead

Runs = Mapping[str, Sequence[Scores]]
"""By model, the scores of each run."""


@dataclass(frozen=True)
class Draw:
    """Bootstrap samples, the share of them that an interval holds, and the seed."""

    samples: int = 2_000
    confidence: float = 0.95
    seed: int = 7

    def of(self, models: Runs, stream: int = 0) -> Resampled:
        return resample(models, samples=self.samples, confidence=self.confidence, seed=self.seed, stream=stream)


def lead(resampled: Resampled, other: str, metric: str) -> Lead:
    """The candidate's metric minus another model's."""
    found = resampled.difference(CANDIDATE, other, metric)
    return Lead(interval=found.interval, p=found.p)
