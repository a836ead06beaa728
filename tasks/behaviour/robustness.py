"""How much of a model's quality is left on texts that are typed, cased, spaced or put otherwise, or from elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import ArrayLike
from pydantic import BaseModel, ConfigDict

from bert_core.config import Task
from bert_core.intervals import Interval, bootstrap, paired_bootstrap
from tasks.augment.thesaurus import Thesaurus
from tasks.behaviour.answers import Answer, Row
from tasks.behaviour.cases import CHANGED, changed_tokens, perturbed
from tasks.behaviour.perturb import Perturber
from tasks.behaviour.rendering import figure, markdown_table, section, table
from tasks.behaviour.results import BehaviourError
from tasks.config.behaviour import BehaviourConfig, Perturbation

ScoreEach = Callable[[pa.Table, pa.Table], ArrayLike]
"""Gold table and answers -> (N,): how right each example of the gold table is, in its order: 1 or 0, or an F1."""

_HEADS = ["texts", "examples", "changed", "score", "difference"]
_FOR_TOKENS = ("typos", "casing")
_FOR_QUESTIONS_TOO = ("typos", "casing", "punctuation", "whitespace", "contractions", "regex", "synonyms")


class RobustnessResult(BaseModel):
    """One kind of change."""

    model_config = ConfigDict(frozen=True)

    name: str
    examples: int
    changed: int
    """to how many of them the change applies; the others count as they are"""
    score: Interval
    difference: Interval
    """of the score: changed minus clean, the same examples; out of domain: that set minus clean, other examples"""


class RobustnessReport(BaseModel):
    """`model_validate_json` reads what `model_dump_json` wrote."""

    model_config = ConfigDict(frozen=True)

    clean: Interval
    examples: int
    results: tuple[RobustnessResult, ...]
    not_for_task: tuple[str, ...]
    """changes that this task, or a call without a thesaurus, cannot have"""
    confidence: float
    seed: int

    def flat(self) -> dict[str, float]:
        """`robustness.<name>`: the score; `robustness.<name>.drop`: by how much it is below the clean one."""
        found = {"robustness.clean": self.clean.estimate}
        for one in self.results:
            found[f"robustness.{one.name}"] = one.score.estimate
            found[f"robustness.{one.name}.drop"] = -one.difference.estimate
        return found

    def markdown(self) -> str:
        left_out = ["", f"Not for this task: {', '.join(self.not_for_task)}."] if self.not_for_task else []
        return "\n".join([*markdown_table(_HEADS, self._rows()), *left_out]) + "\n"

    def html(self) -> str:
        """One escaped section for the report."""
        return section("Robustness", table(_HEADS, self._rows(), numbers=4))

    def _rows(self) -> list[list[str]]:
        rows = [["as they are", f"{self.examples:,}", "–", figure(self.clean), "–"]]
        for one in self.results:
            cells = [f"{one.examples:,}", f"{one.changed:,}", figure(one.score), figure(one.difference, sign=True)]
            rows.append([one.name.replace("_", " "), *cells])
        return rows


def measure_robustness(
    config: BehaviourConfig,
    task: Task,
    side: pa.Table,
    answer: Answer,
    score: ScoreEach,
    *,
    seed: int,
    thesaurus: Thesaurus | None = None,
    out_of_domain: pa.Table | None = None,
) -> RobustnessReport:
    """The score on every perturbation of `config.robustness` against that on the same examples as they are.

    Of token tasks tokens are mistyped and recased one by one; of span tasks only the question is changed.

    Args:
        side: canonical test side.
        score: per example, given gold table and answers.
        thesaurus: without one, perturbation synonyms is left out.
        out_of_domain: another canonical table with the task's labels; the interval of its difference is unpaired.

    Raises:
        BehaviourError: no section robustness, an empty side, or scores that are not one for each example.
    """
    settings = config.robustness
    if settings is None:
        raise BehaviourError("no section robustness: set behaviour.robustness, for example to {}")
    if not side.num_rows:
        raise BehaviourError("the test side is empty: nothing to be robust on")
    if task.type not in CHANGED:
        raise BehaviourError(f"robustness is for {', '.join(CHANGED)} tasks, not for {task.type}")
    rng = np.random.default_rng([seed, 0])
    if side.num_rows > settings.max_examples:
        side = side.take(pa.array(np.sort(rng.choice(side.num_rows, settings.max_examples, replace=False))))
    mean = partial(bootstrap, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    versus = partial(paired_bootstrap, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    clean = _scores(score, side, answer)
    perturber = Perturber(config.language, thesaurus)
    results: list[RobustnessResult] = []
    not_for_task: list[str] = []
    for name, how in settings.perturbations.items():
        if not _fits(how, task, perturber):
            not_for_task.append(name)
            continue
        table, changed = _changed(name, how, task, side, perturber, seed)
        scores = _scores(score, table, answer)
        results.append(
            RobustnessResult(
                name=name,
                examples=side.num_rows,
                changed=changed,
                score=mean(scores),
                difference=versus(scores, clean),
            )
        )
    if out_of_domain is not None:
        results.append(_elsewhere(config, clean, _scores(score, out_of_domain, answer), seed))
    return RobustnessReport(
        clean=mean(clean),
        examples=side.num_rows,
        results=tuple(results),
        not_for_task=tuple(not_for_task),
        confidence=config.confidence,
        seed=seed,
    )


def _fits(how: Perturbation, task: Task, perturber: Perturber) -> bool:
    if how.type == "entities" or (how.type == "synonyms" and perturber.thesaurus is None):
        return False
    if task.type == "token":
        return how.type in _FOR_TOKENS
    return task.type != "span" or how.type in _FOR_QUESTIONS_TOO


def _changed(
    name: str, how: Perturbation, task: Task, side: pa.Table, perturber: Perturber, seed: int
) -> tuple[pa.Table, int]:
    """The side with every example changed to which the change applies, and how many these are."""
    columns = CHANGED[task.type]
    values: dict[str, list[object]] = {column: [] for column in columns}
    changed = 0
    for row in side.to_pylist():
        key = int.from_bytes(hashlib.blake2b(f"{name} {row['id']}".encode(), digest_size=8).digest())
        found = _of_row(how, task, row, perturber, np.random.default_rng([seed, key]))
        changed += found is not None
        for column, value in zip(columns, found or [row[column] for column in columns], strict=True):
            values[column].append(value)
    for column in columns:
        place = side.column_names.index(column)
        side = side.set_column(place, column, pa.array(values[column], side.schema.field(column).type))
    return side, changed


def _of_row(
    how: Perturbation, task: Task, row: Row, perturber: Perturber, rng: np.random.Generator
) -> list[object] | None:
    if task.type == "token":
        tokens = changed_tokens(how, task, row, rng)
        return None if tokens is None else [tokens]
    texts = perturbed(how, task, row, perturber, rng)
    return None if texts is None else list(texts)


def _scores(score: ScoreEach, gold: pa.Table, answer: Answer) -> np.ndarray:
    scores = np.asarray(score(gold, answer(gold)), dtype=np.float64)
    if scores.shape != (gold.num_rows,):
        raise BehaviourError(f"scores have shape {scores.shape}, expected one for each of {gold.num_rows} examples")
    return scores


def _elsewhere(config: BehaviourConfig, clean: np.ndarray, other: np.ndarray, seed: int) -> RobustnessResult:
    """Both sets resampled on their own: the examples are not the same, so nothing can be paired."""
    rng = np.random.default_rng([seed, 1])

    def means(values: np.ndarray) -> np.ndarray:
        levels, counts = np.unique(values, return_counts=True)
        weights = rng.multinomial(len(values), counts / len(values), size=config.bootstrap_samples)
        return weights @ levels / len(values)

    drawn = means(other) - means(clean)
    low, high = np.quantile(drawn, [(1 - config.confidence) / 2, (1 + config.confidence) / 2])
    return RobustnessResult(
        name="out_of_domain",
        examples=len(other),
        changed=len(other),
        score=bootstrap(other, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed),
        difference=Interval(float(other.mean() - clean.mean()), float(low), float(high)),
    )
