"""Whether a text is, or nearly is, one of those on which a model will be judged."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Literal

from tasks.augment.units import words_of

GRAM_WORDS = 3
Found = Literal["equal", "near"]
Key = tuple[str, ...]


def normalised(text: str) -> str:
    """What is compared of a text: its words (characters, in scripts without blanks), width and case folded."""
    return " ".join(words_of(unicodedata.normalize("NFKC", text).casefold()))


def normalised_all(fields: Sequence[str]) -> Key:
    return tuple(normalised(field) for field in fields)


def grams(key: str) -> frozenset[Key]:
    """Every three words in a row of a normalised text; of a shorter one, all its words; of an empty one, none."""
    words = key.split()
    if not words:
        return frozenset()
    return frozenset(tuple(words[i : i + GRAM_WORDS]) for i in range(max(1, len(words) - GRAM_WORDS + 1)))


def _without_blanks(key: Key) -> Key:
    return tuple(field.replace(" ", "") for field in key)


class TextIndex:
    """Examples of one or more fields (a premise and a hypothesis, a question and its context), to be found again.

    Two examples are nearly equal if in each field the Jaccard similarity of their word 3-grams is at least `near`; a
    premise that several examples share is thus no leak, as long as what is said of it differs. They are equal also if
    they differ in blanks alone: 2 0 0 0 年, a file of characters, and 2000 年, the same in words.
    """

    def __init__(self, examples: Iterable[Sequence[str]], near: float) -> None:
        self._near = near
        self._keys = list(dict.fromkeys(normalised_all(fields) for fields in examples))
        self._known = {_without_blanks(key) for key in self._keys}
        self._grams = [grams(key[0]) for key in self._keys]
        self._holding: dict[Key, list[int]] = defaultdict(list)
        for number, of_example in enumerate(self._grams):
            for gram in of_example:
                self._holding[gram].append(number)

    def find(self, fields: Sequence[str]) -> Found | None:
        """How close the closest example is; None if none is close. Examples without a word are close to none."""
        key = normalised_all(fields)
        if not any(key):
            return None
        if _without_blanks(key) in self._known:
            return "equal"
        mine = grams(key[0])
        shared: dict[int, int] = defaultdict(int)
        for gram in mine:
            for number in self._holding.get(gram, ()):
                shared[number] += 1
        for number, count in shared.items():
            union = len(mine) + len(self._grams[number]) - count
            if count >= self._near * union and all(
                similarity(one, other) >= self._near
                for one, other in zip(key[1:], self._keys[number][1:], strict=False)
            ):
                return "near"
        return None


def similarity(one: str, other: str) -> float:
    """Jaccard similarity of the word 3-grams of two normalised texts; of two empty ones 1."""
    if one == other:
        return 1.0
    a, b = grams(one), grams(other)
    return len(a & b) / len(a | b)
