"""From documents to samples: pieces that fit a row. Nothing is lost, and nothing is random.

Work is done for all long documents of a file at once, cut after cut; it never reads a token.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bert_core.shards import ShardFile, TokenShards

_BLOCK = 2**21  # positions looked at in one go for the start of a word,
_NEAR = 16  # and how far back before all the window is looked at


def chunk(
    shards: TokenShards, max_tokens: int, *, pairs: bool = False, max_spare: int | None = None
) -> NDArray[np.uint32]:
    """All documents as samples of at most `max_tokens` tokens; every token is in exactly one sample.

    A long document is cut where a sentence starts; inside a sentence that is itself too long, where a word starts;
    inside a word that is too long, anywhere. Samples are in the order of the text.

    Args:
        max_spare: where the last sentence start would leave more room than this, cut where a word starts; None: never.
        pairs: avoid samples of one sentence, which would have to be split inside the sentence to make a pair.

    Returns:
        (N, 3): document, first token, one after the last; never empty.
    """
    parts = [np.zeros((0, 3), dtype=np.uint32)]
    first_document = 0
    for file in shards.files():
        spans = _spans(file, max_tokens, max_tokens if max_spare is None else max_spare, pairs=pairs)
        spans[:, 0] += first_document
        parts.append(spans.astype(np.uint32))
        first_document += file.num_documents
    return np.concatenate(parts)


def _spans(file: ShardFile, max_tokens: int, max_spare: int, *, pairs: bool) -> NDArray[np.int64]:
    offsets = file.offsets.astype(np.int64)
    lengths = np.diff(offsets)
    starts = offsets[:-1][lengths > 0]
    long = np.flatnonzero(lengths > max_tokens)
    if len(long):
        starts = np.sort(np.concatenate([starts, *_cuts(file, offsets, long, max_tokens, max_spare, pairs=pairs)]))
    ends = np.append(starts[1:], offsets[-1])
    document = offsets.searchsorted(starts, side="right") - 1
    return np.stack([document, starts - offsets[document], ends - offsets[document]], axis=1)


def _cuts(
    file: ShardFile,
    offsets: NDArray[np.int64],
    long: NDArray[np.int64],
    max_tokens: int,
    max_spare: int,
    *,
    pairs: bool,
) -> list[NDArray[np.int64]]:
    """Where `long` documents are cut, as positions in the file's tokens, in no order."""
    sentences = file.sentences + np.repeat(offsets[:-1], np.diff(file.sentence_offsets))
    start, stop = offsets[long], offsets[long + 1]
    last, before = start.copy(), start.copy()  # last cut of each document, and the one before it
    settled = []
    active = np.arange(len(long))
    while len(active):
        after, limit = last[active], last[active] + max_tokens
        cut = sentences[sentences.searchsorted(limit, side="right") - 1]
        elsewhere = (cut <= after) | (limit - cut > max_spare)
        cut[elsewhere] = _last_words(file, limit[elsewhere], max_tokens)
        before[active], last[active] = after, cut
        active = active[stop[active] - cut > max_tokens]
        settled.append(last[active])
    if pairs:
        _even_out_ends(sentences, before, last, stop, max_tokens)
    return [*settled, last]


def _even_out_ends(
    sentences: NDArray[np.int64],
    before: NDArray[np.int64],
    last: NDArray[np.int64],
    stop: NDArray[np.int64],
    max_tokens: int,
) -> None:
    """Give a last sample of one sentence another one, where the sample before it can spare it. Changes `last`."""
    sentences = np.append(sentences, stop[-1])
    index = sentences.searchsorted(last)
    is_lone = (sentences[index] == last) & (sentences[np.minimum(index + 1, len(sentences) - 1)] >= stop)
    can_spare = index - sentences.searchsorted(before) >= 3
    earlier = sentences[index - 1]
    moves = is_lone & can_spare & (stop - earlier <= max_tokens)
    last[moves] = earlier[moves]


def _last_words(file: ShardFile, limits: NDArray[np.int64], window: int) -> NDArray[np.int64]:
    """The last word start in the `window` positions up to each of `limits`, or the limit itself."""
    found = limits.copy()
    for width in (min(window, _NEAR), window):
        back = np.arange(width)
        size = max(1, _BLOCK // width)
        missing = np.flatnonzero(~_is_start(file, found))
        for at in range(0, len(missing), size):
            part = missing[at : at + size]
            found[part] -= _is_start(file, limits[part, None] - back).argmax(axis=1)  # 0 where there is none
    return found


def _is_start(file: ShardFile, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
    return (file.word_bits[positions >> 3] >> (positions & 7) & 1).astype(bool)
