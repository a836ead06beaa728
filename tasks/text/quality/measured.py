"""What the rules ask of a text, each thing computed once however many rules ask."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from itertools import count

import numpy as np
from numpy.typing import NDArray

UNSPACED = frozenset({"zh", "ja", "th", "lo", "km", "my", "bo", "dz", "yue", "wuu"})
"""Languages that are written without blanks between words."""
CHARACTERS_PER_WORD = 2
"""In those languages. Chinese words have 1.5 to 2 characters in running text; a threshold needs no better figure."""
PARAGRAPH_CHARACTERS = 100
"""A line of our texts is a block of the page; one of this length is a paragraph and no heading, cell or menu entry."""

_WORD_CHARACTER = re.compile(r"\w")
_LETTER = re.compile(r"[^\W\d_]")


class Measured:
    """A text and its measures. Rules read it and change nothing.

    Where words have no blanks between them, a text has as many words as half its letters and digits, and an n-gram of
    n words is one of 2n of these characters.
    """

    def __init__(self, text: str, language: str) -> None:
        self.text = text
        self.language = language
        self.is_spaced = language not in UNSPACED

    @cached_property
    def lines(self) -> list[str]:
        return self.text.split("\n")

    @cached_property
    def lower(self) -> str:
        return self.text.lower()

    @cached_property
    def words(self) -> list[str]:
        """What stands between blanks; single letters and digits where nothing does."""
        return self.text.split() if self.is_spaced else _WORD_CHARACTER.findall(self.text)

    @cached_property
    def num_words(self) -> float:
        """Words that hold a letter or a digit: a lone dash is none."""
        return len(self.words) - self._signs[0] if self.is_spaced else len(self.words) / CHARACTERS_PER_WORD

    @cached_property
    def mean_word_length(self) -> float:
        """Characters of such a word; its comma is one of them, as blanks are all that ends a word."""
        count, characters = self._signs
        return (sum(map(len, self.words)) - characters) / max(1, len(self.words) - count)

    @cached_property
    def alpha_share(self) -> float:
        """Words that hold a letter among all words."""
        without = sum(_LETTER.search(word) is None for word in self._odd)
        return 1 - without / max(1, len(self.words))

    @cached_property
    def alpha_characters(self) -> int:
        """Of words that are of letters alone: most of the letters of prose, for the price of one look at each word."""
        return sum(map(len, filter(str.isalpha, self.words)))

    @cached_property
    def vocabulary(self) -> dict[str, int]:
        """A number for each different word, in the order in which they come."""
        return dict(zip(dict.fromkeys(self.words), count(), strict=False))

    @cached_property
    def word_ids(self) -> NDArray[np.uint64]:
        return np.fromiter(map(self.vocabulary.__getitem__, self.words), np.uint64, len(self.words))

    @cached_property
    def word_ends(self) -> NDArray[np.int64]:
        """Characters of the words before each, and of all."""
        lengths = np.fromiter(map(len, self.words), np.int64, len(self.words))
        return np.concatenate([np.zeros(1, np.int64), np.cumsum(lengths)])

    @cached_property
    def duplicate_lines(self) -> tuple[int, int]:
        """How many lines occurred before, and their characters."""
        return repeats(self.lines)

    @cached_property
    def paragraphs(self) -> list[str]:
        return [line for line in self.lines if len(line) >= PARAGRAPH_CHARACTERS]

    @cached_property
    def duplicate_paragraphs(self) -> tuple[int, int]:
        return repeats(self.paragraphs)

    def share_of_words(self, amount: float) -> float:
        """`amount` to each word; a text without words counts as one of one word."""
        return amount / max(1.0, self.num_words)

    @cached_property
    def _odd(self) -> list[str]:
        """Words that do not begin with a letter: few, so that only these are looked into."""
        return [word for word in self.words if not word[0].isalpha()]

    @cached_property
    def _signs(self) -> tuple[int, int]:
        """Words without a letter or digit: their number and their characters."""
        signs = [word for word in self._odd if not _WORD_CHARACTER.search(word)]
        return len(signs), sum(map(len, signs))


def repeats(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts occurred before among `parts`, and their characters."""
    distinct = set(parts)
    return len(parts) - len(distinct), sum(map(len, parts)) - sum(map(len, distinct))
