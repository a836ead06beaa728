"""Integrated gradients (Sundararajan et al., 2017, arXiv:1703.01365)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

Score = Callable[[Tensor], Tensor]
"""(n, L, E) -> (n,): the scores of n variants of one text's embeddings."""


def integrated_gradients(
    score: Score, embeddings: Tensor, baseline: Tensor, steps: int, *, at_a_time: int = 32
) -> Tensor:
    """(L,): what each token adds to the score on the straight way from `baseline` to `embeddings`, both (L, E).

    They sum to the difference of the two scores, but for the error of Gauss-Legendre quadrature of `steps` points,
    which is exact for polynomials of degree 2 * steps - 1.
    """
    nodes, weights = np.polynomial.legendre.leggauss(steps)
    shares = torch.tensor((nodes + 1) / 2, dtype=embeddings.dtype)
    sizes = torch.tensor(weights / 2, dtype=embeddings.dtype)
    way = embeddings - baseline
    total = torch.zeros_like(embeddings)
    for share, size in zip(shares.split(at_a_time), sizes.split(at_a_time), strict=True):
        points = (baseline + share[:, None, None] * way).requires_grad_()
        (slopes,) = torch.autograd.grad(score(points).sum(), points)
        total += (size[:, None, None] * slopes).sum(dim=0)
    return (total * way).sum(dim=-1)
