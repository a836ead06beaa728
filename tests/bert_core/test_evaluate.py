"""Metrics against scikit-learn, intervals against a naive bootstrap and against theory."""

import math

import numpy as np
import pytest
from sklearn import metrics

from bert_core.evaluate import (
    EvalReport,
    EvaluationError,
    bootstrap,
    classification_report,
    confusion_matrix,
    paired_bootstrap,
)

CLASSES = ("rotten", "fresh", "mixed")


def labelled(seed: int, size: int = 400, classes: tuple[str, ...] = CLASSES) -> tuple[list[str], list[str]]:
    rng = np.random.default_rng(seed)
    true = rng.choice(classes, size)
    wrong = rng.random(size) < 0.3
    return list(true), list(np.where(wrong, rng.choice(classes, size), true))


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("classes", [CLASSES, CLASSES[:2], ("never seen", *CLASSES)])
def test_every_metric_equals_scikit_learns(seed: int, classes: tuple[str, ...]) -> None:
    true, predicted = labelled(seed, classes=tuple(c for c in classes if c != "never seen"))
    report = classification_report(true, predicted, classes, samples=10)
    precision, recall, f1, support = metrics.precision_recall_fscore_support(
        true, predicted, labels=classes, zero_division=0
    )
    assert report.accuracy.estimate == pytest.approx(metrics.accuracy_score(true, predicted))
    assert report.macro_f1.estimate == pytest.approx(
        metrics.f1_score(true, predicted, labels=classes, average="macro", zero_division=0)
    )
    assert np.array_equal(report.confusion, metrics.confusion_matrix(true, predicted, labels=classes))
    for i, name in enumerate(classes):
        scores = report.per_class[name]
        found = [scores.precision.estimate, scores.recall.estimate, scores.f1.estimate, scores.support]
        assert found == pytest.approx([precision[i], recall[i], f1[i], support[i]])


def test_intervals_agree_with_a_naive_bootstrap() -> None:
    true, predicted = labelled(1)
    report = classification_report(true, predicted, CLASSES, samples=20_000, seed=3)
    rng = np.random.default_rng(0)
    true_array, predicted_array = np.array(true), np.array(predicted)
    drawn = []
    for _ in range(500):
        rows = rng.integers(0, len(true), len(true))
        drawn.append(
            metrics.precision_recall_fscore_support(true_array[rows], predicted_array[rows], labels=CLASSES)[2][0]
        )
    low, high = np.quantile(drawn, [0.025, 0.975])
    f1 = report.per_class[CLASSES[0]].f1
    assert (f1.low, f1.high) == pytest.approx((low, high), abs=0.012)


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


def test_equal_arguments_give_equal_reports_and_json_round_trips() -> None:
    true, predicted = labelled(2)
    report = classification_report(true, predicted, CLASSES, samples=200, seed=9)
    assert report == classification_report(true, predicted, CLASSES, samples=200, seed=9)
    assert report != classification_report(true, predicted, CLASSES, samples=200, seed=10)
    assert EvalReport.model_validate_json(report.model_dump_json()) == report


def test_the_order_of_the_classes_changes_no_figure() -> None:
    true, predicted = labelled(3)
    one = classification_report(true, predicted, CLASSES, samples=200)
    other = classification_report(true, predicted, CLASSES[::-1], samples=200)
    assert one.accuracy == other.accuracy
    assert {name: one.per_class[name] for name in CLASSES} == {name: other.per_class[name] for name in CLASSES}
    assert one.macro_f1.low == pytest.approx(other.macro_f1.low)


def test_a_perfect_model_has_an_interval_without_width() -> None:
    report = classification_report(["a", "b"] * 10, ["a", "b"] * 10, ("a", "b"))
    assert report.accuracy == report.macro_f1
    assert (report.accuracy.low, report.accuracy.high) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("true", "predicted", "classes", "message"),
    [
        ([], [], CLASSES, "no examples"),
        (["fresh"], ["fresh", "rotten"], CLASSES, "1 true labels and 2 predicted"),
        (["fresh", "stale"], ["fresh"] * 2, CLASSES, "true label 'stale' of example 1 is not one of"),
        (["fresh"], [None], CLASSES, "predicted label None of example 0"),
        (["fresh"], [float("nan")], CLASSES, "predicted label nan of example 0"),
        (["fresh"], ["fresh"], ("fresh", "fresh"), "distinct"),
        (["fresh"], ["fresh"], (), "at least one"),
    ],
)
def test_labels_without_an_honest_figure_are_an_error(
    true: list, predicted: list, classes: tuple, message: str
) -> None:
    with pytest.raises(EvaluationError, match=message):
        confusion_matrix(true, predicted, classes)


def test_values_without_an_honest_figure_are_an_error() -> None:
    with pytest.raises(EvaluationError, match=r"values\[1\] is nan"):
        bootstrap([1.0, float("nan")])
    with pytest.raises(EvaluationError, match=r"not empty, got shape \(0,\)"):
        bootstrap([])
    with pytest.raises(EvaluationError, match="correct_a has 2, correct_b 3"):
        paired_bootstrap([True, False], [True, True, True])
    with pytest.raises(EvaluationError, match="confidence in"):
        bootstrap([1.0], confidence=95)
