"""Bootstrap confidence intervals. Shapes: N examples, S bootstrap samples."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_CELLS_AT_ONCE = 4_000_000  # 32 MB of int64


class EvaluationError(ValueError):
    """Predictions or labels from which no honest figure follows; the message shows the offending value."""


@dataclass(frozen=True)
class Interval:
    """A figure and its percentile bootstrap interval (Efron, 1979)."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(values: ArrayLike, *, samples: int = 2_000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of `values` (N,) with its percentile bootstrap interval; equal arguments give equal intervals.

    Raises:
        EvaluationError: `values` is empty, not one-dimensional, or not finite.
    """
    checked = _finite(values, "values")
    _check_bootstrap(samples, confidence)
    levels, counts = np.unique(checked, return_counts=True)  # (U,)
    drawn = np.concatenate([chunk @ levels for chunk in _resample(counts, samples, seed)]) / checked.size  # (S,)
    return _interval(float(checked.mean()), drawn, confidence)


def paired_bootstrap(
    correct_a: ArrayLike, correct_b: ArrayLike, *, samples: int = 2_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Accuracy of model A minus that of model B on the same examples, with its interval.

    Both are (N,), in the same order: True where that model was right. Resampling examples, not models, keeps what the
    two have in common (hard examples) out of the interval (Koehn, 2004).

    Raises:
        EvaluationError: different lengths, empty, or not finite.
    """
    a, b = _finite(correct_a, "correct_a"), _finite(correct_b, "correct_b")
    if a.size != b.size:
        raise EvaluationError(
            f"paired_bootstrap compares the same examples: correct_a has {a.size}, correct_b {b.size}"
        )
    return bootstrap(a - b, samples=samples, confidence=confidence, seed=seed)


def _resample(counts: Ints, samples: int, seed: int) -> Iterator[Ints]:
    """How often each of U distinct outcomes, seen `counts` times, appears in each of S bootstrap samples.

    Yields (s, U) parts of bounded size, S rows in all.
    """
    rng = np.random.default_rng(seed)
    total = int(counts.sum())
    step = max(1, MAX_CELLS_AT_ONCE // counts.size)
    for start in range(0, samples, step):
        yield rng.multinomial(total, counts / total, size=min(step, samples - start))


def _interval(estimate: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def _finite(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"{name} must be one-dimensional and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        position = int(np.flatnonzero(~np.isfinite(array))[0])
        raise EvaluationError(f"{name}[{position}] is {array[position]}: every value must be finite")
    return array


def _check_bootstrap(samples: int, confidence: float) -> None:
    if samples < 1 or not 0 < confidence < 1:
        raise EvaluationError(f"samples must be at least 1 and confidence in (0, 1), got {samples} and {confidence}")
