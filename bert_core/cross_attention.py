"""Attention from targets to their sources, both packed into rows: no target sees another's source.

Targets and sources lie in rows of their own, so that little is padding there; here pairs of about one length are taken
together and padded to each other, which is a small part of a step.

Shapes: B rows, T tokens in a row, each of targets (t) or sources (s), H heads, D channels of a head, C = H * D; n pairs
of a group, L its length; N pairs of the batch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.attention_cpu import group_lengths
from bert_core.dropout import Dropout
from bert_core.precision import Linear

LENGTH_STEP, COUNT_STEP = 16, 4
"""Lengths and numbers of pairs are rounded up: bf16 kernels are built and kept for every shape met."""


class Placed(Protocol):
    """Where N sequences lie in rows; `bert_core.seq2seq_batch.Rows` says more."""

    @property
    def input_ids(self) -> Tensor: ...  # (B, T)
    @property
    def starts(self) -> Tensor: ...  # (N,) int64, flat into B * T
    @property
    def lengths(self) -> Tensor: ...  # (N,) int64


@dataclass(frozen=True)
class PairGroup:
    """Pairs whose sources are about equally long, targets padded to L_t tokens and sources to L_s."""

    targets: Tensor
    """(n * L_t,) int64: flat index of each token of the targets; 0 for padding."""
    sources: Tensor
    """(n * L_s,)"""
    seen: Tensor | None
    """(n, 1, 1, L_s) bool: False for padding. None: there is none."""
    count: int
    """n"""


@dataclass(frozen=True)
class Pairs:
    """Which source belongs to which target. Made on the host, once for all layers; then moved."""

    groups: tuple[PairGroup, ...]
    slot: Tensor
    """(B_t * T_t,) int64: where each token of the targets is when one group follows the other; padding is at their
    end."""

    @classmethod
    def of(cls, sources: Placed, targets: Placed) -> Pairs:
        """Raises:
        ValueError: not as many targets as sources.
        """
        if len(sources.starts) != len(targets.starts):
            raise ValueError(f"{len(sources.starts)} sources and {len(targets.starts)} targets: expected pairs")
        s_starts, s_lengths, t_starts, t_lengths = (
            tensor.numpy() for tensor in (sources.starts, sources.lengths, targets.starts, targets.lengths)
        )
        rounded = -(-s_lengths // LENGTH_STEP) * LENGTH_STEP
        slot, groups, offset, shorter = np.full(targets.input_ids.numel(), -1), [], 0, 0
        for longest in group_lengths(rounded):
            members = np.flatnonzero((rounded > shorter) & (rounded <= longest))
            target, real = _padded(t_starts[members], t_lengths[members], int(t_lengths[members].max()))
            source, seen = _padded(s_starts[members], s_lengths[members], longest)
            mine = real[: len(members)]  # those after them fill the group up
            slot[target[: len(members)][mine]] = offset + np.flatnonzero(mine)
            mask = None if seen.all() else torch.from_numpy(seen[:, None, None, :])
            flat = [torch.from_numpy(index.reshape(-1)) for index in (target, source)]
            groups.append(PairGroup(flat[0], flat[1], mask, len(target)))
            offset, shorter = offset + target.size, longest
        slot[slot < 0] = offset
        return cls(tuple(groups), torch.from_numpy(slot))

    def to(self, device: torch.device | str) -> Pairs:
        """The same pairs with their tensors on `device`."""

        def moved(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        groups = tuple(
            PairGroup(moved(g.targets), moved(g.sources), None if g.seen is None else moved(g.seen), g.count)
            for g in self.groups
        )
        return Pairs(groups, moved(self.slot))


class CrossAttention(nn.Module):
    """Multi-head attention of each target to the states of its own source, key and value fused."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, *, bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.q = Linear(hidden_size, hidden_size, bias=bias)
        self.kv = Linear(hidden_size, 2 * hidden_size, bias=bias)

    def forward(self, hidden: Tensor, states: Tensor, pairs: Pairs) -> Tensor:
        """Each head's weighted values, side by side: targets (B, T, C) and sources (B, T, C) -> (B_t, T_t, C)."""
        C, H = hidden.shape[-1], self.num_heads
        queries, memory = self.q(hidden).flatten(0, 1), self.kv(states).flatten(0, 1)  # (B T, C), (B T, 2 C)
        contexts = []
        for group in pairs.groups:
            n = group.count
            q = queries.index_select(0, group.targets).view(n, -1, H, C // H).transpose(1, 2)  # (n, H, L, D)
            k, v = memory.index_select(0, group.sources).view(n, -1, 2, H, C // H).permute(2, 0, 3, 1, 4)
            contexts.append(self._attend(q, k, v, group.seen).transpose(1, 2).reshape(-1, C))
        ordered = torch.cat([*contexts, queries.new_zeros(1, C)])
        return ordered.index_select(0, pairs.slot).view(hidden.shape)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, seen: Tensor | None) -> Tensor:
        if not self.training or not self.dropout.p:
            return F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        scores = (q * q.shape[-1] ** -0.5) @ k.mT  # torch fuses no CPU kernel with dropout
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        return self.dropout(scores.softmax(-1)) @ v


def _padded(
    starts: NDArray[np.int64], lengths: NDArray[np.int64], longest: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """(n, L) token indices and whether they are real, with documents of one token up to a multiple of `COUNT_STEP`:
    a query that sees nothing would have no number."""
    filling = (0, -len(starts) % COUNT_STEP)
    positions = np.arange(-(-longest // LENGTH_STEP) * LENGTH_STEP)
    real = positions < np.pad(lengths, filling, constant_values=1)[:, None]
    return np.where(real, np.pad(starts, filling)[:, None] + positions, 0), real
