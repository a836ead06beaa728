"""Intervals and paired comparisons over examples and over seeds, by the bootstrap (Efron, 1979).

A model is a list of R runs that differ in their seed alone. One bootstrap sample draws N examples with replacement, the
same for every model, and for each model R - 1 of its runs with replacement (one of one); its value is the mean over
those runs. R - 1 and not R, because a mean of R drawn runs would vary by only (R - 1) / R of what a mean of R runs does
(Rao and Wu, 1988, "Resampling inference with complex survey data"): three seeds are few enough for that to matter.

Shapes: S samples, N examples. Memory holds a bounded part of the (S, N) weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from bert_core.intervals import MAX_CELLS_AT_ONCE, EvaluationError, Floats, Interval
from bert_core.metrics.metric import AnyMetric, Scores


@dataclass(frozen=True)
class Difference:
    """One model's metric minus another's on the same examples."""

    interval: Interval
    p: float
    """Two-sided: the chance of a difference as far from 0 if there were none, from the share of samples beyond 0."""


@dataclass(frozen=True)
class Resampled:
    """The metrics of several models over the same S bootstrap samples. Equal arguments give equal figures."""

    confidence: float
    observed: Mapping[str, Mapping[str, Floats]]
    """model -> metric -> (R,): each run's value on all examples."""
    drawn: Mapping[str, Mapping[str, Floats]]
    """model -> metric -> (S,): of each sample; NaN in one in which the metric is not defined."""

    def metrics(self, model: str) -> tuple[str, ...]:
        """Those that are defined on the whole set in every run."""
        return tuple(name for name, values in self._of(model).items() if np.isfinite(values).all())

    def interval(self, model: str, metric: str) -> Interval:
        """The mean over runs, and its percentile interval over examples and seeds."""
        return self.spread(float(self._of(model)[metric].mean()), self.drawn[model][metric])

    def difference(self, model: str, other: str, metric: str) -> Difference:
        """`model` minus `other`: the same draw of examples, each its own draw of runs."""
        estimate = float(self._of(model)[metric].mean() - self._of(other)[metric].mean())
        drawn = self.drawn[model][metric] - self.drawn[other][metric]
        return Difference(self.spread(estimate, drawn), two_sided(drawn))

    def spread(self, estimate: float, drawn: Floats) -> Interval:
        """A figure with the percentile interval of its bootstrap samples (S,), of those in which it is defined."""
        known = drawn[np.isfinite(drawn)]
        if not known.size:
            return Interval(estimate, estimate, estimate)
        low, high = np.quantile(known, [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return Interval(estimate, float(low), float(high))

    def _of(self, model: str) -> Mapping[str, Floats]:
        if model not in self.observed:
            raise EvaluationError(f"no model {model!r} was resampled; there are: {', '.join(self.observed)}")
        return self.observed[model]


def resample(
    models: Mapping[str, Sequence[Scores]],
    *,
    samples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
    stream: int = 0,
) -> Resampled:
    """Every metric of every model over the same bootstrap samples.

    Args:
        models: by name, the scores of each run, all on the same examples in the same order.
        stream: sets of examples that share none, such as a slice and the rest, are drawn from streams of their own;
            the runs that are drawn depend on `seed` and the model's name alone.

    Raises:
        EvaluationError: a model without runs, other numbers of examples, or no sample.
    """
    if samples < 1 or not 0 < confidence < 1:
        raise EvaluationError(f"samples must be at least 1 and confidence in (0, 1), got {samples} and {confidence}")
    if empty := [name for name, runs in models.items() if not runs]:
        raise EvaluationError(f"model {empty[0]!r} has no runs to compare")
    sizes = {name: one.size for name, runs in models.items() for one in runs}
    if len(set(sizes.values())) != 1:
        raise EvaluationError(f"models are compared on the same examples, got numbers of them: {sizes}")
    size = next(iter(sizes.values()))
    everything = np.ones((1, size))
    observed = {name: _by_metric([one.resampled(everything) for one in runs]) for name, runs in models.items()}
    parts: dict[str, list[dict[str, Floats]]] = {name: [] for name in models}
    picked = {name: drawn_runs(len(runs), samples, seed, name) for name, runs in models.items()}
    start = 0
    for weights in drawn_examples(size, samples, seed, stream):
        stop = start + len(weights)
        for name, runs in models.items():
            values = _by_metric([one.resampled(weights) for one in runs])
            share = picked[name][start:stop]
            parts[name].append({metric: _mean_run(each, share) for metric, each in values.items()})
        start = stop
    drawn = {
        name: {metric: np.concatenate([part[metric] for part in held]) for metric in held[0]}
        for name, held in parts.items()
    }
    return Resampled(confidence, {name: {m: v[0] for m, v in each.items()} for name, each in observed.items()}, drawn)


def interval(runs: Sequence[AnyMetric], *, samples: int = 2_000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """One metric of R runs: their mean, with its interval over examples and seeds."""
    found = resample({"model": _as_scores(runs)}, samples=samples, confidence=confidence, seed=seed)
    return found.interval("model", "metric")


def paired_difference(
    runs: Sequence[AnyMetric],
    others: Sequence[AnyMetric],
    *,
    samples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Difference:
    """One metric of a model's runs minus that of another's, on the same examples (Koehn, 2004)."""
    both = {"model": _as_scores(runs), "other": _as_scores(others)}
    return resample(both, samples=samples, confidence=confidence, seed=seed).difference("model", "other", "metric")


def drawn_examples(size: int, samples: int, seed: int, stream: int = 0) -> Iterator[Floats]:
    """(s, N) parts of bounded size, S rows in all: how often each bootstrap sample holds each example."""
    rng = np.random.default_rng([seed, 0, stream])
    step = max(1, MAX_CELLS_AT_ONCE // size)
    for start in range(0, samples, step):
        count = min(step, samples - start)
        places = rng.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
        yield np.bincount(places.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)


def drawn_runs(runs: int, samples: int, seed: int, model: str) -> Floats:
    """(S, R): the weight of each run in each sample; rows sum to 1. Each model has a stream of its own."""
    if runs == 1:
        return np.ones((samples, 1))
    rng = np.random.default_rng([seed, 1, *model.encode()])
    places = rng.integers(0, runs, (samples, runs - 1))
    return np.stack([(places == run).mean(axis=1) for run in range(runs)], axis=1)


def two_sided(drawn: Floats) -> float:
    """The p-value of 0 against bootstrap samples (S,) of a difference; never below 2 / (S + 1), 1 if none is known."""
    known = drawn[np.isfinite(drawn)]
    if not known.size:
        return 1.0
    beyond = min(int((known <= 0).sum()), int((known >= 0).sum()))
    return min(1.0, 2 * (beyond + 1) / (known.size + 1))


def _mean_run(values: Floats, share: Floats) -> Floats:
    """(s,) from values (s, R) and weights (s, R); a run that was not drawn may be NaN."""
    return np.where(share > 0, values * share, 0.0).sum(axis=1)


def _by_metric(runs: Sequence[Mapping[str, Floats]]) -> dict[str, Floats]:
    """metric -> (s, R), of the metrics that all runs have."""
    return {name: np.stack([run[name] for run in runs], axis=1) for name in runs[0] if all(name in r for r in runs)}


def _as_scores(runs: Sequence[AnyMetric]) -> list[Scores]:
    if len({one.name for one in runs}) > 1:
        raise EvaluationError(f"runs of one metric, got {sorted({one.name for one in runs})}")
    return [Scores({"metric": one}) for one in runs]
