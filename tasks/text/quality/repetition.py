"""Gopher's repetition rules (Rae et al., arXiv 2112.11446, appendix A.1.1, "Repetition removal", and table A1).

The paper gives the measures; where it leaves something open these rules do what datatrove does, with which FineWeb was
made (arXiv 2406.17557): shares of characters are shares of the whole text with its blanks, and of a repeated n-gram the
first occurrence is not counted. Unlike there, an n-gram that occurs once is no repetition, however short the text.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tasks.text.quality.measured import CHARACTERS_PER_WORD, Measured
from tasks.text.quality.rules import rule

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)  # odd, and far from a power of two: 2**64 / golden ratio


@rule("gopher: repeated lines")
def gopher_max_duplicate_lines(text: Measured, share: float) -> bool:
    """Duplicate line fraction: 0.30 of the lines occurred before."""
    return text.duplicate_lines[0] > share * len(text.lines)


@rule("gopher: repeated paragraphs")
def gopher_max_duplicate_paragraphs(text: Measured, share: float) -> bool:
    """Duplicate paragraph fraction: 0.30. A paragraph is a line of at least 100 characters: see `measured.py`."""
    return text.duplicate_paragraphs[0] > share * len(text.paragraphs)


@rule("gopher: characters in repeated lines")
def gopher_max_duplicate_line_characters(text: Measured, share: float) -> bool:
    """Duplicate line character fraction: 0.20."""
    return text.duplicate_lines[1] > share * len(text.text)


@rule("gopher: characters in repeated paragraphs")
def gopher_max_duplicate_paragraph_characters(text: Measured, share: float) -> bool:
    """Duplicate paragraph character fraction: 0.20."""
    return text.duplicate_paragraphs[1] > share * len(text.text)


@rule("gopher: one phrase again and again")
def gopher_max_top_ngrams(text: Measured, shares: tuple[float, float, float]) -> bool:
    """Top 2-, 3- and 4-gram character fraction: 0.20, 0.18 and 0.16 of the text in one repeated phrase."""
    return any(
        _may_be_frequent(text, _size(text, words), share)
        and _top_ngram(text, _size(text, words)) > share * len(text.text)
        for words, share in enumerate(shares, start=2)
    )


@rule("gopher: repeated phrases")
def gopher_max_duplicate_ngrams(text: Measured, shares: tuple[float, ...]) -> bool:
    """Duplicate 5- to 10-gram character fraction: 0.15, 0.14, 0.13, 0.12, 0.11, 0.10 of the text in repeats.

    Repeats of n words hold repeats of fewer words: where the shortest has none, no other has.
    """
    for words, share in enumerate(shares, start=5):
        size = _size(text, words)
        characters = _repeated_characters(_ngrams(text, size), text.word_ends, size)
        if not characters:
            return False
        if characters > share * len(text.text):
            return True
    return False


def _size(text: Measured, words: int) -> int:
    return words if text.is_spaced else words * CHARACTERS_PER_WORD


def _ngrams(text: Measured, size: int) -> NDArray[np.uint64]:
    """One number for each n-gram, equal for equal ones; 64 bits, so that two of a text are not taken for one."""
    ids = text.word_ids + np.uint64(1)
    length = max(0, len(ids) - size + 1)
    result = np.zeros(length, np.uint64)
    for start in range(size):
        result = result * _MULTIPLIER + ids[start : start + length]
    return result


def _may_be_frequent(text: Measured, size: int, share: float) -> bool:
    """Whether an n-gram can have the share at all: each of its words would have to occur as often as it does.

    An n-gram of c occurrences has at most the characters (with a blank each) of c occurrences of each of its words;
    the heaviest word n times over is more than any n-gram can have. True for few texts, so few have n-grams counted.
    """
    if not text.words:
        return False
    lengths = np.fromiter(map(len, text.vocabulary), np.int64, len(text.vocabulary))
    heaviest = int(((lengths + 1) * np.bincount(text.word_ids.astype(np.int64))).max())
    return size * heaviest > share * len(text.text)


def _top_ngram(text: Measured, size: int) -> int:
    """Characters of the most frequent n-gram, blanks between its words included, times its occurrences; 0: all once.

    Of equally frequent ones the first is taken.
    """
    _, first, counts = np.unique(_ngrams(text, size), return_index=True, return_counts=True)
    if not len(counts) or counts.max() < 2:
        return 0
    at = int(first[counts == counts.max()].min())
    blanks = size - 1 if text.is_spaced else 0
    return int(text.word_ends[at + size] - text.word_ends[at] + blanks) * int(counts.max())


def _repeated_characters(ngrams: NDArray[np.uint64], ends: NDArray[np.int64], size: int) -> int:
    """Characters in n-grams that occurred before, none counted twice: after a repeat the next begins behind it."""
    _, numbers, counts = np.unique(ngrams, return_inverse=True, return_counts=True)
    candidates = np.flatnonzero(counts[numbers] > 1)  # all others are neither repeats nor repeated
    seen: set[int] = set()
    characters = free = 0
    for at, number in zip(candidates.tolist(), numbers[candidates].tolist(), strict=True):
        if at < free:
            continue
        if number in seen:
            characters += int(ends[at + size] - ends[at])
            free = at + size
        else:
            seen.add(number)
    return characters
