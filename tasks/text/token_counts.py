"""What text costs in tokens, by language: fertility, unknown rate, characters per token.

D texts, M tokens of all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from bert_core.tokenizer import TokenArrays
from bert_core.tokenizer.cuts import BLANK, CLASSES, at_bert_words

WINDOW_BYTES = 1 << 22

Counts = dict[str, Counter[str]]
"""By language: documents, characters, words, tokens, unknown tokens."""


def count_words(texts: pa.StringArray) -> NDArray[np.int64]:
    """(D,): words of each text, the same for every tokenizer, so that vocabularies can be compared.

    A run of other characters between blanks, ASCII punctuation marks and Chinese characters is a word, and so is each
    of those marks and characters. Scripts that write no blanks otherwise (Thai, Japanese kana) have too few.
    """
    _, offsets, buffer = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    data = np.frombuffer(buffer or b"", dtype=np.uint8)
    counts = np.zeros(len(texts), dtype=np.int64)
    for start in range(int(bounds[0]), int(bounds[-1]), WINDOW_BYTES):
        stop = min(start + WINDOW_BYTES, int(bounds[-1]))
        context = max(int(bounds[0]), start - 3)  # a Chinese character's bytes
        begins = np.flatnonzero(_begins(CLASSES[data[context:stop]], bounds - context))
        begins = begins[begins >= start - context] + context
        counts += np.diff(np.searchsorted(begins, bounds))
    return counts


def count_batch(
    texts: pa.StringArray, languages: pa.StringArray, tokens: TokenArrays, unknown_id: int
) -> tuple[Counts, Counter[str]]:
    """Counts by language of a batch of documents, and those that languages do not matter for."""
    encoded = pc.fill_null(languages, "").dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary.to_pylist()
    bounds = np.concatenate([[0], np.cumsum(tokens.counts)])
    unknown = np.diff(np.searchsorted(np.flatnonzero(tokens.ids == unknown_id), bounds))
    columns = {
        "documents": np.ones(len(texts), dtype=np.int64),
        "characters": pc.utf8_length(texts).to_numpy(),
        "words": count_words(texts),
        "tokens": tokens.counts,
        "unknown": unknown,
    }
    sums = {name: np.bincount(codes, values, len(names)).astype(np.int64) for name, values in columns.items()}
    by_language = {
        name: Counter({column: int(values[code]) for column, values in sums.items()}) for code, name in enumerate(names)
    }
    return by_language, Counter(documents=len(texts), tokens=len(tokens.ids), empty=int((tokens.counts == 0).sum()))


def add(counts: Iterable[Mapping[str, Mapping[str, int]]]) -> Counts:
    """Sum of counts by language, languages in the order of their names."""
    total: Counts = {}
    for each in counts:
        for language, values in each.items():
            total.setdefault(language, Counter()).update(values)
    return dict(sorted(total.items()))


def rates(counts: Mapping[str, int]) -> dict[str, Any]:
    """Tokens per word (fertility), share of tokens that are unknown, characters per token; 0 where there are none."""
    words, tokens = max(1, counts["words"]), max(1, counts["tokens"])
    return {
        "documents": counts["documents"],
        "tokens": counts["tokens"],
        "fertility": round(counts["tokens"] / words, 4),
        "unknown_rate": round(counts["unknown"] / tokens, 6),
        "characters_per_token": round(counts["characters"] / tokens, 4),
    }


def _begins(classes: NDArray[np.uint8], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a word begins at this byte. Texts begin at `bounds`."""
    begins = at_bert_words(classes)
    begins[1:] |= classes[:-1] == BLANK
    begins[bounds[(bounds >= 0) & (bounds < len(classes))]] = True
    if len(begins):
        begins[0] = True
    return begins & (classes != BLANK)
