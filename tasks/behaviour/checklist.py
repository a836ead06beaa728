"""Behaviour tests in the manner of CheckList (Ribeiro et al., 2020, arXiv:2005.04118), run against any model."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from bert_core.config import Task
from tasks.augment.thesaurus import Thesaurus
from tasks.behaviour.answers import Answer, Row, chances, kind_of, label_index, label_names, said, same, shown
from tasks.behaviour.cases import CHANGED, Case, carried_over, changed_examples, filled_in
from tasks.behaviour.perturb import Perturber
from tasks.behaviour.results import BehaviourError, BehaviourReport, BehaviourResult, Failure, wilson
from tasks.config.behaviour import BehaviourConfig, BehaviourTest, Direction, MinimumFunctionality

Verdict = tuple[bool, str, str] | None
"""Whether it passed, what was expected, what was said; None: cannot be judged."""


def run_tests(
    config: BehaviourConfig,
    task: Task,
    side: pa.Table,
    answer: Answer,
    *,
    seed: int,
    thesaurus: Thesaurus | None = None,
) -> BehaviourReport:
    """Every test of the recipe; equal arguments give equal examples. A test does not change with those beside it.

    Args:
        task: with its labels filled in.
        side: canonical test side, of which invariance and direction change examples that name no texts of their own.
        answer: asked twice a test at most. Tables hold the columns of the task without a gold answer, where there is
            none; other columns of `side` are left out.
        thesaurus: for the perturbation synonyms.

    Raises:
        BehaviourError: a test that this task cannot have, or answers that do not fit.
    """
    kind_of(task)
    perturber = Perturber(config.language, thesaurus)
    results = [_run(test, task, side, answer, perturber, seed, config) for test in config.tests]
    return BehaviourReport(tests=tuple(results), confidence=config.confidence, seed=seed)


def _run(
    test: BehaviourTest,
    task: Task,
    side: pa.Table,
    answer: Answer,
    perturber: Perturber,
    seed: int,
    config: BehaviourConfig,
) -> BehaviourResult:
    rng = np.random.default_rng([seed, int.from_bytes(hashlib.blake2b(test.name.encode(), digest_size=8).digest())])
    if isinstance(test, MinimumFunctionality):
        _check_expected(test, task)
        cases, skipped = filled_in(test, task, rng), 0
    else:
        if isinstance(test, Direction) and kind_of(task) != "regression":
            label_index(task, test.label)
        cases, skipped = changed_examples(test, task, side, perturber, rng)
    after = said(task, answer, examples(task, [case.changed for case in cases])) if cases else []
    originals = [case.original for case in cases if case.original is not None]
    before = said(task, answer, examples(task, originals)) if originals else [None] * len(cases)
    verdicts = [_judged(test, task, case, old, new) for case, old, new in zip(cases, before, after, strict=True)]
    judged = [(case, verdict) for case, verdict in zip(cases, verdicts, strict=True) if verdict is not None]
    failures = [
        Failure(text=text_of(task, case.changed), expected=expected, said=words)
        for case, (passed, expected, words) in judged
        if not passed
    ]
    passed = len(judged) - len(failures)
    return BehaviourResult(
        name=test.name,
        kind=test.kind,
        total=len(judged),
        passed=passed,
        skipped=skipped + len(cases) - len(judged),
        rate=wilson(passed, len(judged), config.confidence),
        failures=tuple(failures[: config.max_failures]),
    )


def examples(task: Task, rows: Sequence[Row]) -> pa.Table:
    """A canonical table of `rows`, with ids of their own and null or empty gold answers where they have none."""
    text, words = pa.string(), pa.list_(pa.string())
    span = pa.list_(pa.struct([("text", pa.string()), ("start", pa.int64())]))
    gold: dict[str, tuple[tuple[str, pa.DataType, Any], ...]] = {
        "single": (("label", text, None),),
        "multi": (("label", words, None),),
        "regression": (("label", pa.float64(), None),),
        "token": (("tags", words, []),),
        "span": (("context", text, ""), ("answers", span, [])),
    }
    kind = kind_of(task)
    columns = {"id": pa.array([f"case-{i}" for i in range(len(rows))], text)}
    for name in CHANGED[task.type]:
        columns[name] = pa.array([row[name] for row in rows], words if name == "tokens" else text)
    for name, type, default in gold[kind]:
        columns[name] = pa.array([row.get(name, default) for row in rows], type)
    return pa.table(columns)


def text_of(task: Task, row: Row) -> str:
    """An example on one line, for a person."""
    parts = (row[name] for name in CHANGED[task.type])
    return " | ".join(part if isinstance(part, str) else " ".join(part) for part in parts)


def _judged(test: BehaviourTest, task: Task, case: Case, before: Row | None, after: Row) -> Verdict:
    if isinstance(test, MinimumFunctionality):
        return _as_expected(test, task, after)
    if before is None:
        raise BehaviourError(f"test {test.name}: an example without its original")
    if isinstance(test, Direction):
        return _moved(test, task, before, after)
    if task.type == "token":
        tags = carried_over(case, before["tags"])
        return None if tags is None else (tags == after["tags"], " ".join(tags), shown(task, after))
    expected = f"{shown(task, before)} as for: {text_of(task, case.original or {})}"
    return same(task, before, after, test.tolerance), expected, shown(task, after)


def _as_expected(test: MinimumFunctionality, task: Task, after: Row) -> Verdict:
    if test.expected_between is not None:
        low, high = test.expected_between
        return low <= after["value"] <= high, f"{low:g} to {high:g}", shown(task, after)
    if kind_of(task) == "multi":
        wanted = _labels(test)
        return set(after["labels"]) == set(wanted), ", ".join(wanted) or "(none)", shown(task, after)
    return after["label"] == test.expected, str(test.expected), shown(task, after)


def _moved(test: Direction, task: Task, before: Row, after: Row) -> Verdict:
    column = 0 if kind_of(task) == "regression" else label_index(task, test.label)
    old, new = (float(chances(task, [row])[0, column]) for row in (before, after))
    change = new - old if test.must_not == "fall" else old - new
    what = test.label or "value"
    edge = old - test.tolerance if test.must_not == "fall" else old + test.tolerance
    expected = f"{what} {'at least' if test.must_not == 'fall' else 'at most'} {edge:.2f}, before {old:.2f}"
    return change >= -test.tolerance - 1e-9, expected, f"{what} {new:.2f}"


def _labels(test: MinimumFunctionality) -> tuple[str, ...]:
    return (test.expected,) if isinstance(test.expected, str) else tuple(test.expected or ())


def _check_expected(test: MinimumFunctionality, task: Task) -> None:
    if (kind_of(task) == "regression") != (test.expected_between is not None):
        raise BehaviourError(f"test {test.name}: expected_between goes with kind regression, expected with the others")
    if test.expected is not None:
        if kind_of(task) == "single" and not isinstance(test.expected, str):
            raise BehaviourError(f"test {test.name}: expected = {test.expected!r}: kind single has one label")
        if unknown := [label for label in _labels(test) if label not in label_names(task)]:
            raise BehaviourError(f"test {test.name}: label {unknown[0]!r} is not one of {list(label_names(task))}")
