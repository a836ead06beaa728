"""Objectives that hide nothing: the next token, and tokens in a random order of factorisation.

N  samples of a batch        M  tokens of all of them, one sample after the other
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def next_tokens(ids: NDArray[np.int64], lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every token but the last of its sample, as ascending indices into M, and the token after each."""
    last = np.cumsum(lengths) - 1
    is_last = np.zeros(len(ids), dtype=bool)
    is_last[last] = True
    positions = np.flatnonzero(~is_last)
    return positions, ids[positions + 1]


def factorise(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    predict_rate: float,
    *,
    is_special: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """A random order of each sample's tokens, and which are predicted (XLNet: Yang et al., 2019, arXiv:1906.08237).

    Special tokens come first, in the order of the text, and are never predicted. Of the others the last `predict_rate`
    are: rounded half up, at least one (section 2.3, with K = 1 / predict_rate).

    Args:
        uniforms: (M,), each sample's own.
        is_special: (V,)

    Returns:
        (M,) rank of each token in its sample's order, from 0; (P,) ascending indices into M of those to predict.
    """
    sample = np.repeat(np.arange(len(lengths)), lengths)
    ordinary = ~is_special[ids]
    order = np.argsort(2 * sample + np.where(ordinary, 1 + uniforms, 0), kind="stable")
    rank = np.empty(len(ids), dtype=np.int64)
    rank[order] = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    available = np.bincount(sample[ordinary], minlength=len(lengths))
    wanted = np.where(available > 0, np.maximum(1, np.floor(available * predict_rate + 0.5)), 0).astype(np.int64)
    return rank, np.flatnonzero(rank >= (lengths - wanted)[sample])
