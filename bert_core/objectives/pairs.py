"""Pairs of segments and what is asked of them: does B follow A (NSP: Devlin et al., 2019, arXiv:1810.04805), were they
swapped (SOP: Lan et al., 2020, arXiv:1909.11942, section 3.1).

    N  samples of a batch
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from bert_core.shards import TokenShards

IS_NEXT, IS_RANDOM, IS_SWAPPED, NO_LABEL = 0, 1, 1, -1
DRAWS = 2
"""Blocks of four uniforms for each pair."""

Span = tuple[int, int, int]
"""Document, first token, one after the last."""
NOTHING: Span = (0, 0, 0)


@dataclass(frozen=True)
class Segments:
    """Samples before special tokens are added: one segment, or a pair."""

    a: NDArray[np.int64]
    """(N, 3): document, first token, one after the last."""
    b: NDArray[np.int64]
    """(N, 3): the same of B; an empty span where there is none."""
    labels: NDArray[np.int64]
    """(N,): 0, 1, or -1 = none."""

    @property
    def a_lengths(self) -> NDArray[np.int64]:
        return self.a[:, 2] - self.a[:, 1]

    @property
    def b_lengths(self) -> NDArray[np.int64]:
        return self.b[:, 2] - self.b[:, 1]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """(N,) tokens with the special ones: [CLS] a [SEP], or [CLS] a [SEP] b [SEP]."""
        return self.a_lengths + self.b_lengths + 2 + (self.b_lengths > 0)


def single(spans: NDArray[np.int64]) -> Segments:
    """One segment each, without a label.

    Args:
        spans: (N, 3)
    """
    return Segments(spans, np.zeros_like(spans), np.full(len(spans), NO_LABEL, dtype=np.int64))


def pair_up(
    shards: TokenShards, spans: NDArray[np.int64], uniforms: NDArray[np.float64], kind: Literal["nsp", "sop"]
) -> Segments:
    """Each span as a pair, split where a sentence starts; a text of one sentence where a word starts.

    nsp: half of the time B is not what follows but other text: contiguous, from where a sentence of another document
    starts, no longer than what it replaces. sop: half of the time the two are swapped. Text that cannot be split (one
    token) is one segment without a label.

    Args:
        spans: (N, 3), none empty.
        uniforms: (4, N * DRAWS), each sample's own.
    """
    of_sample = uniforms.reshape(4, len(spans), DRAWS).transpose(1, 2, 0).reshape(len(spans), 4 * DRAWS).tolist()
    pairs = [
        _pair(shards, document, start, end, draws, kind)
        for (document, start, end), draws in zip(spans.tolist(), of_sample, strict=True)
    ]
    a, b, labels = zip(*pairs, strict=True) if pairs else ((), (), ())
    return Segments(
        np.array(a, dtype=np.int64).reshape(-1, 3),
        np.array(b, dtype=np.int64).reshape(-1, 3),
        np.array(labels, dtype=np.int64),
    )


def _pair(
    shards: TokenShards, document: int, start: int, end: int, draws: list[float], kind: Literal["nsp", "sop"]
) -> tuple[Span, Span, int]:
    split = _split_point(shards, document, start, end, draws[0])
    if split is None:
        return (document, start, end), NOTHING, NO_LABEL
    first, second = (document, start, split), (document, split, end)
    if draws[1] < 0.5:
        return first, second, IS_NEXT
    if kind == "sop":
        return second, first, IS_SWAPPED
    return first, _random_span(shards, document, end - split, draws), IS_RANDOM


def _split_point(shards: TokenShards, document: int, start: int, end: int, draw: float) -> int | None:
    """A token of the document, above `start` and below `end`; None where there is none."""
    starts = shards.sentence_starts(document)
    low, high = bisect_right(starts, start), bisect_left(starts, end)
    if low < high:
        return int(starts[low + int(draw * (high - low))])
    words = start + 1 + np.flatnonzero(shards.word_starts(document, start, end)[1:])
    if not len(words):
        words = np.arange(start + 1, end)
    return int(words[int(draw * len(words))]) if len(words) else None


def _random_span(shards: TokenShards, document: int, max_tokens: int, draws: list[float]) -> Span:
    others = shards.num_documents - 1
    other = int((draws[2] + draws[3] * 2.0**-32) * others)  # 32 bits of one draw are few for 10^8 documents
    other += other >= document
    while other == document or not len(shards.sentence_starts(other)):  # one without text
        other = (other + 1) % shards.num_documents
    starts = shards.sentence_starts(other)
    begin = int(starts[int(draws[4] * len(starts))])
    return other, begin, min(begin + max_tokens, shards.length(other))
