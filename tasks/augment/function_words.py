"""Words that carry grammar or turn a meaning round, by language."""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from functools import cache

NEGATIONS = {
    "en": (
        "no not never none nobody nothing nowhere neither nor without hardly barely scarcely seldom rarely lack lacks "
        "lacking lacked fail fails failed cannot cant dont doesnt didnt isnt wasnt wont wouldnt couldnt aint"
    ),
    "de": "nicht kein keine keiner keines keinem keinen nie niemals niemand nichts nirgends weder noch ohne kaum",
    "fr": "ne pas non jamais rien personne aucun aucune sans ni guère plus",
    "es": "no nunca jamás nada nadie ningún ninguno ninguna ni sin tampoco apenas",
    "pt": "não nunca jamais nada ninguém nenhum nenhuma nem sem tampouco",
    "it": "no non mai niente nulla nessuno nessuna né senza neanche",
    "zh": "不 没 沒 无 無 非 未 别 別 莫 勿 否 毋 没有 不是 不会 不能",
    "ja": "ない 無 不 非 未",
}
"""Without one of these a text says the opposite."""


@cache
def negations(language: str) -> frozenset[str]:
    return frozenset(NEGATIONS.get(language, "").split())


def is_negation(word: str, language: str) -> bool:
    """Whether `word` negates: one of the list, or English with n't."""
    lower = word.lower().replace("’", "'")
    return lower in negations(language) or (language == "en" and lower.endswith("n't"))


@cache
def function_words(language: str) -> frozenset[str]:
    """spaCy's stop words of the language, lower case; none where it has no list."""
    try:
        words: Iterable[str] = importlib.import_module(f"spacy.lang.{language}.stop_words").STOP_WORDS
    except ModuleNotFoundError:
        words = ()
    return frozenset(word.lower().replace("’", "'") for word in words)
