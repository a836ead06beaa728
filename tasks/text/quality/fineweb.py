"""FineWeb's rules (Penedo et al., arXiv 2406.17557, section 3.6) as its code in datatrove has them."""

from __future__ import annotations

from tasks.text.quality.measured import CHARACTERS_PER_WORD, Measured
from tasks.text.quality.rules import rule

SHORT_LINE_CHARACTERS = 30
_TERMINAL = tuple(".!?\"'”’»…。！？」』；：؟।॥။።։۔")
_NO_MARKS = frozenset({"th", "lo"})


@rule("fineweb: too few lines end in punctuation")
def fineweb_min_punctuated_lines(text: Measured, share: float) -> bool:
    """The paper: "Fraction of lines ending with punctuation <= 0.12". Not asked in Thai and Lao."""
    return text.language not in _NO_MARKS and sum(map(_ends, text.lines)) < share * len(text.lines)


@rule("fineweb: too many short lines")
def fineweb_max_short_lines(text: Measured, share: float) -> bool:
    """The paper: "Fraction of lines shorter than 30 characters >= 0.67"; without blanks, than 15."""
    short = SHORT_LINE_CHARACTERS if text.is_spaced else SHORT_LINE_CHARACTERS // CHARACTERS_PER_WORD
    return sum(len(line) <= short for line in text.lines) > share * len(text.lines)


@rule("fineweb: characters in repeated lines")
def fineweb_max_duplicate_characters(text: Measured, share: float) -> bool:
    """The paper: "Fraction of characters in duplicated lines >= 0.01": Gopher's measure, a stricter share."""
    return text.duplicate_lines[1] > share * sum(map(len, text.lines))


@rule("fineweb: too many lines for the words")
def fineweb_max_newlines_per_word(text: Measured, share: float) -> bool:
    """Lists: newlines to each word, 0.3 (datatrove's `list_ratio`; in the code of FineWeb, not in its paper)."""
    return len(text.lines) > 1 and text.share_of_words(len(text.lines) - 1) > share


def _ends(line: str) -> bool:
    return line.endswith(_TERMINAL)
