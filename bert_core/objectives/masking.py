"""Masked language modelling: which tokens, words or spans are hidden, and behind what (Devlin et al., 2019,
arXiv:1810.04805, section 3.1; whole words: the note of May 2019 in its repository; spans: Joshi et al., 2020,
arXiv:1907.10529, section 3.1).

    N  samples of a batch        M  tokens of all of them, one sample after the other        V  size of the vocabulary
    U  units: what is hidden whole or not at all
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bert_core.config import MlmObjective
from bert_core.objectives.spans import choose_spans


@dataclass(frozen=True)
class Masked:
    """What a masked-language-model batch reads and has to say."""

    ids: NDArray[np.int64]
    """(M,): the input."""
    positions: NDArray[np.int64]
    """(P,): ascending indices into M of the tokens to predict."""
    labels: NDArray[np.int64]
    """(P,): the tokens that were there."""


@dataclass(frozen=True)
class Units:
    """Words, or single tokens where these are the unit. Special tokens are units of size 0."""

    of_token: NDArray[np.int64]
    """(M,): ascending from 0."""
    sample: NDArray[np.int64]
    """(U,)"""
    first: NDArray[np.int64]
    """(U,): index into M of the first token."""
    size: NDArray[np.int64]
    """(U,): tokens that can be predicted."""


def mask_tokens(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    objective: MlmObjective,
    *,
    is_special: NDArray[np.bool_],
    mask_id: int,
    word_starts: NDArray[np.bool_] | None = None,
) -> Masked:
    """Choose `mask_rate` of each sample's ordinary tokens, in whole units, and hide them the 80/10/10 way.

    Special tokens ([UNK] too: nothing is learnt by predicting it) are never chosen and never put in. A sample's share
    is rounded half up and at least one. Single tokens meet it exactly. Of words and spans, the one that would go beyond
    it is taken with the probability with which the sum's mean is the share: to leave it out, as BERT's script does,
    would hide long words less often than short ones. A sample predicts at least one unit.

    Whether [MASK], another token or the token itself is read is decided for each token, or for each span together.

    Args:
        ids: (M,) with special tokens.
        lengths: (N,) tokens of each sample; they sum to M.
        uniforms: (4, M) in [0, 1), each sample's own.
        is_special: (V,)
        word_starts: (M,), for unit "word" or "span": true also at special tokens and after them.
    """
    units = _units(ids, lengths, is_special, word_starts if objective.unit != "token" else None)
    available = np.bincount(units.sample, weights=units.size, minlength=len(lengths))
    wanted = np.where(available > 0, np.maximum(1, np.floor(available * objective.mask_rate + 0.5)), 0).astype(np.int64)
    deciding: NDArray[np.int64] | None = None
    if objective.unit == "span":
        span = choose_spans(units.sample, units.size, wanted, uniforms, lengths, objective.span_p, objective.max_span)
        chosen = span >= 0
        deciding = units.first[span[units.of_token]]
    else:
        chosen = _choose(units, wanted, uniforms)
    positions = np.flatnonzero(chosen[units.of_token] & ~is_special[ids])
    return Masked(
        ids=_hide(
            ids,
            positions,
            uniforms[2, positions if deciding is None else deciding[positions]],
            uniforms[3, positions],
            objective,
            is_special,
            mask_id,
        ),
        positions=positions,
        labels=ids[positions],
    )


def _units(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    is_special: NDArray[np.bool_],
    word_starts: NDArray[np.bool_] | None,
) -> Units:
    sample = np.repeat(np.arange(len(lengths)), lengths)
    ordinary = ~is_special[ids]
    if word_starts is None:
        every = np.arange(len(ids))
        return Units(of_token=every, sample=sample, first=every, size=ordinary.astype(np.int64))
    first = np.flatnonzero(word_starts)
    of_token = np.cumsum(word_starts) - 1
    size = np.bincount(of_token, weights=ordinary, minlength=len(first)).astype(np.int64)
    return Units(of_token=of_token, sample=sample[first], first=first, size=size)


def _choose(units: Units, wanted: NDArray[np.int64], uniforms: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(U,): units in random order, until each sample has `wanted` tokens."""
    usable = np.flatnonzero(units.size)
    sample = units.sample[usable]
    order = usable[np.argsort(sample + uniforms[0, units.first[usable]], kind="stable")]  # sample after sample still
    size = units.size[order]
    before = np.cumsum(size) - size
    is_first = np.diff(sample, prepend=-1) != 0
    before -= np.maximum.accumulate(np.where(is_first, before, 0))
    room = wanted[sample] - before
    accepted = uniforms[1, units.first[order]] * size < room  # always, where the unit fits
    chosen = np.zeros(len(units.size), dtype=bool)
    chosen[order] = accepted & (room > 0) | is_first
    return chosen


def _hide(
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    kinds: NDArray[np.float64],
    draws: NDArray[np.float64],
    objective: MlmObjective,
    is_special: NDArray[np.bool_],
    mask_id: int,
) -> NDArray[np.int64]:
    """A copy of `ids`: [MASK], a random ordinary token, or the token itself at `positions`."""
    ordinary = np.flatnonzero(~is_special)
    is_mask = kinds < objective.mask_token_share
    is_random = ~is_mask & (kinds < objective.mask_token_share + objective.random_token_share)
    hidden = ids.copy()
    hidden[positions[is_mask]] = mask_id
    hidden[positions[is_random]] = ordinary[(draws[is_random] * len(ordinary)).astype(np.int64)]
    return hidden
