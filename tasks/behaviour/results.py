"""What came out of the behaviour tests, and how it is shown and handed to the gate."""

from __future__ import annotations

import math

from pydantic import BaseModel, ConfigDict
from scipy.stats import norm

from bert_core.intervals import Interval
from tasks.behaviour.rendering import bullet, figure, markdown_table, section, table


class BehaviourError(ValueError):
    """A test that this task cannot have, or answers that do not fit; the message says which and what is legal."""


class Failure(BaseModel):
    """One example of which the model said something that it should not."""

    model_config = ConfigDict(frozen=True)

    text: str
    expected: str
    said: str


class BehaviourResult(BaseModel):
    """One test. `rate` is None where no example was left to judge."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str
    total: int
    passed: int
    skipped: int
    """examples to which the change does not apply, or of which the answer cannot be carried over"""
    rate: Interval | None
    """share that passed, with its Wilson interval"""
    failures: tuple[Failure, ...]
    """the first ones"""


class BehaviourReport(BaseModel):
    """All tests of a recipe. `model_validate_json` reads what `model_dump_json` wrote."""

    model_config = ConfigDict(frozen=True)

    tests: tuple[BehaviourResult, ...]
    confidence: float
    seed: int

    def flat(self) -> dict[str, float]:
        """`behaviour.<name>` -> pass rate, for rules of the gate; tests without an example are left out."""
        return {f"behaviour.{test.name}": test.rate.estimate for test in self.tests if test.rate is not None}

    def markdown(self) -> str:
        rows = [[t.name, t.kind, figure(t.rate), f"{t.passed:,} / {t.total:,}", f"{t.skipped:,}"] for t in self.tests]
        lines = markdown_table(["test", "kind", "pass rate", "passed", "skipped"], rows)
        for test in self.tests:
            lines += ["", f"**{test.name}**, failures:", ""] if test.failures else []
            lines += [bullet(one.text, f"expected {one.expected}, said {one.said}") for one in test.failures]
        return "\n".join(lines) + "\n"

    def html(self) -> str:
        """One escaped section for the report."""
        rows = [[t.name, t.kind, figure(t.rate), f"{t.passed:,} / {t.total:,}", f"{t.skipped:,}"] for t in self.tests]
        parts = [table(["test", "kind", "pass rate", "passed", "skipped"], rows, numbers=3)]
        for test in self.tests:
            if test.failures:
                shown = [[one.text, one.expected, one.said] for one in test.failures]
                parts.append(section(f"Failures of {test.name}", table(["text", "expected", "said"], shown), level=4))
        return section("Behaviour", *parts)


def wilson(passed: int, total: int, confidence: float = 0.95) -> Interval | None:
    """The share `passed / total` with Wilson's score interval (1927), which holds at 0 and 1 too; None for none.

    Raises:
        BehaviourError: counts that make no share, or a confidence outside (0, 1).
    """
    if not 0 <= passed <= total or not 0 < confidence < 1:
        raise BehaviourError(f"{passed} of {total} at confidence {confidence}: no share")
    if total == 0:
        return None
    z = float(norm.ppf((1 + confidence) / 2))
    share = passed / total
    centre = (share + z * z / (2 * total)) / (1 + z * z / total)
    half = z / (1 + z * z / total) * math.sqrt(share * (1 - share) / total + z * z / (4 * total * total))
    # at 0 and 1 the interval's end is the share itself, but for rounding
    return Interval(share, min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half)))
