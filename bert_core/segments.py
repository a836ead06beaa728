"""Softmax and mean over groups of rows of different sizes, as packed rows have them."""

from __future__ import annotations

import torch
from torch import Tensor


def segment_log_softmax(scores: Tensor, segments: Tensor, count: int) -> Tensor:
    """Log-softmax of `scores` (Q,) among those of the same segment.

    Args:
        segments: (Q,) int64, each below `count`; every segment has a member.
    """
    highest = scores.new_full((count,), -torch.inf).scatter_reduce(0, segments, scores.detach(), "amax")
    shifted = scores - highest[segments]
    sums = scores.new_zeros(count).index_add(0, segments, shifted.exp())
    return shifted - sums.log()[segments]


def segment_mean(states: Tensor, spans: Tensor) -> Tensor:
    """The mean of each stretch of `states` (M, C): (N, C).

    Args:
        spans: (N, 2) int64: first row, and the one after the last; they do not overlap.
    """
    lengths = spans[:, 1] - spans[:, 0]
    owners = torch.repeat_interleave(torch.arange(len(spans), device=spans.device), lengths)
    before = torch.cumsum(lengths, 0) - lengths
    within = torch.arange(len(owners), device=spans.device) - before[owners]
    rows = states[spans[:, 0][owners] + within]
    return states.new_zeros(len(spans), states.shape[1]).index_add(0, owners, rows) / lengths.unsqueeze(1)
