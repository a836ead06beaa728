"""Attention maps of a real forward pass, and what flows along them.

Shapes: L tokens of one sequence, E embedding size, H heads, layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from bert_core.attention import Attention, AttentionMask, Rotary
from bert_core.explain.targets import Target
from bert_core.task_models import TaskModel


@torch.no_grad()
def attention_maps(model: TaskModel, target: Target) -> Tensor:
    """(layers, H, L, L): how much the token of each row takes of that of each column; rows sum to 1.

    Kernels that are fast do not keep these: each layer's queries and keys are computed again from what it read.
    """
    read: list[tuple[Attention, Tensor, AttentionMask, Rotary | None]] = []

    def remember(module: Any, arguments: tuple[Any, ...]) -> None:
        read.append((module, *arguments))

    found = {module for module in model.encoder.modules() if isinstance(module, Attention)}
    hooks = [module.register_forward_pre_hook(remember) for module in found]  # one of a layer that is shared
    try:
        model.eval()
        batch = target.batch(1)
        model.output(batch)
    finally:
        for hook in hooks:
            hook.remove()
    assert batch.spans is not None
    first, last = batch.spans[0].tolist()
    return torch.stack([_weights(*each)[:, first:last, first:last] for each in read])


def _weights(attention: Attention, hidden: Tensor, mask: AttentionMask, rotary: Rotary | None) -> Tensor:
    """(H, T, T) of the only row of `hidden` (1, T, C)."""
    _, T, _ = hidden.shape
    q, k, _ = attention.qkv(hidden).view(1, T, 3, attention.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (1, H, T, D)
    if rotary is not None:
        q, k = rotary.rotate(q), rotary.rotate(k)
    scores = q @ k.mT * q.shape[-1] ** -0.5
    if mask.allowed is not None:
        scores = scores.masked_fill(~mask.allowed, -torch.inf)
    weights: Tensor = scores.softmax(-1)[0]
    return weights


def rollout(maps: Tensor) -> Tensor:
    """(layers, H, L, L) -> (L, L): how much of each input token (column) is in each output token (row); rows sum to 1.

    Heads are averaged, and half of each layer's state is taken to be what the residual carries on (Abnar and Zuidema,
    2020, arXiv:2005.00928, section 3).
    """
    eye = torch.eye(maps.shape[-1], dtype=maps.dtype)
    flowed = eye
    for layer in maps.mean(dim=1):
        flowed = (layer + eye) / 2 @ flowed
    return flowed
