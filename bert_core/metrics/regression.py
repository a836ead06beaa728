"""Metrics of a number for each example."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bert_core.intervals import Floats
from bert_core.metrics.aligned import numbers
from bert_core.metrics.metric import Metric, RankMetric, Scores, mean_of, ratio, scores
from bert_core.metrics.ranks import spearman

_SAID, _TRUE, _SAID_2, _TRUE_2, _BOTH, _ABSOLUTE, _SQUARE, _ONE = range(8)


def regression_scores(gold: pa.Table, answers: pa.Table) -> Scores:
    """Pearson, Spearman, MAE, RMSE and R2. `answers` are in the order of `gold`.

    A constant answer correlates with nothing: 0. Where all examples have the same value nothing can be said: NaN.
    """
    true, said = numbers(gold, "label", "gold table"), numbers(answers, "value", "answers")
    error = said - true
    middle = true.mean()  # sums of squares lose digits far from 0, and no metric here depends on the origin
    x, y = said - middle, true - middle
    sums = np.stack([x, y, x * x, y * y, x * y, np.abs(error), error**2, np.ones_like(x)], axis=1)
    pairs = np.stack([said, true], axis=1)
    return scores(
        [
            Metric("pearson", sums, _pearson, unit=""),
            RankMetric("spearman", pairs, spearman, unit=""),
            Metric("mae", sums, mean_of(_ABSOLUTE, _ONE), higher_is_better=False, unit=""),
            Metric("rmse", sums, lambda s: np.sqrt(mean_of(_SQUARE, _ONE)(s)), higher_is_better=False, unit=""),
            Metric("r2", sums, _r2, unit=""),
        ]
    )


def _pearson(sums: Floats) -> Floats:
    total = sums[..., _ONE]
    covariance = sums[..., _BOTH] * total - sums[..., _SAID] * sums[..., _TRUE]
    spread = _spread(sums, _SAID, _SAID_2) * _spread(sums, _TRUE, _TRUE_2)
    found = np.clip(ratio(covariance, np.sqrt(spread)), -1.0, 1.0)
    return np.where(_spread(sums, _TRUE, _TRUE_2) > 0, found, np.nan)


def _r2(sums: Floats) -> Floats:
    around = _spread(sums, _TRUE, _TRUE_2)
    return 1 - ratio(sums[..., _SQUARE] * sums[..., _ONE], around, empty=np.nan)


def _spread(sums: Floats, first: int, second: int) -> Floats:
    """n * sum of squares - square of the sum; rounding alone makes it differ from 0 for a constant."""
    squares = sums[..., second] * sums[..., _ONE]
    found = squares - sums[..., first] ** 2
    return np.where(found > 1e-12 * np.abs(squares), found, 0.0)
