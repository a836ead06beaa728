"""Tests of two models on the same examples that need no bootstrap: each a check of the other."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from bert_core.intervals import MAX_CELLS_AT_ONCE, EvaluationError
from bert_core.metrics.metric import Metric


def mcnemar(correct_a: ArrayLike, correct_b: ArrayLike) -> float:
    """The exact two-sided p-value that two models are right equally often (McNemar, 1947); both (N,), in one order.

    Only examples of which one model alone is right say anything; 1 without any.

    Raises:
        EvaluationError: different lengths, or none.
    """
    a, b = np.asarray(correct_a, dtype=bool), np.asarray(correct_b, dtype=bool)
    if a.shape != b.shape or a.ndim != 1 or not a.size:
        raise EvaluationError(f"mcnemar compares the same examples: shapes {a.shape} and {b.shape}")
    only_a, only_b = int((a & ~b).sum()), int((b & ~a).sum())
    count = only_a + only_b
    ways, tail = 1, 0  # binomial coefficients, as whole numbers: no underflow however many examples
    for k in range(min(only_a, only_b) + 1):
        tail += ways
        ways = ways * (count - k) // (k + 1)
    return min(1.0, 2 * tail / (1 << count))


def approximate_randomisation(a: Metric, b: Metric, *, samples: int = 2_000, seed: int = 0) -> float:
    """The two-sided p-value that a metric of two runs is equal, from swapping their answers to random examples
    (Noreen, 1989; Yeh, 2000). Both metrics hold the same examples in one order.

    Raises:
        EvaluationError: other statistics, or other examples.
    """
    if a.statistics.shape != b.statistics.shape or a.name != b.name:
        raise EvaluationError(
            f"the same metric on the same examples: {a.name} {a.statistics.shape}, {b.name} {b.statistics.shape}"
        )
    total, difference = a.statistics.sum(axis=0) + b.statistics.sum(axis=0), a.statistics - b.statistics
    observed = abs(float(a.reduce(a.statistics.sum(axis=0)) - b.reduce(b.statistics.sum(axis=0))))
    rng = np.random.default_rng(seed)
    step = max(1, MAX_CELLS_AT_ONCE // a.size)
    as_far = 0
    for start in range(0, samples, step):
        signs = rng.integers(0, 2, (min(step, samples - start), a.size)) * 2.0 - 1
        swapped = signs @ difference  # (s, D)
        found = np.abs(a.reduce((total + swapped) / 2) - a.reduce((total - swapped) / 2))
        as_far += int((found >= observed - 1e-12).sum())
    return (as_far + 1) / (samples + 1)


def holm(p: dict[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm, 1979): the chance that any is low by accident stays that of one."""
    found: dict[str, float] = {}
    highest = 0.0
    for place, (name, value) in enumerate(sorted(p.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, value * (len(p) - place)))
        found[name] = highest
    return {name: found[name] for name in p}


def binomial_interval(successes: float, trials: float) -> tuple[float, float]:
    """Wilson's 95% interval of a share (1927); (0, 1) without trials."""
    if trials == 0:
        return 0.0, 1.0
    z = 1.959963984540054
    share, scale = successes / trials, 1 + z * z / trials
    middle = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return max(0.0, (middle - half) / scale), min(1.0, (middle + half) / scale)
