"""Changed copies of rows, by one method: before anything is checked."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np

from bert_core.config import Task
from tasks.augment import operations
from tasks.augment.characters import typos
from tasks.augment.examples import Row, changeable
from tasks.augment.operations import Rules
from tasks.augment.polish import polished
from tasks.augment.thesaurus import Thesaurus
from tasks.augment.units import Unit, join, split, tagged, untagged
from tasks.config.augment import (
    AnyMethod,
    BackTranslation,
    Characters,
    Deletion,
    Entities,
    Insertion,
    Substitution,
    Swap,
    Synonyms,
)

SPLIT_TEXTS = 20_000  # some 5 kB each

Substitute = Callable[[Sequence[str], np.random.Generator], Sequence[str]]
Translate = Callable[[Sequence[str]], Sequence[str]]


class AugmentError(ValueError):
    """A method that this task, or this call, cannot have; the message says which, and what to do."""


@dataclass(frozen=True)
class Draft:
    """A copy of row `row`, with other values in some columns; `reason` says why there is none."""

    row: int
    values: Mapping[str, object]
    reason: str = ""


@dataclass(frozen=True)
class Drafter:
    """Makes drafts of `rows`. Each is a function of the seed, the method, the copy's number and the example's id."""

    task: Task
    rows: Sequence[Row]
    rules: Rules
    seed: int
    thesaurus: Thesaurus | None = None
    substitute: Substitute | None = None
    translate: tuple[Translate, Translate] | None = None

    def drafts(self, method: AnyMethod, number: int, copy: int) -> list[Draft]:
        """One for each row, in order.

        Args:
            number: the method's place in the recipe, so that two of a kind draw differently.

        Raises:
            AugmentError: the method needs what is not there.
        """
        if isinstance(method, Substitution | BackTranslation):
            return self._by_model(method, number, copy)
        if isinstance(method, Entities) and (self.task.type != "token" or self.task.scheme != "bio"):
            raise AugmentError("method entities is for token tasks with scheme bio: take it out of augment.methods")
        return [self._by_hand(method, i, self._rng(number, copy, row["id"])) for i, row in enumerate(self.rows)]

    def _by_hand(self, method: AnyMethod, i: int, rng: np.random.Generator) -> Draft:
        row = self.rows[i]
        column = self._column(row, rng)
        if column is None:
            return Draft(i, {}, "nothing_to_change")
        if self.task.type == "token":
            before, tail = tagged(row["tokens"], row["tags"], self.task.scheme), ""
        else:
            before, tail = self._split(row[column])
        after = self._changed(method, before, rng)
        if after is None:
            return Draft(i, {}, "nothing_to_change")
        after = polished(after, before, self.rules.language)
        if self.task.type == "token":
            tokens, tags = untagged(after)
            return Draft(i, {"tokens": tokens, "tags": tags})
        return Draft(i, {column: join(after, tail)})

    def _changed(self, method: AnyMethod, units: Sequence[Unit], rng: np.random.Generator) -> list[Unit] | None:
        rate, rules = method.rate, self.rules
        if isinstance(method, Swap):
            return operations.swap(units, rate, rng, rules, method.max_distance)
        if isinstance(method, Deletion):
            return operations.deletion(units, rate, rng, rules)
        if isinstance(method, Characters):
            return typos(units, rate, rng, rules, method.typos, method.min_characters)
        if isinstance(method, Entities):
            return operations.entities(units, rate, rng, self._entities)
        if isinstance(method, Insertion) and method.words == "own":
            return operations.insertion_of_own(units, rate, rng, rules)
        operation = operations.synonyms if isinstance(method, Synonyms) else operations.insertion
        if self.thesaurus is None:
            raise AugmentError(f"method {method.type} needs a thesaurus: set augment.thesaurus")
        return operation(units, rate, rng, rules, self.thesaurus, self._fits)

    @cached_property
    def _split(self) -> Callable[[str], tuple[list[Unit], str]]:
        """`units.split`, which the copies of an example share."""
        phrases = self.thesaurus.phrases if self.thesaurus else frozenset()
        return lru_cache(maxsize=SPLIT_TEXTS)(lambda text: split(text, phrases))

    def _by_model(self, method: Substitution | BackTranslation, number: int, copy: int) -> list[Draft]:
        if isinstance(method, BackTranslation) and self.task.type == "token":
            raise AugmentError("method back_translation loses the tokens' tags: take it out of augment.methods")
        columns = [self._column(row, self._rng(number, copy, row["id"])) for row in self.rows]
        chosen = [(i, column) for i, column in enumerate(columns) if column is not None]
        texts = [self._text(self.rows[i][column]) for i, column in chosen]
        changed = iter(self._rewritten(method, texts, number, copy))
        drafts = []
        for i, column in enumerate(columns):
            if column is None:
                drafts.append(Draft(i, {}, "nothing_to_change"))
            elif column == "tokens":
                drafts.append(self._in_tokens(i, next(changed)))
            else:
                drafts.append(Draft(i, {column: next(changed)}))
        return drafts

    def _rewritten(self, method: Substitution | BackTranslation, texts: list[str], number: int, copy: int) -> list[str]:
        if isinstance(method, Substitution):
            if self.substitute is None:
                raise AugmentError("method mlm needs a model: hand in substitute, for example MlmSubstitution(folder)")
            changed = list(self.substitute(texts, self._rng(number, copy, "")))
        else:
            if self.translate is None:
                raise AugmentError("method back_translation needs two models: hand in translate = (there, back)")
            there, back = self.translate
            changed = list(back(there(texts)))
        if len(changed) != len(texts):
            raise AugmentError(f"method {method.type}: {len(changed)} texts came back for {len(texts)}")
        return changed

    def _in_tokens(self, i: int, text: str) -> Draft:
        """Word for word; tokens of entities stay, as another word may be of another type or none."""
        row, words = self.rows[i], text.split(" ")
        if len(words) != len(row["tokens"]) or not all(words):
            return Draft(i, {}, "tokens_lost")
        bio = self.task.type == "token" and self.task.scheme == "bio"
        triples = zip(words, row["tokens"], row["tags"], strict=True)
        kept = [
            word if (tag == "O" if bio else word == token or self._fits(word, tag)) else token
            for word, token, tag in triples
        ]
        return Draft(i, {"tokens": kept, "tags": row["tags"]})

    @staticmethod
    def _text(value: str | Sequence[str]) -> str:
        return value if isinstance(value, str) else " ".join(value)

    def _column(self, row: Row, rng: np.random.Generator) -> str | None:
        columns = changeable(self.task, row)
        return columns[int(rng.integers(len(columns)))] if columns else None

    def _rng(self, number: int, copy: int, id: str) -> np.random.Generator:
        key = int.from_bytes(hashlib.blake2b(id.encode(), digest_size=8).digest())
        return np.random.default_rng([self.seed, number, copy, key])

    def _fits(self, word: str, tag: str) -> bool:
        """BIO: no word that is an entity anywhere in training; plain: one that training has under this very tag."""
        tags = self._tags_of[word.lower()]
        if self.task.type == "token" and self.task.scheme == "plain":
            return tags.most_common(1)[0][0] == tag if tags else False
        return not set(tags) - {"O"}

    @cached_property
    def _tags_of(self) -> defaultdict[str, Counter[str]]:
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for row in self.rows:
            for token, tag in zip(row["tokens"], row["tags"], strict=True):
                found[token.lower()][tag] += 1
        return found

    @cached_property
    def _entities(self) -> dict[str, list[tuple[str, ...]]]:
        """Type -> the entities of it, each once, in the order of the rows."""
        found: defaultdict[str, dict[tuple[str, ...], None]] = defaultdict(dict)
        for row in self.rows:
            for unit in tagged(row["tokens"], row["tags"], "bio"):
                if unit.kind == "entity":
                    found[unit.tags[0][2:]][unit.tokens] = None
        return {name: list(tokens) for name, tokens in found.items()}
