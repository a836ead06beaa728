"""Metrics of orders, each for S weighted samples at once: N examples, weights (S, N), equal values share their rank."""

from __future__ import annotations

import numpy as np

from bert_core.intervals import Floats
from bert_core.metrics.metric import Ints, ratio


def spearman(columns: Floats, weights: Floats) -> Floats:
    """Pearson's correlation of the mid-ranks of columns[:, 0] and columns[:, 1], (S,).

    0 where the first, what a model says, is the same for all; NaN where the second, what is so, is.
    """
    said, true = _mid_ranks(columns[:, 0], weights), _mid_ranks(columns[:, 1], weights)
    total = weights.sum(axis=1, keepdims=True)
    said -= (weights * said).sum(axis=1, keepdims=True) / total
    true -= (weights * true).sum(axis=1, keepdims=True) / total
    covariance = (weights * said * true).sum(axis=1)
    said_spread, true_spread = (weights * said**2).sum(axis=1), (weights * true**2).sum(axis=1)
    return np.where(true_spread > 0, ratio(covariance, np.sqrt(said_spread * true_spread)), np.nan)


def auroc(columns: Floats, weights: Floats) -> Floats:
    """The chance that a positive example scores higher than a negative one, ties counting half, (S,).

    columns[:, 0] are scores, columns[:, 1] is 1 for positives and 0 else. NaN in a sample that lacks either.
    """
    order, starts = _groups(columns[:, 0])
    is_positive = columns[order, 1]
    drawn = weights[:, order]
    positive = np.add.reduceat(drawn * is_positive, starts, axis=1)  # (S, G)
    negative = np.add.reduceat(drawn * (1 - is_positive), starts, axis=1)
    below = np.cumsum(negative, axis=1) - negative
    wins = (positive * (below + negative / 2)).sum(axis=1)
    return ratio(wins, positive.sum(axis=1) * negative.sum(axis=1), empty=np.nan)


def average_precision(columns: Floats, weights: Floats) -> Floats:
    """Sum over thresholds of (recall - recall before) * precision, (S,); columns as in `auroc`.

    NaN in a sample without positives.
    """
    order, starts = _groups(-columns[:, 0])
    ends = np.append(starts[1:], len(order)) - 1
    positive = np.flatnonzero(columns[order, 1] > 0)
    if not positive.size:
        return np.full(len(weights), np.nan)
    group = np.searchsorted(starts, positive, side="right") - 1  # thresholds without a positive add nothing
    held, first = np.unique(group, return_index=True)
    drawn = weights[:, order]
    hits = np.add.reduceat(drawn[:, positive], first, axis=1)  # (S, thresholds with a positive)
    found = np.cumsum(drawn, axis=1)[:, ends[held]]
    precision = ratio(np.cumsum(hits, axis=1), found)
    return ratio((hits * precision).sum(axis=1), hits.sum(axis=1), empty=np.nan)


def _mid_ranks(values: Floats, weights: Floats) -> Floats:
    """(S, N): the mean place of each example's value among a sample's, where it stands `weights` times."""
    order, starts = _groups(values)
    group = np.zeros(len(values), np.int64)
    group[starts[1:]] = 1
    group = np.cumsum(group)
    held = np.add.reduceat(weights[:, order], starts, axis=1)  # (S, G)
    middle = np.cumsum(held, axis=1) - held / 2
    back = np.empty_like(order)
    back[order] = group
    return middle[:, back]


def _groups(values: Floats) -> tuple[Ints, Ints]:
    """The order of the values, and where in it each distinct value begins."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    return order, np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
