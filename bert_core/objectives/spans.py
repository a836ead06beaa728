"""Spans of whole words, of geometric length (SpanBERT: Joshi et al., 2020, arXiv:1907.10529, section 3.1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def choose_spans(
    sample: NDArray[np.int64],
    size: NDArray[np.int64],
    wanted: NDArray[np.int64],
    uniforms: NDArray[np.float64],
    lengths: NDArray[np.int64],
    p: float,
    max_span: int,
) -> NDArray[np.int64]:
    """(U,): for each word the first word of the span that it is in, or -1.

    A sample draws spans, a length and then a word to start at, until it has `wanted` tokens. A draw that starts in an
    earlier span is drawn again; a span ends early at an earlier one, at a special token (a word of size 0) and where
    the share is full. The word that would go beyond the share is taken with the probability that makes the mean right.

    Args:
        sample: (U,) of each word, ascending.
        size: (U,) tokens.
        wanted: (N,) tokens to choose.
        uniforms: (2 or more, M): draws of length and of start. As many as the sample has tokens, then it has to do.
        lengths: (N,) tokens of each sample; they sum to M.
    """
    span_lengths = _span_lengths(uniforms[0], p, max_span).tolist()
    starts = uniforms[1].tolist()
    edges = sample.searchsorted(np.arange(len(lengths) + 1)).tolist()
    ends = np.cumsum(lengths).tolist()
    sizes = size.tolist()
    span = [-1] * len(sizes)
    for number, (length, room) in enumerate(zip(lengths.tolist(), wanted.tolist(), strict=True)):
        low, high = edges[number], edges[number + 1]
        for draw in range(ends[number] - length, ends[number]):
            if room <= 0:
                break
            start, fraction = divmod(starts[draw] * (high - low), 1)
            anchor = low + int(start)
            room = _fill(span, sizes, anchor, min(high, anchor + span_lengths[draw]), room, fraction)
        if wanted[number] and max(span[low:high]) < 0:
            fullest = max(range(low, high), key=sizes.__getitem__)
            span[fullest] = fullest
    return np.array(span, dtype=np.int64)


def _fill(span: list[int], sizes: list[int], anchor: int, end: int, room: int, fraction: float) -> int:
    """Mark words `anchor` to `end` as a span as far as they are free and fit; returns the room that is left."""
    for word in range(anchor, end):
        if not sizes[word] or span[word] >= 0 or room <= 0:
            break
        if sizes[word] > room and fraction * sizes[word] >= room:
            return 0
        span[word] = anchor
        room -= sizes[word]
    return room


def _span_lengths(uniforms: NDArray[np.float64], p: float, max_span: int) -> NDArray[np.int64]:
    """Geometric, those above `max_span` drawn again: with 0.2 and 10, 3.8 words on average, as the paper has it."""
    shares = p * (1 - p) ** np.arange(max_span)
    return 1 + np.searchsorted(np.cumsum(shares / shares.sum())[:-1], uniforms, side="right")
