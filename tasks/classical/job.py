"""What every baseline is given, what it hands back, and how one is chosen on the validation side."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pyarrow as pa

from bert_core.config import Task
from tasks.classical.scoring import score
from tasks.config.classical import ClassicalConfig

Fact = str | float | int | bool
Answer = Callable[[pa.Table], pa.Table]
"""From a labelled table to the answers table of its examples; the labels are not looked at."""


class ClassicalError(ValueError):
    """Data or settings with which no baseline can be fitted."""


class Unavailable(ClassicalError):
    """A baseline that this machine or language has not: left out under 'auto', an error where it is named."""


class OutOfTime(ClassicalError):
    """The budget was spent before there was anything to answer with."""


@dataclass(frozen=True)
class Rival:
    """One baseline's answers, in the form that every model answers in."""

    answers: pa.Table
    """Of the test side, which was looked at once, by the model chosen."""
    validation: pa.Table
    """Of the validation side, by the same model."""
    facts: dict[str, Fact]
    """Chosen settings, sizes, `fit_s` (seconds in all) and `validation_<metric>` (higher is better)."""
    notes: tuple[str, ...] = ()
    """What a reader must know: what was cut off, left out or stopped, and why."""


class Budget:
    """Seconds that a baseline may take."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._start = time.monotonic()

    @property
    def used(self) -> float:
        return time.monotonic() - self._start

    @property
    def spent(self) -> bool:
        return self.used > self.seconds


@dataclass(frozen=True)
class Job:
    """What a baseline is fitted on."""

    config: ClassicalConfig
    task: Task
    labels: tuple[str, ...]
    """In the order of their ids; empty where a task has none."""
    train: pa.Table
    validation: pa.Table
    test: pa.Table
    seed: int
    budget: Budget
    count_tokens: Callable[[str], int] | None = None
    memo: dict[str, Any] = field(default_factory=dict)
    """What several baselines share, such as word vectors; whoever needs it first makes it, in its own time."""
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def shared(self, name: str, make: Callable[[], Any]) -> Any:
        if name not in self.memo:
            self.memo[name] = make()
        return self.memo[name]


class Candidate(NamedTuple):
    """One choice of settings."""

    settings: Mapping[str, Fact]
    fit: Callable[[], Answer]


def best(job: Job, candidates: Sequence[Candidate], facts: Mapping[str, Fact] | None = None) -> Rival:
    """The candidate that is best on the validation side, the first of equals, and its answers.

    The first candidate is always fitted; once the budget is spent the others are not, and a note says how many.
    """
    chosen: tuple[float, str, Candidate, Answer, pa.Table] | None = None
    for number, candidate in enumerate(candidates):
        if chosen and job.budget.spent:
            job.note(f"{job.budget.seconds:g} s are spent: {len(candidates) - number} of {len(candidates)} not tried")
            break
        answer = candidate.fit()
        answers = answer(job.validation)
        metric, value = score(job.task, job.validation, answers)
        if chosen is None or value > chosen[0]:
            chosen = value, metric, candidate, answer, answers
    assert chosen is not None, "there is always a first candidate"
    value, metric, candidate, answer, answers = chosen
    found = {**(facts or {}), **candidate.settings, f"validation_{metric}": value}
    return Rival(answer(job.test), answers, found, tuple(job.notes))
