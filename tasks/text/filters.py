"""Quality filters. Each takes a text and the recipe's section and gives the reason to drop it, or None."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from tasks.config import CleanConfig

_NOT_WORD = re.compile(r"[\W_]+")
_LETTER = re.compile(r"[^\W\d_]")
_NUMBER = re.compile(r"\d+")
_TERMINAL = re.compile(r"[.!?…。！？][\"'”’»)\]]*$")


def empty(text: str, config: CleanConfig) -> str | None:
    return None if text else "empty text"


def too_short(text: str, config: CleanConfig) -> str | None:
    return "too short" if len(text) < config.min_characters else None


def too_long(text: str, config: CleanConfig) -> str | None:
    return "too long" if len(text) > config.max_characters else None


def few_letters(text: str, config: CleanConfig) -> str | None:
    """Tables, code, prices and rows of dashes.

    Gopher (Rae et al., arXiv 2112.11446, table A1) asks that 80% of the words hold a letter; characters serve
    languages without blanks too. Marks count as letters: the vowels of Indic scripts are marks.
    """
    least = config.min_letter_share * len("".join(text.split()))
    if len(_LETTER.findall(text)) >= least:  # the usual case, ten times faster than asking each character
        return None
    letters = sum(unicodedata.category(char)[0] in "LM" for char in text)
    return "few letters" if letters < least else None


def repeated_lines(text: str, config: CleanConfig) -> str | None:
    """Lines that occurred before in the same document (Gopher, arXiv 2112.11446, table A1: at most 30%)."""
    lines = text.split("\n")
    repeats = len(lines) - len(set(lines))
    return "repeated lines" if repeats > config.max_repeated_line_share * len(lines) else None


def unsentenced(text: str, config: CleanConfig) -> str | None:
    """A page's main text that is a list: links, titles, a table of contents.

    C4 (Raffel et al., arXiv 1910.10683, section 2.2) keeps only lines that end in a terminal punctuation mark; here a
    page goes when less than half of its characters are in such lines, so that headings inside prose stay.
    """
    ended = sum(len(line) for line in text.split("\n") if _TERMINAL.search(line))
    return "no sentences" if 2 * ended < len(text.replace("\n", "")) else None


def bad_label(label: str | None, config: CleanConfig) -> str | None:
    """A label that the recipe reads and the page lacks (""), or one that the recipe does not list."""
    if label == "":
        return "no label"
    if label is not None and config.labels and label not in config.labels:
        return "unknown label"
    return None


def wrong_language(language: str, score: float, config: CleanConfig) -> str | None:
    if language != config.language:
        return "wrong language"
    return "uncertain language" if score < config.min_language_score else None


Filter = Callable[[str, CleanConfig], str | None]
QUALITY: tuple[Filter, ...] = (empty, too_short, too_long, few_letters, repeated_lines)


def quality(text: str, config: CleanConfig, filters: Sequence[Filter] = QUALITY) -> str | None:
    """The reason of the first filter that objects."""
    return next((reason for check in filters if (reason := check(text, config))), None)


class LineCounts:
    """On how many pages each line stands: navigation, footers and notices of cookies stand on many.

    As CCNet does for paragraphs (Wenzek et al., arXiv 1911.00359, section 3.1), lines are compared by their letters and
    digits alone, in lower case and with every number taken for 0.
    """

    def __init__(self) -> None:
        self._pages: Counter[bytes] = Counter()

    def add_page(self, lines: Iterable[str]) -> None:
        """Count the lines of a whole page, each once."""
        self._pages.update({_line_key(line) for line in lines})

    def own(self, text: str, config: CleanConfig) -> str:
        """The text without its lines that stand on at least `boilerplate_pages` pages."""
        limit = config.boilerplate_pages
        return "\n".join(line for line in text.split("\n") if self._pages[_line_key(line)] < limit)


def _line_key(line: str) -> bytes:
    plain = _NUMBER.sub("0", _NOT_WORD.sub("", line.lower()))
    return hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=8).digest()
