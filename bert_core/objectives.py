"""What a model is asked: masked tokens and next sentences (Devlin et al., 2019, arXiv:1810.04805, section 3.1).

Pure functions; every random choice comes from the generator of (seed, epoch, sample), so the same sample of the same
epoch is masked in the same way whatever batch, rank or restart it is met in.

    N  samples of a batch        M  tokens of all of them, one sample after the other        V  size of the vocabulary
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.config import MlmObjective
from bert_core.shards import TokenShards

IS_NEXT, IS_RANDOM, NO_LABEL = 0, 1, -1
_WORD = 2**64 - 1


@dataclass(frozen=True)
class Segments:
    """A sample before special tokens are added: one segment, or a pair."""

    a: NDArray[Any]
    b: NDArray[Any] | None = None
    label: int = NO_LABEL

    @property
    def length(self) -> int:
        """Tokens with the special ones: [CLS] a [SEP], or [CLS] a [SEP] b [SEP]."""
        return len(self.a) + 2 if self.b is None else len(self.a) + len(self.b) + 3


@dataclass(frozen=True)
class Masked:
    """What a masked-language-model batch reads and has to say."""

    ids: NDArray[np.int64]
    """(M,): the input."""
    positions: NDArray[np.int64]
    """(P,): ascending indices into M of the tokens to predict."""
    labels: NDArray[np.int64]
    """(P,): the tokens that were there."""


class SampleRandom:
    """Random numbers of (seed, epoch, sample): streams of different arguments never overlap.

    Philox is counter-based (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"): its key is (seed,
    epoch), and the sample is the high word of the counter, 2^192 blocks away from the next. `purpose` separates uses of
    the same numbers.
    """

    def __init__(self, seed: int, *, purpose: int) -> None:
        self._seed = seed & _WORD
        self._bits = np.random.Philox(key=np.array([self._seed, 0], dtype=np.uint64))
        self._generator = np.random.Generator(self._bits)
        self._start: Any = self._bits.state
        self._start["state"]["counter"][2] = purpose

    def at(self, epoch: int, sample: int) -> np.random.Generator:
        """The generator at the start of this stream; it is the same object each time, so use it before the next call.

        Moving one generator takes a quarter of the time of making one (7 against 27 us), and a batch needs hundreds.
        """
        self._start["state"]["key"][1] = epoch
        self._start["state"]["counter"][3] = sample
        self._bits.state = self._start
        return self._generator


def mask_tokens(
    ids: NDArray[np.int64],
    lengths: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    objective: MlmObjective,
    *,
    is_special: NDArray[np.bool_],
    mask_id: int,
) -> Masked:
    """Choose `mask_rate` of each sample's ordinary tokens, at least one, and hide them the 80/10/10 way.

    Special tokens ([UNK] too: nothing is learnt by predicting it) are never chosen and never put in. A sample's share
    is rounded half up.

    Args:
        ids: (M,) with special tokens.
        lengths: (N,) tokens of each sample; they sum to M.
        uniforms: (2, M) in [0, 1), from each sample's own generator.
        is_special: (V,)
    """
    sample = np.repeat(np.arange(len(lengths)), lengths)
    candidate = ~is_special[ids]
    available = np.bincount(sample[candidate], minlength=len(lengths))
    wanted = np.where(available > 0, np.maximum(1, np.floor(available * objective.mask_rate + 0.5)), 0)
    # One sort puts each sample's candidates in random order, before its special tokens.
    order = np.argsort(sample + np.where(candidate, uniforms[0] * 0.5, 0.5 + uniforms[0] * 0.5), kind="stable")
    rank = np.arange(len(ids)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    positions = np.sort(order[rank < wanted[sample]])
    return Masked(
        ids=_hide(ids, positions, uniforms[1, positions], objective, is_special, mask_id),
        positions=positions,
        labels=ids[positions],
    )


def _hide(
    ids: NDArray[np.int64],
    positions: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    objective: MlmObjective,
    is_special: NDArray[np.bool_],
    mask_id: int,
) -> NDArray[np.int64]:
    """A copy of `ids`: [MASK], a random ordinary token, or the token itself at `positions`."""
    ordinary = np.flatnonzero(~is_special)
    masked, share = objective.mask_token_share, objective.random_token_share
    is_mask = uniforms < masked
    is_random = ~is_mask & (uniforms < masked + share)
    within = (uniforms[is_random] - masked) / share if share else uniforms[is_random]  # uniform in [0, 1) again
    hidden = ids.copy()
    hidden[positions[is_mask]] = mask_id
    hidden[positions[is_random]] = ordinary[np.minimum((within * len(ordinary)).astype(np.int64), len(ordinary) - 1)]
    return hidden


def next_sentence(
    shards: TokenShards,
    document: int,
    start: int,
    end: int,
    others: NDArray[np.int64],
    rng: np.random.Generator,
) -> Segments:
    """Tokens start to end of a document as a pair: split where a sentence starts, and B half of the time not the next.

    A text of one sentence is split where a word starts. A random B is contiguous text from where a sentence of another
    document starts, no longer than what it replaces. Text that cannot be split (one token) is one segment, no label.

    Args:
        others: documents that B may come from; at least one of them is not `document`.
    """
    tokens = shards.tokens(document)[start:end]
    split = _split_point(shards, document, start, end, rng)
    if not split:
        return Segments(tokens)
    if rng.random() < 0.5:
        return Segments(tokens[:split], tokens[split:], IS_NEXT)
    return Segments(tokens[:split], _random_text(shards, document, others, len(tokens) - split, rng), IS_RANDOM)


def _split_point(shards: TokenShards, document: int, start: int, end: int, rng: np.random.Generator) -> int:
    """Tokens in A, between 1 and end - start - 1; 0 where there is no way."""
    points = _inside(shards.sentence_starts(document), start, end)
    if not len(points):
        points = start + 1 + np.flatnonzero(shards.word_starts(document)[start + 1 : end])
    if not len(points):
        points = np.arange(start + 1, end)
    return int(points[rng.integers(len(points))]) - start if len(points) else 0


def _inside(starts: NDArray[Any], start: int, end: int) -> NDArray[Any]:
    return starts[starts.searchsorted(start, side="right") : starts.searchsorted(end)]


def _random_text(
    shards: TokenShards, document: int, others: NDArray[np.int64], max_tokens: int, rng: np.random.Generator
) -> NDArray[Any]:
    own = int(others.searchsorted(document))
    is_among = own < len(others) and others[own] == document
    drawn = int(rng.integers(len(others) - is_among))
    other = int(others[drawn + (is_among and drawn >= own)])
    starts = shards.sentence_starts(other)
    begin = int(starts[rng.integers(len(starts))])
    return shards.tokens(other)[begin : begin + max_tokens]
