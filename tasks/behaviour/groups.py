"""Terms that name groups of people, found in a text and exchanged for those of another group."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

from bert_core.casing import match_case
from tasks.augment.function_words import function_words
from tasks.augment.polish import article
from tasks.behaviour.lexicons import AXES
from tasks.behaviour.perturb import terms_pattern
from tasks.config.behaviour import BiasConfig, Terms

_NEXT = re.compile(r"\s+([^\W\d_][\w'’-]*)(?:\s+([^\W\d_][\w'’-]*))?")
_OPENERS = (
    "own first second third last next other two three four five several many few most very more less least best better "
    "full whole entire part name top back front side every same such various former latter amount"
)
_OPEN_NOUN_PHRASE = frozenset(_OPENERS.split())
"""Function words after which "her" is still "his": her own, her first."""


@dataclass(frozen=True)
class Axis:
    """One way of telling groups apart, such as gender."""

    name: str
    groups: Terms

    @property
    def pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.groups, 2))

    @cached_property
    def _group_of(self) -> dict[str, tuple[str, int]]:
        """Term, in lower case unless it is a name -> its group and place."""
        return {_key(term): (group, i) for group, terms in self.groups.items() for i, term in enumerate(terms)}

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        terms = terms_pattern([term for terms in self._terms.values() for term in terms])
        return re.compile(rf"(?:(?P<article>\ban?)(?P<blank>\s+))?(?P<term>{terms.pattern})", re.IGNORECASE)

    @cached_property
    def _terms(self) -> Terms:
        """With "his" and "hers", which have no place of their own, for gender."""
        more = {"male": ("his",), "female": ("hers",)} if self.name == "gender" else {}
        return {group: (*terms, *more.get(group, ())) for group, terms in self.groups.items()}

    def mentioned(self, text: str) -> frozenset[str]:
        """The groups of which the text has a term. A name counts only with its capital."""
        found = (self._group(hit["term"]) for hit in self._pattern.finditer(text))
        return frozenset(group for group in found if group is not None)

    def exchanged(self, text: str, one: str, other: str) -> str:
        """The text with every term of `one` as that of `other` in its place, and the other way round; case is kept.

        English "her" is "his" before a noun phrase and "him" elsewhere, by the words that follow; "his" is "her" or
        "hers" likewise. A verb after "her" ("saw her leave") is taken for a noun: without a parser nobody can tell.
        """
        return self._pattern.sub(lambda hit: self._other(text, hit, one, other), text)

    def _other(self, text: str, hit: re.Match[str], one: str, other: str) -> str:
        term = hit["term"]
        group = self._group(term)
        if group not in (one, other):
            return hit.group()
        new = self._opposite(term, text[hit.end() :], group, other if group == one else one)
        if hit["article"] is None:
            return new
        return match_case(article(new), hit["article"]) + hit["blank"] + new

    def _opposite(self, term: str, following: str, group: str, target: str) -> str:
        """The term of the group `target` in the place of one of `group`, before the text `following`."""
        lower = term.lower()
        if self.name == "gender" and {group, target} == {"male", "female"} and lower in ("his", "her", "hers"):
            return match_case(_pronoun(lower, following), term)
        terms = self.groups[target]
        place = self._group_of[term if term in self._group_of else lower][1]
        return match_case(terms[place % len(terms)], term)

    def _group(self, term: str) -> str | None:
        if self.name == "gender" and term.lower() in ("his", "hers"):
            return "male" if term.lower() == "his" else "female"
        found = self._group_of.get(term) or self._group_of.get(term.lower())
        return found[0] if found else None


def axes_of(config: BiasConfig) -> list[Axis]:
    """The shipped axes, each with the recipe's additions, then those of the recipe alone."""
    names = [*config.shipped, *(name for name in config.axes if name not in config.shipped)]
    axes = []
    for name in names:
        base: Terms = AXES[name] if name in config.shipped else {}
        more = config.axes.get(name, {})
        merged = {group: (*base.get(group, ()), *more.get(group, ())) for group in {**base, **more}}
        axes.append(Axis(name, merged))
    return axes


def _key(term: str) -> str:
    return term if term[:1].isupper() else term.lower()


def _pronoun(term: str, following: str) -> str:
    """For his, her or hers what the other gender has in its place."""
    if term == "hers":
        return "his"
    is_determiner = _noun_follows(following)
    if term == "his":
        return "her" if is_determiner else "hers"
    return "his" if is_determiner else "him"


def _noun_follows(following: str) -> bool:
    """Whether a word that can begin or end a noun phrase stands right after."""
    found = _NEXT.match(following)
    if found is None:
        return False
    word, second = found.group(1).lower(), found.group(2)
    if word.endswith("ly") and len(word) > 4:
        return second is not None and second.lower() not in function_words("en")
    return word in _OPEN_NOUN_PHRASE or word not in function_words("en")
