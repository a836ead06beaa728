"""Rules of this project: length, and what is no prose."""

from __future__ import annotations

import re
import unicodedata

from tasks.text.quality.measured import Measured
from tasks.text.quality.rules import rule

_LETTERS = re.compile(r"[^\W\d_]+")
_MARKS = frozenset(".!?。！？…")
_TERMINAL = re.compile(r"[.!?…。！？؟।॥။།።՞։۔][\"'”’»)\]」』）]*$")


@rule("too short")
def min_characters(text: Measured, least: int) -> bool:
    """Fewer characters than `least`."""
    return len(text.text) < least


@rule("too long")
def max_characters(text: Measured, most: int) -> bool:
    """More characters than `most`."""
    return len(text.text) > most


@rule("few letters")
def min_letter_share(text: Measured, share: float) -> bool:
    """Tables, code, prices and rows of dashes: letters among the characters that are no blanks.

    Gopher asks that 80% of the words hold a letter (`gopher_min_alpha_words`); characters serve languages without
    blanks too. Marks count as letters: the vowels of Indic scripts are marks.
    """
    least = share * sum(map(len, text.text.split()))
    if text.is_spaced and text.alpha_characters >= least:
        return False
    if sum(map(len, _LETTERS.findall(text.text))) >= least:  # the usual case, without a look at each character
        return False
    return sum(unicodedata.category(char)[0] in "LM" for char in text.text) < least


@rule("no sentences")
def min_sentenced_share(text: Measured, share: float) -> bool:
    """A page's main text that is a list: links, titles, a table of contents.

    C4 keeps only lines that end in a terminal mark (`c4_terminal_punctuation`); here characters in such lines are
    weighed against all, so that headings inside prose stay. The marks are those of many scripts; Thai and Lao have
    none, and are not asked.
    """
    if text.language in ("th", "lo"):
        return False
    ended = sum(
        len(line) for line in text.lines if line[-1:] in _MARKS or _TERMINAL.search(line, max(0, len(line) - 8))
    )
    return ended < share * sum(map(len, text.lines))
