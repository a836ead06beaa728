"""What a metric is: sums of figures of single examples, and a function of those sums.

Shapes: N examples, D figures of each, S bootstrap samples. With weights (S, N), how often each sample holds each
example, `weights @ statistics` (S, D) is all that a metric of S samples needs: no text is scored twice, and metrics of
a whole corpus such as BLEU or F1 are as cheap to resample as a mean. Metrics of ranks take the weights themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from bert_core.intervals import EvaluationError, Floats

Ints = NDArray[np.int64]
Reduce: TypeAlias = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Metric:
    """A figure of a set of examples that follows from sums over them; NaN where it is not defined for the set."""

    name: str
    statistics: Floats
    """(N, D). Metrics that share the array share the work of summing it."""
    reduce: Reduce
    """(..., D) sums -> (...) values."""
    higher_is_better: bool = True
    label: str | None = None
    """The class, tag or entity type of which this is a metric; None: of all of them."""
    unit: str = "share"
    """"share": from 0 to 1, as a rule; "points": from 0 to 100; "": on a scale of its own."""

    @property
    def size(self) -> int:
        return len(self.statistics)


@dataclass(frozen=True)
class RankMetric:
    """A figure that depends on how the examples are ordered; NaN where it is not defined for the set."""

    name: str
    columns: Floats
    """(N, C): what is ranked and by what."""
    reduce_weighted: Callable[[Floats, Floats], Floats]
    """columns (N, C), weights (S, N) -> values (S,)."""
    higher_is_better: bool = True
    label: str | None = None
    unit: str = "share"

    @property
    def size(self) -> int:
        return len(self.columns)


AnyMetric: TypeAlias = Metric | RankMetric


@dataclass(frozen=True)
class Scores:
    """Every metric of one run's answers, over the same N examples in the same order."""

    metrics: Mapping[str, AnyMetric]
    """By name; those of a class are named `f1/<class>`."""
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Metrics that cannot be had from these answers, with the reason."""

    def __post_init__(self) -> None:
        sizes = {metric.size for metric in self.metrics.values()}
        if len(sizes) > 1:
            raise EvaluationError(f"metrics of one run are over the same examples, got sets of {sorted(sizes)}")

    @property
    def size(self) -> int:
        return next(iter(self.metrics.values())).size if self.metrics else 0

    def values(self) -> dict[str, float]:
        """Each metric on all examples, without those that are not defined for them."""
        found = self.resampled(np.ones((1, self.size)))
        return {name: float(value[0]) for name, value in found.items() if np.isfinite(value[0])}

    def resampled(self, weights: Floats) -> dict[str, Floats]:
        """By metric, its value (S,) where sample s holds example n `weights[s, n]` times."""
        sums: dict[int, Floats] = {}
        found: dict[str, Floats] = {}
        for name, metric in self.metrics.items():
            if isinstance(metric, RankMetric):
                found[name] = metric.reduce_weighted(metric.columns, weights)
                continue
            key = id(metric.statistics)
            if key not in sums:
                sums[key] = weights @ metric.statistics
            found[name] = metric.reduce(sums[key])
        return found

    def take(self, rows: Ints) -> Scores:
        """The same metrics on some of the examples."""
        taken: dict[int, Floats] = {}

        def some(metric: AnyMetric) -> AnyMetric:
            if isinstance(metric, RankMetric):
                return replace(metric, columns=metric.columns[rows])
            key = id(metric.statistics)
            if key not in taken:
                taken[key] = metric.statistics[rows]
            return replace(metric, statistics=taken[key])

        return replace(self, metrics={name: some(metric) for name, metric in self.metrics.items()})

    def only(self, name: str) -> Scores:
        """One metric alone."""
        return replace(self, metrics={name: self.metrics[name]})


def scores(metrics: list[AnyMetric], left_out: Mapping[str, str] | None = None) -> Scores:
    """Named after their own names and, for those of a class, `<name>/<class>`."""
    named = {f"{one.name}/{one.label}" if one.label is not None else one.name: one for one in metrics}
    return Scores(named, dict(left_out or {}))


def ratio(numerator: Floats, denominator: Floats, *, empty: float = 0.0) -> Floats:
    """Elementwise; `empty` where the denominator is 0 (0 as scikit-learn's `zero_division=0`; NaN: not defined)."""
    top, bottom = np.broadcast_arrays(np.asarray(numerator, np.float64), np.asarray(denominator, np.float64))
    return np.divide(top, bottom, out=np.full(top.shape, empty), where=bottom != 0)


def mean_of(column: int, count: int) -> Reduce:
    """The reduction `sum of column / sum of count`; NaN for a set without any."""
    return lambda sums: ratio(sums[..., column], sums[..., count], empty=np.nan)
