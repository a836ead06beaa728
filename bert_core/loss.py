"""Cross-entropy of a linear layer's scores without the scores: a chunk of rows at a time, with its gradients at once.

Shapes: P rows, E features, V classes. The method: Hsu et al., 2024 (Liger Kernel, arXiv:2410.10989, section 3.2).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bert_core import kernels
from bert_core.precision import product_type


class Loss(NamedTuple):
    """Sum of a loss over predictions, and how many of them are right; 0-dimensional tensors."""

    total: Tensor
    correct: Tensor


CHUNK_BYTES = 1 << 26
"""Of the scores that exist at one time: 549 rows of 30,522 in fp32. Each chunk more passes once over the weight's
gradient, which is 47 MB for 30,522 x 384 weights."""


def linear_cross_entropy(states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Sum over rows of the cross-entropy of `states @ weight.T + bias`, and in how many no score is above the label's.

    Args:
        states: (P, E).  weight: (V, E).  bias: (V,).
        labels: (P,) int64; negative ones are left out, without a look at them from the host.

    Returns:
        the loss, float32, differentiable once; the count, int64.
    """
    loss, correct = _LinearCrossEntropy.apply(
        states, weight, bias, labels, product_type(states), torch.is_grad_enabled()
    )
    return loss, correct


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor, dtype: torch.dtype, wanted: bool
    ) -> tuple[Tensor, Tensor]:
        wanted = wanted and any(ctx.needs_input_grad)  # torch says True for these also where no gradients are kept
        x, w = states.to(dtype), weight.to(dtype)
        b = None if bias is None else bias.to(dtype)
        total = torch.zeros((), device=x.device)
        correct = torch.zeros((), dtype=torch.int64, device=x.device)
        d_states = torch.empty_like(x) if wanted else None
        d_weight = torch.zeros_like(w, dtype=weight.dtype) if wanted and not len(x) else None
        d_bias = torch.zeros_like(weight[:, 0]) if wanted and b is not None else None
        # Without kernels there are fp32 scores also beside bf16 ones.
        chunk = max(1, CHUNK_BYTES // (len(w) * (w.element_size() if kernels.usable(w) else 4)))
        for start in range(0, len(x), chunk):
            rows = slice(start, start + chunk)
            loss, hits, d_scores, d_scores_sum = _scores_and_gradient(x[rows], w, b, labels[rows], wanted)
            total += loss
            correct += hits
            if d_states is None or d_scores is None:
                continue
            if d_bias is not None and d_scores_sum is not None:
                d_bias += d_scores_sum
            d_scores = d_scores.to(dtype)
            torch.mm(d_scores, w, out=d_states[rows])
            part = d_scores.t() @ x[rows]
            d_weight = part.to(weight.dtype) if d_weight is None else d_weight.add_(part)
        ctx.gradients = (d_states, d_weight, d_bias, states.dtype)
        ctx.mark_non_differentiable(correct)
        return total, correct

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_loss: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        d_states, d_weight, d_bias, dtype = ctx.gradients
        del ctx.gradients  # scaled in place: they are the only ones
        d_bias = None if d_bias is None else d_bias.mul_(d_loss)
        return d_states.mul_(d_loss).to(dtype), d_weight.mul_(d_loss), d_bias, None, None, None


def _scores_and_gradient(
    x: Tensor, w: Tensor, b: Tensor | None, labels: Tensor, wanted: bool
) -> tuple[Tensor, Tensor, Tensor | None, Tensor | None]:
    """Of a chunk: the summed loss, the hits, the gradient of the scores (P, V), and its sum over rows, float32."""
    scores = torch.nn.functional.linear(x, w, b)
    if kernels.usable(scores):
        each, found, d_bias = kernels.cross_entropy_(scores, labels, wanted)
        return each.sum(), found.sum(), scores if wanted else None, d_bias
    scores = scores.float()
    labelled = labels >= 0
    labels = labels.clamp(min=0).unsqueeze(1)
    highest = scores.amax(-1, keepdim=True)
    of_label = scores.gather(1, labels)
    shares = scores.softmax(-1) if wanted else None
    # The highest share is at least 1 / V: its logarithm is exact enough, where that of the label's may be of zero.
    spread = scores.logsumexp(-1, keepdim=True) - highest if shares is None else -shares.amax(-1, keepdim=True).log()
    loss = torch.where(labelled, (spread + highest - of_label).squeeze(1), 0.0).sum()
    hits = ((of_label >= highest).squeeze(1) & labelled).sum()
    if shares is not None:
        shares.scatter_add_(1, labels, shares.new_full((), -1.0).expand_as(labels))
        shares.mul_(labelled.unsqueeze(1))
    return loss, hits, shares, None if shares is None else shares.sum(0)
