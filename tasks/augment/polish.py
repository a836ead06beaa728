"""What a moved word leaves wrong around it: capitals at the start, and English "a" and "an"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from bert_core.casing import capitalised
from tasks.augment.units import Unit

_AN = re.compile(
    r"[ai]|e(?!u|we)|o(?!ne\b|nce\b)|u(?!ni(?!n|m)|s[aeiu]|r[ieo]|t[eio])|hour|hono|honest|heir", re.IGNORECASE
)
"""Spelling that mostly sounds like a vowel: not "Europe", "one", "unit", "use", "urine", "utility"."""
_SENTENCE_ENDS = ".!?…"


def article(word: str) -> str:
    """The English indefinite article before `word`, by its spelling."""
    return "an" if _AN.match(word) else "a"


def starts_sentence(units: Sequence[Unit], position: int) -> bool:
    """Whether the unit at `position` is the first, or follows the end of a sentence, quotes and brackets apart."""
    for unit in reversed(units[:position]):
        if unit.kind != "fixed" or any(map(str.isalnum, unit.text)):
            return False
        if unit.text[-1] in _SENTENCE_ENDS:
            return True
    return True


def polished(units: Sequence[Unit], original: Sequence[Unit], language: str) -> list[Unit]:
    """`units` with a capital at the start if `original` had one, and "a" or "an" as what now follows it needs.

    Articles that stand before the same word as in `original` are left as their author wrote them. Entities and texts
    that begin with a mark or a digit are left alone.
    """
    result = list(units)
    if original and result and original[0].text[:1].isupper() and result[0].kind == "word":
        result[0] = result[0].saying(capitalised(result[0].text))
    if language == "en":
        seen = {(one.text, two.text) for one, two in pairwise(original)}
        for i, (unit, word) in enumerate(pairwise(tuple(result))):
            if unit.text.lower() in ("a", "an") and word.kind != "fixed" and (unit.text, word.text) not in seen:
                right = article(word.text)
                result[i] = unit.saying(capitalised(right) if unit.text[0] == "A" else right)
    return result
