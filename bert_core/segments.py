"""Softmax, mean and identity of groups of rows of different sizes, as packed rows have them."""

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
    owners, _, at = _members(spans)
    lengths = (spans[:, 1] - spans[:, 0]).unsqueeze(1)
    return states.new_zeros(len(spans), states.shape[1]).index_add(0, owners, states[at]) / lengths


def segment_fingerprints(ids: Tensor, spans: Tensor) -> Tensor:
    """(N,) int64, equal for stretches of `ids` (M,) that are equal; of others, hardly a pair ever is."""
    owners, within, at = _members(spans)
    placed = _mixed(_mixed(within + 1) + ids[at])
    return torch.zeros(len(spans), dtype=torch.int64, device=ids.device).index_add(0, owners, placed)


def _mixed(x: Tensor) -> Tensor:
    """The finaliser of SplitMix64 (Steele et al., 2014), its shifts arithmetic: products wrap around."""
    x = x * -7046029254386353131
    x = (x ^ (x >> 30)) * -4658895280553007687
    return x ^ (x >> 27)


def _members(spans: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Of each row in a stretch: the number of the stretch, the row's place in it, and its index."""
    lengths = spans[:, 1] - spans[:, 0]
    owners = torch.repeat_interleave(torch.arange(len(spans), device=spans.device), lengths)
    before = torch.cumsum(lengths, 0) - lengths
    within = torch.arange(len(owners), device=spans.device) - before[owners]
    return owners, within, spans[:, 0][owners] + within
