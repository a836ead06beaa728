"""Easy data augmentation (Wei and Zou, 2019, arXiv:1901.11196) and the exchange of entities, on units.

Each operation takes units, returns others, and leaves its argument alone; None where there is nothing that it could
change. Entities move as a whole and are never left out, so tags stay legal BIO. Unlike the paper's, a deletion leaves
out the number that `how_many` says, not each word with that probability, which leaves most short texts as they were.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bert_core.casing import capitalised, match_case
from tasks.augment.function_words import function_words, is_negation
from tasks.augment.polish import starts_sentence
from tasks.augment.units import Unit, is_unspaced

Synonymous = Callable[[str], Sequence[str]]
"""A word in lower case -> words that can take its place; none: ()."""
Fits = Callable[[str, str], bool]
"""Whether a word can stand under a tag."""


@dataclass(frozen=True)
class Rules:
    """Which words may be changed."""

    language: str = "en"
    keep_negations: bool = True
    protected: frozenset[str] = frozenset()
    """in lower case"""
    min_words: int = 4
    lower_case: frozenset[str] | None = None
    """Words that the training side has in lower case: others that begin a sentence are names. None: not known."""

    def may_change(self, unit: Unit) -> bool:
        lower = unit.text.lower()
        negates = self.keep_negations and is_negation(unit.text, self.language)
        return unit.kind == "word" and lower not in self.protected and not negates

    def is_name(self, units: Sequence[Unit], position: int) -> bool:
        """Whether its capital says name: it does within a sentence, but in German."""
        word = units[position].text
        if not word[:1].isupper():
            return False
        if not starts_sentence(units, position):
            return self.language != "de"
        return self.lower_case is not None and word.lower() not in self.lower_case

    def within_sentence(self, units: Sequence[Unit], position: int) -> str:
        """The unit's text as it is written where no sentence begins."""
        text = units[position].text
        stays = text == "I" or text[:2] in ("I'", "I’") or text[1:2].isupper() or units[position].kind != "word"
        if stays or not starts_sentence(units, position) or self.is_name(units, position):
            return text
        return text[:1].lower() + text[1:]


def how_many(rate: float, words: int) -> int:
    """`rate` of so many words, one at least."""
    return max(1, round(rate * words))


def swap(
    units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules, max_distance: int | None = None
) -> list[Unit] | None:
    """Two words, or entities, change places, again and again; negations stay where they are."""
    places = [i for i, unit in enumerate(units) if unit.kind == "entity" or rules.may_change(unit)]
    if len(places) < max(2, rules.min_words):
        return None
    result = list(units)
    for _ in range(how_many(rate, len(places))):
        first = int(rng.integers(len(places)))
        reach = len(places) if max_distance is None else max_distance
        others = [j for j in range(max(0, first - reach), min(len(places), first + reach + 1)) if j != first]
        i, j = sorted((places[first], places[int(rng.choice(others))]))
        result[i], result[j] = _exchanged(result, i, j, rules)
    return result


def _exchanged(units: Sequence[Unit], i: int, j: int, rules: Rules) -> tuple[Unit, Unit]:
    """The units for the places i < j, each with the blanks of its new place; a sentence still begins with a capital."""
    one, two = replace(units[j], before=units[i].before), replace(units[i], before=units[j].before)
    if starts_sentence(units, i) and units[i].kind == "word" == units[j].kind and units[i].text[:1].isupper():
        one, two = one.saying(capitalised(one.text)), two.saying(rules.within_sentence(units, i))
    return one, two


def deletion(units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules) -> list[Unit] | None:
    """Words are left out; not one between two marks without blanks, such as "(word)", which would leave "()"."""
    places = [i for i, unit in enumerate(units) if rules.may_change(unit) and not _enclosed(units, i)]
    if len(places) < max(2, rules.min_words):
        return None
    gone = set(rng.choice(places, min(how_many(rate, len(places)), len(places) - 1), replace=False).tolist())
    return without(units, gone)


def without(units: Sequence[Unit], gone: set[int]) -> list[Unit]:
    """The units but those at the places `gone`; the text begins with the same blanks, and no mark comes first.

    A comma or dash that would then follow another mark, or begin the text, goes too.
    """
    kept: list[Unit] = []
    for i, unit in enumerate(units):
        if i in gone:
            continue
        loose = unit.kind == "fixed" and unit.text in ",;:" and not unit.tags and i - 1 in gone
        if loose and (not kept or kept[-1].kind == "fixed"):
            continue
        kept.append(unit)
    if kept and units:
        kept[0] = replace(kept[0], before=units[0].before)
    return kept


def _enclosed(units: Sequence[Unit], i: int) -> bool:
    before = i > 0 and units[i - 1].kind == "fixed" and not units[i].before
    after = i + 1 < len(units) and units[i + 1].kind == "fixed" and not units[i + 1].before
    return before and after and not units[i].tags and not is_unspaced(units[i].text)


def synonyms(
    units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules, synonymous: Synonymous, fits: Fits
) -> list[Unit] | None:
    """Words that have synonyms, and are neither function words nor names, give way to one of them."""
    candidates = _with_synonyms(units, rules, synonymous, fits)
    words = sum(unit.kind == "word" for unit in units)
    if not candidates or words < rules.min_words:
        return None
    chosen = rng.choice(sorted(candidates), min(how_many(rate, words), len(candidates)), replace=False)
    result = list(units)
    for i in chosen.tolist():
        word = candidates[i][int(rng.integers(len(candidates[i])))]
        result[i] = result[i].saying(match_case(word, result[i].text))
    return result


def insertion(
    units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules, synonymous: Synonymous, fits: Fits
) -> list[Unit] | None:
    """A synonym of a word of the text is put before any word or entity, again and again, under that word's tag."""
    return _inserted(units, rate, rng, rules, _with_synonyms(units, rules, synonymous, fits))


def insertion_of_own(units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules) -> list[Unit] | None:
    """The same with the words of the text themselves."""
    own = {i: (rules.within_sentence(units, i),) for i, unit in enumerate(units) if _has_content(unit, rules)}
    return _inserted(units, rate, rng, rules, own)


def _inserted(
    units: Sequence[Unit], rate: float, rng: np.random.Generator, rules: Rules, words: Mapping[int, Sequence[str]]
) -> list[Unit] | None:
    count = sum(unit.kind == "word" for unit in units)
    if not words or count < rules.min_words:
        return None
    sources, result = sorted(words), list(units)
    for _ in range(how_many(rate, count)):
        source = sources[int(rng.integers(len(sources)))]
        word = units[source].saying(words[source][int(rng.integers(len(words[source])))])
        places = [i for i, unit in enumerate(result) if unit.kind != "fixed"]
        place = places[int(rng.integers(len(places)))]
        following = result[place]
        is_tight = bool(following.tags) or (is_unspaced(word.text) and is_unspaced(following.text))
        after = replace(following, before="" if is_tight else " ")
        if starts_sentence(result, place) and following.text[:1].isupper() and following.kind == "word":
            word = word.saying(capitalised(word.text))
            after = after.saying(rules.within_sentence(result, place))
        result[place : place + 1] = [replace(word, before=following.before), after]
    return result


def _has_content(unit: Unit, rules: Rules) -> bool:
    """Whether it may be changed and is no function word."""
    return rules.may_change(unit) and unit.text.lower().replace("’", "'") not in function_words(rules.language)


def _with_synonyms(
    units: Sequence[Unit], rules: Rules, synonymous: Synonymous, fits: Fits
) -> dict[int, tuple[str, ...]]:
    """Place -> words that can stand there; names are left alone."""
    found: dict[int, tuple[str, ...]] = {}
    for i, unit in enumerate(units):
        lower = unit.text.lower()
        if rules.is_name(units, i) or not _has_content(unit, rules):
            continue
        words = tuple(word for word in synonymous(lower) if word.lower() != lower)
        if unit.tags:
            words = tuple(word for word in words if " " not in word and fits(word, unit.tags[0]))
        if words:
            found[i] = words
    return found


def entities(
    units: Sequence[Unit], rate: float, rng: np.random.Generator, of_type: Mapping[str, Sequence[tuple[str, ...]]]
) -> list[Unit] | None:
    """Entities give way to others of their type.

    Args:
        of_type: the tokens of every entity, by its type.
    """
    places = [i for i, unit in enumerate(units) if unit.kind == "entity" and len(of_type[unit.tags[0][2:]]) > 1]
    if not places:
        return None
    result = list(units)
    for i in rng.choice(places, min(how_many(rate, len(places)), len(places)), replace=False).tolist():
        name = units[i].tags[0][2:]
        others = [tokens for tokens in of_type[name] if tokens != units[i].tokens]
        if others:
            result[i] = entity(others[int(rng.integers(len(others)))], name)
    return result


def entity(tokens: Sequence[str], name: str) -> Unit:
    """The unit of an entity: tagged B-name, I-name, ..."""
    return Unit(tuple(tokens), "entity", (f"B-{name}", *(f"I-{name}" for _ in tokens[1:])))
