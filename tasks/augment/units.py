"""A text, or the tokens of a tagged one, as the units that an augmentation moves, and back without a loss."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Kind = Literal["word", "fixed", "entity"]

_UNSPACED = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
"""Han, kana, Thai, Lao, Burmese, Khmer: written without blanks between words, so each character is a unit."""
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06ed\u0900-\u0963\u0971-\u0dff"
)
"""Signs that belong to the letter before and that `\\w` lacks."""
_UNSPACED_MARKS = (
    "\u3099\u309a\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc\u0ec8-\u0ece\u102b-\u103e\u17b4-\u17d3"
)
_LETTER = f"(?:(?![{_UNSPACED}])[^\\W_]|[{_MARKS}])"
_PIECE = re.compile(
    rf"(?P<kept>https?://\S+|www\.\S+|[@#]\w+|[\w.+-]+@[\w-]+\.[\w.]+)"
    rf"|(?P<word>{_LETTER}+(?:['’\-]{_LETTER}+)*|[{_UNSPACED}][{_UNSPACED_MARKS}]*)"
    rf"|(?P<mark>\S)"
)
_UNSPACED_WORD = re.compile(f"[{_UNSPACED}]")


@dataclass(frozen=True, slots=True)
class Unit:
    """What is moved, left out or replaced as a whole: a word, a mark, or all tokens of one entity."""

    tokens: tuple[str, ...]
    kind: Kind = "word"
    tags: tuple[str, ...] = ()
    """of the tokens; none for a text"""
    before: str = ""
    """blanks between it and what stands before it; none between tokens"""

    @property
    def text(self) -> str:
        return " ".join(self.tokens)

    def saying(self, text: str) -> Unit:
        """The same with another word, in place of one token."""
        return replace(self, tokens=(text,))


def is_unspaced(text: str) -> bool:
    """Whether it begins in a script that has no blanks between words."""
    return _UNSPACED_WORD.match(text) is not None


def words_of(text: str) -> list[str]:
    """The words of a text in order, marks left out; of scripts without blanks, the characters."""
    return [found.group() for found in _PIECE.finditer(text) if found.lastgroup == "word"]


def split(text: str, phrases: Collection[str] = ()) -> tuple[list[Unit], str]:
    """The units of `text`, and the blanks at its end: `join` gives back `text`, whatever it is.

    Words with a digit, addresses, mentions and hashtags are fixed, as marks are: to change them changes what is said.

    Args:
        phrases: words of several characters in a script without blanks that make up one unit; the longest counts.
    """
    units: list[Unit] = []
    longest = max(map(len, phrases), default=1)
    end = 0
    while found := _PIECE.search(text, end):
        before, start, piece = text[end : found.start()], found.start(), found.group()
        if longest > 1 and is_unspaced(piece):
            sizes = range(min(longest, len(text) - start), len(piece), -1)
            piece = next((text[start : start + n] for n in sizes if text[start : start + n] in phrases), piece)
        is_word = found.lastgroup == "word" and not any(map(str.isdigit, piece))
        units.append(Unit((piece,), "word" if is_word else "fixed", (), before))
        end = start + len(piece)
    return units, text[end:]


def join(units: Sequence[Unit], tail: str = "") -> str:
    """The text of units that `split` made."""
    return "".join(unit.before + unit.text for unit in units) + tail


def tagged(tokens: Sequence[str], tags: Sequence[str], scheme: Literal["bio", "plain"]) -> list[Unit]:
    """One unit for each token, but in `bio` one for all tokens of an entity: so none is ever cut.

    An entity whose first tag is I-X, as IOB1 and faulty data have it, begins with B-X here.

    Raises:
        ValueError: tokens and tags are not of one length.
    """
    units: list[Unit] = []
    for token, tag in zip(tokens, tags, strict=True):
        is_word = bool(_PIECE.match(token)) and any(map(str.isalpha, token)) and not any(map(str.isdigit, token))
        kind: Kind = "word" if is_word and token[:1] not in "@#" and "://" not in token else "fixed"
        if scheme == "plain" or tag == "O":
            units.append(Unit((token,), kind, (tag,)))
        elif tag.startswith("I-") and units and units[-1].kind == "entity" and units[-1].tags[0][2:] == tag[2:]:
            units[-1] = replace(units[-1], tokens=(*units[-1].tokens, token), tags=(*units[-1].tags, tag))
        else:
            units.append(Unit((token,), "entity", (f"B-{tag[2:]}",)))
    return units


def untagged(units: Sequence[Unit]) -> tuple[list[str], list[str]]:
    """Tokens and tags of units that `tagged` made."""
    return [token for unit in units for token in unit.tokens], [tag for unit in units for tag in unit.tags]
