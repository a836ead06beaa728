"""Regular English endings: taken off a word to find its base, and put on another so that it fits in the same place."""

from __future__ import annotations

from collections.abc import Iterator

_VOWELS = "aeiou"
_ENDINGS = {"n": ("s",), "v": ("s", "ed", "ing"), "a": (), "r": ()}
"""Part of speech -> regular endings; comparatives are left alone."""


def forms_of(word: str, part: str) -> Iterator[tuple[str, str]]:
    """(base, ending) of which `word` could be the inflected form: of "tries" ("try", "s") and ("trie", "s")."""
    for ending in _ENDINGS[part]:
        for base in _bases(word, ending):
            if inflected(base, ending) == word:
                yield base, ending


def inflected(base: str, ending: str, is_irregular: bool = False) -> str | None:
    """`base` with a regular `ending` of "", "s", "ed", "ing"; None for a word that takes another or none.

    A final consonant is doubled only in words of one syllable ("stop": "stopped"; "offer": "offered").
    """
    if not ending:
        return base
    if is_irregular:
        return None
    if ending == "s":
        if base.endswith("s") and not base.endswith("ss"):
            return None  # "athletics" is one already
        if base.endswith(("ss", "x", "z", "ch", "sh")):
            return base + "es"
        return base[:-1] + "ies" if _consonant_y(base) else base + "s"
    if ending == "ed" and _consonant_y(base):
        return base[:-1] + "ied"
    if ending == "ed" and base.endswith("e"):
        return base + "d"
    if base.endswith("ie"):
        return base[:-2] + "ying"
    if base.endswith("e") and not base.endswith(("ee", "oe", "ye")):
        return base[:-1] + ending
    return base + (base[-1] if _doubles(base) else "") + ending


def _bases(word: str, ending: str) -> set[str]:
    """Everything that could be in front of the ending."""
    stem = word.removesuffix(ending)
    if stem == word or len(stem) < 2:
        return set()
    found = {stem, stem + "e"}
    if ending == "s":
        found |= {stem.removesuffix("e"), stem.removesuffix("ie") + "y"}
    if ending == "ed":
        found |= {stem + "e", stem.removesuffix("i") + "y"}
    if ending == "ing":
        found.add(stem.removesuffix("y") + "ie")
    if stem[-1:] == stem[-2:-1]:
        found.add(stem[:-1])
    return found


def _consonant_y(base: str) -> bool:
    return base.endswith("y") and base[-2:-1] not in _VOWELS


def _doubles(base: str) -> bool:
    syllables = sum(here in _VOWELS and before not in _VOWELS for before, here in zip(" " + base, base, strict=False))
    return (
        syllables == 1
        and len(base) > 2
        and base[-1] not in "aeiouwxy"
        and base[-2] in _VOWELS
        and base[-3] not in _VOWELS
    )
