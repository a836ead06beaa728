"""Changes of a text that leave its meaning: one function for all that a recipe can name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.augment import operations
from tasks.augment.characters import typos
from tasks.augment.operations import Rules
from tasks.augment.polish import polished
from tasks.augment.thesaurus import Thesaurus
from tasks.augment.units import Unit, is_unspaced, join, split
from tasks.behaviour.contractions import contracted, expanded
from tasks.behaviour.lexicons import SHIPPED
from tasks.behaviour.results import BehaviourError
from tasks.config.behaviour import (
    Casing,
    Contractions,
    Perturbation,
    Punctuation,
    Regex,
    Sentence,
    SynonymWords,
    Typos,
    Whitespace,
    Words,
)

MARKS = re.compile(r"[^\w\s'’-]|_")
_FINAL = re.compile(r"[^\w\s)\]\"'”’»]+(?=[)\]\"'”’»]*\s*$)")


@dataclass(frozen=True)
class Perturber:
    """Applies perturbations to the texts of an example. What comes out is a function of the arguments."""

    language: str = "en"
    thesaurus: Thesaurus | None = None

    def __call__(self, how: Perturbation, texts: Sequence[str], rng: np.random.Generator) -> list[str] | None:
        """The texts changed, those of one example together; None where the change does not apply.

        Raises:
            BehaviourError: it is for tagged tokens, or needs a thesaurus that was not handed in.
        """
        if isinstance(how, Words):
            changed = _swapped(texts, [*how.lists, *(each for name in how.shipped for each in SHIPPED[name])], rng)
        elif isinstance(how, Sentence):
            added = how.sentences[int(rng.integers(len(how.sentences)))]
            changed = with_phrase(texts, added, how.where)
        else:
            change = self._of_one(how, rng)
            changed = [change(text) for text in texts]
        return changed if changed != list(texts) and all(text.strip() for text in changed) else None

    def _of_one(self, how: Perturbation, rng: np.random.Generator) -> Callable[[str], str]:
        rules = Rules(language=self.language, min_words=1)
        match how:
            case Typos():
                return lambda text: self._in_units(text, lambda units: typos(units, how.rate, rng, rules))
            case SynonymWords():
                if self.thesaurus is None:
                    raise BehaviourError("perturbation synonyms needs a thesaurus: hand one in (tasks.augment)")
                source = self.thesaurus
                return lambda text: self._in_units(
                    text, lambda units: operations.synonyms(units, how.rate, rng, rules, source, lambda *_: True)
                )
            case Casing():
                return {"lower": str.lower, "upper": str.upper, "swap": str.swapcase, "title": _titled}[how.how]
            case Punctuation():
                return {"strip_final": _without_final, "remove": _without_marks, "double": _doubled}[how.how]
            case Whitespace():
                return _spaced
            case Contractions():
                return expanded if how.how == "expand" else contracted
            case Regex():
                return lambda text: re.sub(how.pattern, how.replacement, text)
        raise BehaviourError(f"perturbation {how.type} is not for plain texts")

    def _in_units(self, text: str, change: Callable[[list[Unit]], list[Unit] | None]) -> str:
        units, tail = split(text, self.thesaurus.phrases if self.thesaurus else ())
        changed = change(units)
        return text if changed is None else join(polished(changed, units, self.language), tail)


def with_phrase(texts: Sequence[str], phrase: str, where: str) -> list[str]:
    """A phrase at the start of the first text or the end of the last, with a blank between where the script has any."""
    result = list(texts)
    if where == "start":
        result[0] = _glued(phrase, result[0])
    else:
        result[-1] = _glued(result[-1], phrase)
    return result


def _glued(one: str, two: str) -> str:
    before, after = one.rstrip(), two.lstrip()
    is_dense = is_unspaced(after) and not before[-1:].isascii()
    return before + ("" if is_dense else " ") + after


def _swapped(texts: Sequence[str], lists: Sequence[Sequence[str]], rng: np.random.Generator) -> list[str]:
    """Each listed word, wherever in the texts, as the same other word of its list; two words never become one."""
    home = {word: words for words in lists for word in words}
    pattern = terms_pattern(home)
    found = list(dict.fromkeys(hit.group() for text in texts for hit in pattern.finditer(text)))
    become: dict[str, str] = {}
    for word in found:
        others = [other for other in home[word] if other not in found and other not in become.values()]
        if others:
            become[word] = others[int(rng.integers(len(others)))]
    return [pattern.sub(lambda hit: become.get(hit.group(), hit.group()), text) for text in texts]


def terms_pattern(terms: Iterable[str], flags: int = 0) -> re.Pattern[str]:
    """Any of the terms as a whole word; in scripts without blanks, anywhere. The longest of several counts."""
    ordered = sorted(terms, key=lambda term: (-len(term), term))
    return re.compile("|".join(map(_bounded, ordered)) or r"(?!)", flags)


def _bounded(term: str) -> str:
    before = r"(?<!\w)" if not is_unspaced(term[0]) and term[0].isalnum() else ""
    after = r"(?!\w)" if not is_unspaced(term[-1]) and term[-1].isalnum() else ""
    return before + re.escape(term) + after


def _titled(text: str) -> str:
    return re.sub(r"(?<![\w'’])[^\W\d_]", lambda found: found.group().upper(), text)


def _without_final(text: str) -> str:
    return _FINAL.sub("", text)


def _without_marks(text: str) -> str:
    """Apostrophes and hyphens within words stay."""
    words = MARKS.sub(" ", text)
    words = re.sub(r"(?<!\w)['’-]+|['’-]+(?!\w)", " ", words)
    return " ".join(words.split()) if words != text else text


def _doubled(text: str) -> str:
    return re.sub(r"([.,;:!?…。，！？])", r"\1\1", text)


def _spaced(text: str) -> str:
    return "  " + re.sub(r" +", lambda blanks: blanks.group() * 2, text) + " \n"
