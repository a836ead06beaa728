"""Attention on a CPU without `bert_core.kernels`, or with dropout in long documents: equally long ones together.

Little is computed that a mask would throw away.

A row of 128 tokens holds five film reviews of 27 on average: 5 x 27 x 27 scores instead of 128 x 128, a fifth, or
three tenths when they are padded to 32.

Shapes: B rows, T tokens in a row, H heads, D channels of a head, C = H * D, n documents of a group, L its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from bert_core.dropout import keep_mask, keep_scale

MOST_GROUPS = 4
GROUP_COST = 20_000
"""Scores that cost as much as what a group costs by being there, its 40 calls of torch: an estimate."""
LENGTH_STEP, COUNT_STEP = 32, 4
"""Lengths and numbers of documents are rounded up: bf16 kernels are built and kept for every shape met."""
HIDDEN = -1e9
"""Added to scores of what is not seen. Finite: the documents that fill a group up see nothing at all."""


@dataclass(frozen=True)
class Group:
    """Documents of at most L tokens, padded to L."""

    index: Tensor
    """(n * L,) int64: which of the B * T tokens; 0 for padding."""
    real: Tensor | None
    """(n * L, 1) bool: False for padding. None: there is none."""
    bias: Tensor | None
    """(n, 1, 1 or L, L) float32 to add to scores, 0 or `HIDDEN`. None: all see all."""
    length: int
    slots: slice
    """Where the n * L tokens lie when one group follows the other."""


@dataclass(frozen=True)
class Groups:
    groups: list[Group]
    num_slots: int
    slot: Tensor
    """(B * T,) int64: the slot that each token has."""

    @classmethod
    def of(cls, cu_seqlens: Tensor, *, causal: bool, half_window: int | None) -> Groups:
        starts = cu_seqlens.numpy().astype(np.int64)
        lengths = np.diff(starts)
        # Steps of 32, and from 128 on of a quarter of the power of two below: four lengths in each octave.
        steps = np.maximum(LENGTH_STEP, 2 ** np.maximum(np.log2(np.maximum(lengths, 1)).astype(np.int64) - 2, 0))
        rounded = -(-lengths // steps) * steps
        groups, slot, offset, shorter = [], np.empty(starts[-1], np.int64), 0, 0
        for longest in group_lengths(rounded):
            documents = np.flatnonzero((rounded > shorter) & (rounded <= longest))
            index, real = _padded(starts[documents], lengths[documents], longest)
            slot[index[real]] = offset + np.flatnonzero(real)
            groups.append(_group(index, real, offset, causal, half_window))
            offset, shorter = offset + index.size, longest
        return cls(groups, offset, torch.from_numpy(slot))


def group_lengths(lengths: NDArray[np.int64]) -> list[int]:
    """The lengths of at most `MOST_GROUPS` groups, ascending, that make padding to them cheapest."""
    levels, counts = np.unique(lengths[lengths > 0], return_counts=True)
    reach = np.concatenate([[0], np.cumsum(counts)])
    best: list[tuple[float, list[int]]] = [(0.0, []), *((np.inf, []) for _ in levels)]
    for _ in range(MOST_GROUPS):
        # best[i]: the first i levels, in as many groups as rounds were made, or fewer
        best = [best[0]] + [
            min(
                [best[i]]
                + [
                    (best[j][0] + (reach[i] - reach[j]) * int(levels[i - 1]) ** 2 + GROUP_COST, [*best[j][1], i])
                    for j in range(i)
                ],
                key=lambda option: option[0],
            )
            for i in range(1, len(levels) + 1)
        ]
    return [int(levels[i - 1]) for i in best[-1][1]]


def _padded(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n, L) token indices and whether they are real, with documents of nothing up to a multiple of `COUNT_STEP`."""
    filling = (0, -len(starts) % COUNT_STEP)
    real = np.arange(longest) < np.pad(lengths, filling)[:, None]
    return np.where(real, np.pad(starts, filling)[:, None] + np.arange(longest), 0), real


def _group(
    index: NDArray[np.int64], real: NDArray[np.bool_], offset: int, causal: bool, half_window: int | None
) -> Group:
    L = index.shape[1]
    seen = real[:, None, None, :]  # (n, 1, 1, L)
    distance = np.arange(L)[:, None] - np.arange(L)  # query minus key
    if causal:
        seen = seen & (distance >= 0)
    if half_window is not None and half_window < L:
        seen = seen & (abs(distance) <= half_window)
    bias = None if seen.all() else torch.from_numpy(np.where(seen, np.float32(0), np.float32(HIDDEN)))
    padded = None if real.all() else torch.from_numpy(real.reshape(-1, 1))
    return Group(torch.from_numpy(index.reshape(-1)), padded, bias, L, slice(offset, offset + index.size))


def attend_in_groups(qkv: Tensor, num_heads: int, groups: Groups, dropout: float) -> Tensor:
    """(B, T, 3 C) -> (B, T, C): queries, keys and values side by side to the heads' weighted values."""
    context: Tensor = _GroupedAttention.apply(qkv, num_heads, groups, dropout)
    return context


class _GroupedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, qkv: Tensor, num_heads: int, groups: Groups, dropout: float) -> Tensor:
        B, T, width = qkv.shape
        tokens = qkv.reshape(B * T, width)
        ordered, saved = qkv.new_empty(groups.num_slots, width // 3), []
        for group in groups.groups:
            q, k, v = _by_head(tokens.index_select(0, group.index), group.length, 3, num_heads)
            weights = _product(q, k.mT, q.shape[-1] ** -0.5)  # (n H, L, L)
            if group.bias is not None:
                weights.view(-1, num_heads, group.length, group.length).add_(group.bias.to(weights.dtype))
            weights = weights.softmax(-1)
            kept = keep_mask(weights, dropout) if dropout else None
            context = _product(_dropped(weights, kept), v, keep_scale(dropout))
            _put_by_token(ordered[group.slots], context[None], group.length)
            saved += [q, k, v, weights, kept]
        ctx.save_for_backward(*saved)
        ctx.num_heads, ctx.groups, ctx.dropout = num_heads, groups, dropout
        return ordered.index_select(0, groups.slot).view(B, T, width // 3)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        B, T, C = gradient.shape
        tokens, scale = gradient.reshape(B * T, C), keep_scale(ctx.dropout)
        ordered = gradient.new_empty(ctx.groups.num_slots, 3 * C)
        for number, group in enumerate(ctx.groups.groups):
            q, k, v, weights, kept = ctx.saved_tensors[5 * number : 5 * number + 5]
            d_context = tokens.index_select(0, group.index)
            if group.real is not None:
                d_context.mul_(group.real)
            (d_context,) = _by_head(d_context, group.length, 1, ctx.num_heads)
            d_qkv = q.new_empty(3, *q.shape)
            _product(_dropped(weights, kept).mT, d_context, scale, d_qkv[2])
            d_weights = _product(d_context, v.mT, scale)
            if kept is not None:
                d_weights.mul_(kept)
            d_scores = torch._softmax_backward_data(d_weights, weights, -1, weights.dtype)
            _product(d_scores, k, q.shape[-1] ** -0.5, d_qkv[0])
            _product(d_scores.mT, q, q.shape[-1] ** -0.5, d_qkv[1])
            _put_by_token(ordered[group.slots], d_qkv, group.length)
        return ordered.index_select(0, ctx.groups.slot).view(B, T, 3 * C), None, None, None


def _dropped(weights: Tensor, kept: Tensor | None) -> Tensor:
    return weights if kept is None else weights * kept


def _by_head(tokens: Tensor, length: int, parts: int, num_heads: int) -> Tensor:
    """(n * L, parts * C) -> (parts, n * H, L, D)"""
    split = tokens.view(-1, length, parts, num_heads, tokens.shape[1] // (parts * num_heads))
    return split.permute(2, 0, 3, 1, 4).flatten(1, 2)


def _put_by_token(tokens: Tensor, heads: Tensor, length: int) -> None:
    """(parts, n * H, L, D) into (n * L, parts * C)"""
    parts, D = heads.shape[0], heads.shape[-1]
    num_heads = tokens.shape[1] // (parts * D)
    split = heads.view(parts, -1, num_heads, length, D)
    tokens.view(-1, length, parts, num_heads, D).copy_(split.permute(1, 3, 0, 2, 4))


def _product(a: Tensor, b: Tensor, scale: float, out: Tensor | None = None) -> Tensor:
    """scale * a @ b, batched, in one pass."""
    out = a.new_empty(a.shape[0], a.shape[1], b.shape[2]) if out is None else out
    return torch.baddbmm(out, a, b, beta=0, alpha=scale, out=out)
