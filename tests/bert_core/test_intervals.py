"""Intervals against theory."""

import math

import numpy as np
import pytest

from bert_core.intervals import EvaluationError, bootstrap, paired_bootstrap


def test_interval_of_a_mean_is_that_of_the_central_limit_theorem() -> None:
    values = np.random.default_rng(0).normal(5.0, 2.0, 3_000)
    interval = bootstrap(values, samples=1_000)
    half = 1.96 * values.std() / math.sqrt(values.size)
    assert interval.estimate == pytest.approx(values.mean())
    assert interval.high - interval.low == pytest.approx(2 * half, rel=0.1)


def test_95_percent_intervals_cover_the_truth_about_95_percent_of_the_time() -> None:
    rng = np.random.default_rng(4)
    covered = 0
    for trial in range(400):
        interval = bootstrap(rng.random(300) < 0.8, samples=500, seed=trial)
        covered += interval.low <= 0.8 <= interval.high
    assert 0.91 <= covered / 400 <= 0.98


def test_pairing_narrows_the_interval_of_two_models_that_fail_on_the_same_examples() -> None:
    rng = np.random.default_rng(5)
    easy = rng.random(1_000) < 0.8
    a, b = easy.copy(), easy.copy()
    b[rng.choice(np.flatnonzero(easy), 30, replace=False)] = False
    interval = paired_bootstrap(a, b)
    assert interval.estimate == pytest.approx(0.03)
    assert interval.low > 0
    alone = bootstrap(a)
    assert interval.high - interval.low < (alone.high - alone.low) / 2
    reverse = paired_bootstrap(b, a)
    assert reverse.estimate == pytest.approx(-0.03)
    assert reverse.high < 0


def test_values_without_an_honest_figure_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"values\[1\] is nan"):
        bootstrap([1.0, float("nan")])
    with pytest.raises(EvaluationError, match=r"not empty, got shape \(0,\)"):
        bootstrap([])
    with pytest.raises(EvaluationError, match="correct_a has 2, correct_b 3"):
        paired_bootstrap([True, False], [True, True, True])
    with pytest.raises(EvaluationError, match="confidence in"):
        bootstrap([1.0], confidence=95)
