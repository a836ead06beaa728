"""Which script a text is in: Chinese has no spaces, and metrics that count words must count characters instead."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias

Words: TypeAlias = Literal["spaces", "characters"]
ENOUGH = 100_000  # characters from which the script is plain


def words_of(texts: Iterable[str | None]) -> Words:
    """ "characters" if most letters of the texts are Han, else "spaces"."""
    han = letters = 0
    for text in texts:
        for char in text or "":
            letters += char.isalpha()
            han += is_han(char)
        if letters > ENOUGH:
            break
    return "characters" if 2 * han > letters else "spaces"


def is_han(char: str) -> bool:
    code = ord(char)
    return (
        0x4E00 <= code <= 0x9FFF or 0x3400 <= code <= 0x4DBF or 0xF900 <= code <= 0xFAFF or 0x20000 <= code <= 0x323AF
    )


def split_han(text: str) -> list[str]:
    """Each Han character a word of its own, the rest by spaces."""
    return list(_pieces(text))


def without_punctuation(text: str) -> str:
    """Without any character of Unicode's category P."""
    return "".join(char for char in text if not unicodedata.category(char).startswith("P"))


def _pieces(text: str) -> Iterator[str]:
    word = ""
    for char in text:
        if not is_han(char) and not char.isspace():
            word += char
            continue
        if word:
            yield word
            word = ""
        if is_han(char):
            yield char
    if word:
        yield word
