"""The gate: does a candidate deserve promotion? A pure function of a policy and of predictions on the test set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.evaluate import EvalReport, Interval, classification_report, paired_bootstrap
from tasks.config import GateConfig

Columns: TypeAlias = pa.Table | Mapping[str, Sequence[object]]


class GateError(ValueError):
    """Input from which no verdict follows; the message names the column and the offending value."""


@dataclass(frozen=True)
class RuleResult:
    """One rule and how the candidate fared."""

    name: str
    passed: bool
    value: float | None
    """What was measured; None: there was nothing to measure."""
    threshold: float | None
    """What was asked for; None: the policy sets no limit."""
    detail: str


@dataclass(frozen=True)
class Verdict:
    """Every rule of the policy, in a fixed order, whether passed or failed; passes only if all of them do."""

    rules: tuple[RuleResult, ...]

    @property
    def passed(self) -> bool:
        return all(rule.passed for rule in self.rules)

    @property
    def failed(self) -> tuple[RuleResult, ...]:
        return tuple(rule for rule in self.rules if not rule.passed)

    @property
    def summary(self) -> str:
        """One line: what a log entry or a run's name can hold."""
        if self.passed:
            return f"passed all {len(self.rules)} rules"
        return f"failed {len(self.failed)} of {len(self.rules)} rules: " + "; ".join(
            f"{rule.name} ({rule.detail})" for rule in self.failed
        )

    def table(self) -> list[dict[str, str]]:
        """Rows for a table artifact."""
        return [
            {
                "rule": rule.name,
                "verdict": "pass" if rule.passed else "FAIL",
                "value": _figure(rule.value),
                "threshold": _figure(rule.threshold),
                "detail": rule.detail,
            }
            for rule in self.rules
        ]

    def markdown(self) -> str:
        """The verdict and a table of its rules; pipes inside a cell are escaped."""
        header = ["rule", "verdict", "value", "threshold", "detail"]
        rows = [[row[name].replace("|", "\\|") for name in header] for row in self.table()]
        lines = [f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)]
        return "\n".join([f"**{'Passed' if self.passed else 'Refused'}**: {self.summary}", "", *lines])

    def evidence(self) -> dict[str, object]:
        """The verdict as JSON, for the promotion log."""
        return {
            rule.name: {"passed": rule.passed, "value": rule.value, "threshold": rule.threshold} for rule in self.rules
        }


def judge(
    config: GateConfig,
    predictions: Columns,
    *,
    baselines: Sequence[str],
    champion: str | None,
    size_mb: float | None,
    latency_ms: float | None,
    seed: int,
    samples: int,
    candidate: str = "bert",
    confidence: float = 0.95,
) -> Verdict:
    """The verdict of `config` on the column `candidate` of the test set's predictions; equal inputs, equal verdict.

    Args:
        predictions: column `label` (true) and one of predicted labels for each model, as `evaluate` writes them.
        baselines, champion: columns to compare with; no champion passes its rule, and says so.
        size_mb, latency_ms: of the candidate; None is "not measured", which fails a policy that sets a limit.
        samples: bootstrap resamples of each comparison.

    Raises:
        GateError: a column is missing, empty, or holds nulls or NaN; or a measurement is not a positive number.
    """
    if not baselines:
        raise GateError("baselines is empty: the gate compares the candidate with at least one of them")
    names = [candidate, *baselines, *([champion] if champion else [])]
    labels = _labels(predictions, "label")
    predicted = {name: _labels(predictions, name) for name in names}
    for name, column in predicted.items():
        _check_probabilities(predictions, name)
        if column.size != labels.size:
            raise GateError(f"column {name!r} has {column.size} rows, label has {labels.size}: not the same test set")
    correct = {name: column == labels for name, column in predicted.items()}
    classes = sorted({*labels.tolist(), *predicted[candidate].tolist()})
    report = classification_report(
        labels.tolist(), predicted[candidate].tolist(), classes, samples=samples, confidence=confidence, seed=seed
    )
    # max() returns the first of equals, so a tie goes to the earlier baseline of the list
    best = max(baselines, key=lambda name: float(correct[name].mean()))

    def against(other: str) -> Interval:
        return paired_bootstrap(correct[candidate], correct[other], samples=samples, confidence=confidence, seed=seed)

    return Verdict(
        (
            _test_examples(config, labels.size),
            _accuracy(config, report),
            *_f1_of_each_class(config, report),
            _gain(config, best, float(correct[best].mean()), against(best), confidence),
            _regression(config, champion, against(champion) if champion else None, confidence),
            _limit("model size (MB)", size_mb, config.max_model_mb),
            _limit("latency (ms)", latency_ms, config.max_latency_ms),
        )
    )


def _test_examples(config: GateConfig, count: int) -> RuleResult:
    passed = count >= config.min_test_examples
    detail = f"{count:,} test examples, at least {config.min_test_examples:,} wanted"
    return RuleResult("test examples", passed, float(count), float(config.min_test_examples), detail)


def _accuracy(config: GateConfig, report: EvalReport) -> RuleResult:
    value = report.accuracy.estimate
    detail = f"accuracy {report.accuracy}, at least {config.min_accuracy:g} wanted"
    return RuleResult("accuracy", value >= config.min_accuracy, value, config.min_accuracy, detail)


def _f1_of_each_class(config: GateConfig, report: EvalReport) -> list[RuleResult]:
    return [
        RuleResult(
            name=f"F1 of {name}",
            passed=scores.support > 0 and scores.f1.estimate >= config.min_f1,
            value=scores.f1.estimate,
            threshold=config.min_f1,
            detail=f"F1 {scores.f1} on {scores.support:,} examples, at least {config.min_f1:g} wanted"
            if scores.support
            else f"no test example is {name!r}, so nothing is known of it",
        )
        for name, scores in report.per_class.items()
    ]


def _gain(config: GateConfig, best: str, accuracy: float, gain: Interval, confidence: float) -> RuleResult:
    wanted = config.min_gain_over_baseline
    detail = (
        f"{gain.estimate:+.3f} accuracy over {best} ({accuracy:.3f}), {confidence:.0%} sure of at least "
        f"{gain.low:+.3f}, {wanted:+g} wanted"
    )
    return RuleResult("gain over best baseline", gain.low >= wanted, gain.low, wanted, detail)


def _regression(config: GateConfig, champion: str | None, gain: Interval | None, confidence: float) -> RuleResult:
    name = "no regression against champion"
    if gain is None:
        return RuleResult(name, True, None, -config.max_regression, "no champion yet: passes")
    detail = (
        f"{gain.estimate:+.3f} accuracy against {champion}, {confidence:.0%} sure of at least {gain.low:+.3f}, "
        f"{-config.max_regression:+g} allowed"
    )
    return RuleResult(name, gain.low >= -config.max_regression, gain.low, -config.max_regression, detail)


def _limit(name: str, value: float | None, limit: float | None) -> RuleResult:
    if value is not None and not (math.isfinite(value) and value > 0):
        raise GateError(f"{name} is {value}: expected a positive, finite number, or None if it was not measured")
    if limit is None:
        return RuleResult(name, True, value, None, "the policy sets no limit: passes")
    if value is None:
        return RuleResult(name, False, None, limit, f"not measured, and the policy allows at most {limit:g}")
    return RuleResult(name, value <= limit, value, limit, f"{value:.3g}, at most {limit:g} allowed")


def _labels(predictions: Columns, name: str) -> NDArray[np.str_]:
    """Column `name` as (N,) strings."""
    column = _column(predictions, name)
    if not column:
        raise GateError(f"column {name!r} is empty: there is no test example to judge by")
    for row, value in enumerate(column):
        if not isinstance(value, str) or not value:
            raise GateError(f"column {name!r}, row {row}: {value!r} is not a label")
    return np.array(column, dtype=np.str_)


def _check_probabilities(predictions: Columns, model: str) -> None:
    """A NaN among a model's probabilities means that its labels are an accident."""
    for name in _names(predictions):
        if name.startswith(f"{model}/"):
            values = np.array(_column(predictions, name), dtype=np.float64)
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise GateError(f"column {name!r}, row {row}: {values[row]} is not a probability")


def _column(predictions: Columns, name: str) -> list[object]:
    if name not in _names(predictions):
        raise GateError(f"no column {name!r} among the predictions; there are: {', '.join(_names(predictions))}")
    column = predictions[name]
    return column.to_pylist() if isinstance(column, pa.ChunkedArray) else list(column)


def _names(predictions: Columns) -> list[str]:
    return list(predictions.column_names if isinstance(predictions, pa.Table) else predictions)


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
