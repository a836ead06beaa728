"""The examples of which a behaviour test is made: templates filled in, and changed copies of what there is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bert_core.config import Task
from tasks.augment import operations
from tasks.augment.characters import typos
from tasks.augment.operations import Rules
from tasks.augment.polish import article
from tasks.augment.units import Unit, tagged, untagged
from tasks.behaviour.answers import Row
from tasks.behaviour.perturb import Perturber, with_phrase
from tasks.behaviour.results import BehaviourError
from tasks.config.behaviour import (
    PLACEHOLDER,
    Casing,
    Direction,
    EntityNames,
    Invariance,
    MinimumFunctionality,
    Perturbation,
    Typos,
)

MAX_COMBINATIONS = 10_000
CHANGED = {"sequence": ("text",), "pair": ("text", "text_b"), "span": ("question",), "token": ("tokens",)}
"""Columns that a perturbation changes, all at once, so that a name is swapped in both texts of a pair."""
_OF_NAMES = ("words", "entities")


@dataclass(frozen=True)
class Case:
    """A changed example, and what it was before; of a template filled in, nothing."""

    changed: Row
    original: Row | None = None
    swapped: tuple[tuple[Unit, Unit], ...] = ()
    """units of a tagged sentence before and after, where entities were swapped"""


def filled_in(test: MinimumFunctionality, task: Task, rng: np.random.Generator) -> list[Case]:
    """Every combination of words in every template, or `samples` of them drawn without replacement."""
    if task.type not in ("sequence", "pair"):
        raise BehaviourError(f"test {test.name}: templates are for sequence and pair tasks, not for {task.type}")
    if (task.type == "pair") != bool(test.templates_b):
        raise BehaviourError(f"test {test.name}: templates_b go with a pair task, and this one is {task.type}")
    seconds = test.templates_b or ("",) * len(test.templates)
    slots = [
        sorted({name for _, name in PLACEHOLDER.findall(one + two)})
        for one, two in zip(test.templates, seconds, strict=True)
    ]
    sizes = [math.prod(len(test.words[name]) for name in names) for names in slots]
    total, limit = sum(sizes), test.samples or MAX_COMBINATIONS
    if total <= limit:
        places: Sequence[int] = range(total)
    elif test.samples is None:
        raise BehaviourError(f"test {test.name}: {total:,} combinations, {limit:,} at most: set samples")
    else:
        places = _drawn(total, limit, rng)
    cases = []
    for place in places:
        template = 0
        while place >= sizes[template]:
            place -= sizes[template]
            template += 1
        words = {}
        for name in slots[template]:
            place, chosen = divmod(place, len(test.words[name]))
            words[name] = test.words[name][chosen]
        row = {"text": fill(test.templates[template], words)}
        cases.append(Case(row | ({"text_b": fill(seconds[template], words)} if task.type == "pair" else {})))
    return cases


def _drawn(total: int, count: int, rng: np.random.Generator) -> list[int]:
    """`count` different numbers below `total`, ascending, without a list of all of them."""
    found: set[int] = set()
    while len(found) < count:
        found.update(rng.integers(total, size=count - len(found)).tolist())
    return sorted(found)


def fill(template: str, words: dict[str, str]) -> str:
    """{name} and {a:name} replaced."""
    return PLACEHOLDER.sub(
        lambda found: (f"{article(words[found[2]])} " if found[1] else "") + words[found[2]], template
    )


def changed_examples(
    test: Invariance | Direction, task: Task, side: pa.Table, perturber: Perturber, rng: np.random.Generator
) -> tuple[list[Case], int]:
    """Changed copies of `max_examples` examples to which the change applies; and to how many it was tried in vain."""
    if task.type not in CHANGED:
        raise BehaviourError(f"test {test.name}: {test.kind} is not for {task.type} tasks")
    if test.texts and task.type != "sequence":
        raise BehaviourError(f"test {test.name}: texts of its own are for sequence tasks, this one is {task.type}")
    rows: list[Row] = [{"text": text} for text in test.texts] or side.to_pylist()
    cases: list[Case] = []
    skipped = 0
    for place in rng.permutation(len(rows)).tolist():
        if len(cases) == test.max_examples:
            break
        case = _changed(test, task, rows[place], rows, perturber, rng)
        if case is None:
            skipped += 1
        else:
            cases.append(case)
    return cases, skipped


def _changed(
    test: Invariance | Direction,
    task: Task,
    row: Row,
    rows: Sequence[Row],
    perturber: Perturber,
    rng: np.random.Generator,
) -> Case | None:
    if isinstance(test, Direction):
        if task.type not in ("sequence", "pair"):
            raise BehaviourError(f"test {test.name}: direction is for sequence and pair tasks, not for {task.type}")
        phrase = test.add[int(rng.integers(len(test.add)))]
        texts: list[str] | None = with_phrase([row[name] for name in CHANGED[task.type]], phrase, test.where)
    elif task.type == "token":
        return _changed_tokens(test, task, row, rows, rng)
    else:
        texts = perturbed(test.perturbation, task, row, perturber, rng)
    return None if texts is None else Case(row | dict(zip(CHANGED[task.type], texts, strict=True)), row)


def perturbed(
    how: Perturbation, task: Task, row: Row, perturber: Perturber, rng: np.random.Generator
) -> list[str] | None:
    """The texts of one example, changed; None where the change does not apply.

    Raises:
        BehaviourError: names swapped in a question alone, whose context still has the old ones.
    """
    if task.type == "span" and how.type in _OF_NAMES:
        raise BehaviourError(f"perturbation {how.type}: a question's names are those of its context; choose another")
    if task.type != "token" and how.type == "entities":
        raise BehaviourError(f"perturbation entities is for token tasks, not for {task.type}; see words")
    return perturber(how, [row[name] for name in CHANGED[task.type]], rng)


def changed_tokens(how: Perturbation, task: Task, row: Row, rng: np.random.Generator) -> list[str] | None:
    """Tokens changed one by one, so that each keeps its tag; None where nothing changes.

    Raises:
        BehaviourError: a change that would join, split or drop tokens.
    """
    if isinstance(how, Typos):
        units = [Unit((token,), "word" if token.isalpha() else "fixed", ("O",)) for token in row["tokens"]]
        words = typos(units, how.rate, rng, Rules(min_words=1), ("keyboard", "swap", "double"))
        changed = untagged(words)[0] if words else row["tokens"]
    elif isinstance(how, Casing):
        changed = [(Perturber()(how, [token], rng) or [token])[0] for token in row["tokens"]]
    else:
        raise BehaviourError(f"perturbation {how.type} is not for token tasks; legal are typos, casing and entities")
    return changed if changed != row["tokens"] and len(changed) == len(row["tokens"]) else None


def _changed_tokens(
    test: Invariance, task: Any, row: Row, rows: Sequence[Row], rng: np.random.Generator
) -> Case | None:
    if not isinstance(test.perturbation, EntityNames):
        tokens = changed_tokens(test.perturbation, task, row, rng)
        return None if tokens is None else Case(row | {"tokens": tokens}, row)
    if task.scheme != "bio":
        raise BehaviourError(f"test {test.name}: entities are swapped in tags of scheme bio, not {task.scheme}")
    before = tagged(row["tokens"], row["tags"], "bio")
    names = {kind: [tuple(name.split()) for name in each] for kind, each in test.perturbation.names.items()}
    pool = names or entities_of(rows)
    after = operations.entities(before, 1.0, rng, {kind: pool.get(kind, []) for kind in {*pool, *_types(before)}})
    if after is None or after == before:
        return None
    tokens, tags = untagged(after)
    return Case(row | {"tokens": tokens, "tags": tags}, row, tuple(zip(before, after, strict=True)))


def entities_of(rows: Sequence[Row]) -> dict[str, list[tuple[str, ...]]]:
    """Type -> the entities of it, each once."""
    found: dict[str, dict[tuple[str, ...], None]] = {}
    for row in rows:
        for unit in tagged(row["tokens"], row["tags"], "bio"):
            if unit.kind == "entity":
                found.setdefault(unit.tags[0][2:], {})[unit.tokens] = None
    return {kind: list(tokens) for kind, tokens in found.items()}


def _types(units: Sequence[Unit]) -> Iterator[str]:
    yield from (unit.tags[0][2:] for unit in units if unit.kind == "entity")


def carried_over(case: Case, said: Sequence[str]) -> list[str] | None:
    """The tags that should be said after entities were swapped, given those `said` before; None where it is unclear.

    An entity that the model saw as one of some type should be one of that type again, whatever its length; one that it
    did not see at all should not be seen. Where it saw a part, nothing follows.
    """
    if not case.swapped:
        return list(said)
    expected: list[str] = []
    start = 0
    for before, after in case.swapped:
        tags = list(said[start : start + len(before.tokens)])
        start += len(before.tokens)
        if before == after:
            expected += tags
        elif set(tags) == {"O"}:
            expected += ["O"] * len(after.tokens)
        elif tags[0][:2] == "B-" and all(tag == f"I-{tags[0][2:]}" for tag in tags[1:]):
            if said[start : start + 1] == [f"I-{tags[0][2:]}"]:
                return None  # the entity that it saw goes on
            expected += operations.entity(after.tokens, tags[0][2:]).tags
        else:
            return None
    return expected
