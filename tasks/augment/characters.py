"""Mistyped words: one wrong character each, as fingers make them on a keyboard (Belinkov and Bisk, 2018,
arXiv:1711.02173)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tasks.augment.operations import Rules, how_many
from tasks.augment.units import Unit, is_unspaced
from tasks.config.augment import Typo

ALL_TYPOS: tuple[Typo, ...] = ("keyboard", "swap", "drop", "double")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_MIN_LETTERS = 2


def _neighbours() -> dict[str, str]:
    """Each key of QWERTY -> those that touch it; a row is half a key to the right of the one above."""
    at = {(row, column): key for row, keys in enumerate(_ROWS) for column, key in enumerate(keys)}
    around = ((0, -1), (0, 1), (-1, 0), (-1, 1), (1, -1), (1, 0))
    return {
        key: "".join(at[y + dy, x + dx] for dy, dx in around if (y + dy, x + dx) in at) for (y, x), key in at.items()
    }


NEIGHBOURS = _neighbours()


def mistyped(word: str, typo: Typo, rng: np.random.Generator) -> str:
    """`word` with one typo, never in its first character; as it was where none of this kind is possible.

    keyboard: a letter gives way to a neighbour on QWERTY; swap: two that differ change places; drop: one is left out;
    double: one is typed twice. Apostrophes and hyphens stay.
    """
    places = [i for i in range(1, len(word)) if word[i].isalpha()]
    if typo == "keyboard":
        places = [i for i in places if word[i].lower() in NEIGHBOURS]
    if typo == "swap":
        places = [i for i in places if i + 1 in places and word[i] != word[i + 1]]
    if not places or len(word) < _MIN_LETTERS:
        return word
    i = places[int(rng.integers(len(places)))]
    if typo == "keyboard":
        near = NEIGHBOURS[word[i].lower()]
        key = near[int(rng.integers(len(near)))]
        return word[:i] + (key.upper() if word[i].isupper() else key) + word[i + 1 :]
    if typo == "swap":
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    return word[:i] + word[i + 1 :] if typo == "drop" else word[:i] + word[i] + word[i:]


def typos(
    units: Sequence[Unit],
    rate: float,
    rng: np.random.Generator,
    rules: Rules,
    kinds: Sequence[Typo] = ALL_TYPOS,
    min_characters: int = 4,
) -> list[Unit] | None:
    """`rate` of the words mistyped; None where no word is long enough. Entities too, one token each.

    In scripts without blanks a unit is a character: it changes places with the next, is left out or written twice.
    """
    places = [i for i, unit in enumerate(units) if _can(unit, rules, min_characters)]
    if not places:
        return None
    gone: set[int] = set()
    chosen = rng.choice(places, how_many(rate, len(places)), replace=False)
    result = list(units)
    for i in sorted(chosen.tolist()):
        typo = kinds[int(rng.integers(len(kinds)))]
        if _is_character(units[i]):
            _of_characters(result, gone, i, typo, rules)
        else:
            result[i] = _of_word(units[i], typo, kinds, rng, min_characters)
    kept = [unit for i, unit in enumerate(result) if i not in gone]
    return kept if kept and kept != list(units) else None


def _can(unit: Unit, rules: Rules, min_characters: int) -> bool:
    if unit.kind == "entity":
        return any(_long(token, min_characters) for token in unit.tokens)
    return rules.may_change(unit) and (_is_character(unit) or _long(unit.text, min_characters))


def _long(word: str, min_characters: int) -> bool:
    return sum(map(str.isalpha, word)) >= (_MIN_LETTERS if is_unspaced(word) else min_characters)


def _is_character(unit: Unit) -> bool:
    return unit.kind == "word" and is_unspaced(unit.text) and sum(map(str.isalpha, unit.text)) < _MIN_LETTERS


def _of_word(unit: Unit, typo: Typo, kinds: Sequence[Typo], rng: np.random.Generator, min_characters: int) -> Unit:
    """With one token mistyped, by another kind of typo where this one is impossible."""
    places = [i for i, token in enumerate(unit.tokens) if _long(token, min_characters)]
    at = places[int(rng.integers(len(places)))]
    for kind in (typo, *kinds):
        word = mistyped(unit.tokens[at], kind, rng)
        if word != unit.tokens[at]:
            return replace(unit, tokens=(*unit.tokens[:at], word, *unit.tokens[at + 1 :]))
    return unit


def _of_characters(units: list[Unit], gone: set[int], i: int, typo: Typo, rules: Rules) -> None:
    """One character's typo, in place; a place that is left out is noted in `gone`, and one always stays."""
    following = i + 1 < len(units) and _is_character(units[i + 1]) and rules.may_change(units[i + 1])
    if typo == "drop" and len(units) - len(gone) > 1 and not units[i].before:
        gone.add(i)
    elif typo == "swap" and following and not units[i + 1].before:
        units[i], units[i + 1] = (
            replace(units[i + 1], before=units[i].before),
            replace(units[i], before=units[i + 1].before),
        )
    elif not units[i].tags:
        units[i] = units[i].saying(units[i].text * 2)
