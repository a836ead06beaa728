"""From the tokens of a sequence to the words of its texts, as they were given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from bert_core.explain.explanation import Passage, Word
from bert_core.features.texts import MAX_CHARACTERS
from bert_core.tokenizer import Tokenizer


@dataclass(frozen=True)
class Piece:
    """A passage, and which tokens of the sequence each of its words is."""

    name: str
    text: str
    words: list[tuple[int, int]]
    """Characters."""
    tokens: list[range]
    """Of the sequence, for each word."""

    def weighed(self, weights: NDArray[np.float64]) -> Passage:
        """With the sum of its tokens' `weights` (L,) for each word."""
        sums = [float(weights[each.start : each.stop].sum()) for each in self.tokens]
        words = [Word(self.text[a:b], a, b, weight) for (a, b), weight in zip(self.words, sums, strict=True)]
        return Passage(self.name, self.text, tuple(words))


def passages_of(
    texts: Sequence[tuple[str, str]], tokenizer: Tokenizer, b_start: int, length: int, between: int, skipped: int
) -> list[Piece]:
    """Of [CLS] a [SEP], or [CLS] a [SEP] b [SEP].

    Args:
        texts: (name, text) of one or both.
        between: separators between the two.
        skipped: tokens of the last text before those in the sequence.
    """
    (name, text), *second = texts
    if not second:
        return [_piece(name, text, tokenizer, 1, length - 2, skipped)]
    others = _piece(*second[0], tokenizer, b_start, length - 1 - b_start, skipped)
    return [_piece(name, text, tokenizer, 1, b_start - 1 - between, 0), others]


def _piece(name: str, text: str, tokenizer: Tokenizer, first: int, count: int, skipped: int) -> Piece:
    (encoding,) = tokenizer.encode_batch([text[:MAX_CHARACTERS]])
    starts = np.flatnonzero(encoding.word_starts[skipped : skipped + count])
    bounds = sorted({0, *starts.tolist(), count}) if count else [0]  # a window may begin inside a word
    words, tokens = [], []
    for a, b in pairwise(bounds):
        offsets = encoding.offsets[skipped + a : skipped + b]
        start, end = int(offsets[:, 0].min()), int(offsets[:, 1].max())
        said = text[start:end]  # byte-level tokenizers may count the blank before a word
        words.append((start + len(said) - len(said.lstrip()), end - len(said) + len(said.rstrip())))
        tokens.append(range(first + a, first + b))
    return Piece(name, text, words, tokens)


def word_passage(words: Sequence[str], first: int, bounds: NDArray[np.integer]) -> list[Piece]:
    """Of a sentence that is words already, joined by blanks.

    Args:
        first: the word that the sequence begins with.
        bounds: where in the sequence each of its words begins, and where the last one ends.
    """
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    held = range(first, first + len(bounds) - 1)
    spans = [(int(ends[word]) - len(words[word]), int(ends[word])) for word in held]
    return [Piece("tokens", " ".join(words), spans, [range(int(a), int(b)) for a, b in pairwise(bounds)])]
