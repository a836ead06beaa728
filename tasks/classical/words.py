"""Words of any script, without a dictionary.

Where a script puts no blanks between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), each character is a token;
so a text that mixes scripts falls into the words of one and the characters of the other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cache

_BLANKLESS = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\uff66-\uff9f\U00020000-\U0003ffff"
)
_SAMPLE_CHARACTERS = 100_000
_NO_BLANK_BEFORE = re.compile(r"\s+([.,;:!?%)\]}»…])")
_NO_BLANK_AFTER = re.compile(r"([(\[{«])\s+")


def words(text: str, *, lower: bool = True) -> list[str]:
    """Words, single characters of scripts without blanks, and punctuation marks, in order."""
    return _token().findall(text.lower() if lower else text)


def word_spans(text: str) -> list[tuple[int, int]]:
    """(start, end) character offsets of what `words` finds, in the text as it is."""
    return [match.span() for match in _token().finditer(text)]


def is_word(token: str) -> bool:
    """Not a punctuation mark."""
    return any(char.isalnum() for char in token)


def blankless(texts: Iterable[str]) -> bool:
    """Whether most tokens of a sample of `texts`, evenly spread, are of a script without blanks."""
    texts = list(texts)
    step = max(1, sum(map(len, texts)) // _SAMPLE_CHARACTERS)
    sample = "".join(texts[::step])[:_SAMPLE_CHARACTERS]
    found = [token for token in words(sample) if is_word(token)]
    return 2 * sum(bool(re.match(f"[{_BLANKLESS}]", token)) for token in found) > len(found)


def joined(tokens: Sequence[str], *, blanks: bool) -> str:
    """The text that tokens make up: blanks between words, none before a full stop; or none at all."""
    if not blanks:
        return "".join(tokens)
    return _NO_BLANK_AFTER.sub(r"\1", _NO_BLANK_BEFORE.sub(r"\1", " ".join(tokens)))


@cache
def _token() -> re.Pattern[str]:
    """Python's \\w leaves out vowel signs: Hindi and Thai would fall to pieces."""
    marks = "".join(map(chr, filter(_is_mark, range(0x20000))))
    run = rf"[^\W{_BLANKLESS}]+"
    return re.compile(rf"[{_BLANKLESS}][{marks}]*|{run}(?:(?:[{marks}]+|['’](?=[^\W{_BLANKLESS}]))(?:{run})?)*|[^\w\s]")


def _is_mark(code: int) -> bool:
    return unicodedata.category(chr(code)) in ("Mn", "Mc")
