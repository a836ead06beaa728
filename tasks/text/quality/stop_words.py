"""The words that no longer text of a language can do without."""

from __future__ import annotations

import importlib
import re
from functools import cache

GOPHER = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
"""English: arXiv 2112.11446, appendix A.1.1."""


@cache
def stop_words(language: str) -> frozenset[str]:
    """In lower case: Gopher's for English, spaCy's list for its other languages; empty where there is none.

    spaCy's lists have some hundred words where Gopher's has eight, so "at least two of them" asks for less there.
    """
    if language == "en":
        return GOPHER
    if not re.fullmatch("[a-z]{2,3}", language):
        return frozenset()
    try:
        module = importlib.import_module(f"spacy.lang.{language}.stop_words")
    except ModuleNotFoundError:
        return frozenset()
    return frozenset(word.lower() for word in module.STOP_WORDS)
