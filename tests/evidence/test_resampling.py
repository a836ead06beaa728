"""Intervals against theory and a naive bootstrap; comparisons against scipy; seeds that differ more than examples."""

import math
import time

import numpy as np
import pyarrow as pa
import pytest
from metric_tables import LABELS, class_tables, names
from scipy import stats
from sklearn import metrics as sk

from bert_core.config import SequenceTask, TokenTask
from bert_core.intervals import EvaluationError
from bert_core.metrics import (
    Metric,
    Scores,
    aligned,
    approximate_randomisation,
    holm,
    interval,
    mcnemar,
    paired_difference,
    resample,
    score,
)
from bert_core.metrics.metric import mean_of
from bert_core.metrics.resampling import two_sided

TASK = SequenceTask(labels=LABELS)


def right(values: np.ndarray) -> Metric:
    return Metric("accuracy", np.stack([values, np.ones(len(values))], axis=1).astype(float), mean_of(0, 1))


def test_over_examples_it_is_the_naive_bootstrap() -> None:
    gold, answers = class_tables(size=200)
    true, said = (np.array(t["label"].to_pylist()) for t in (gold, aligned(gold, answers)))
    found = resample({"model": [score(TASK, gold, answers)]}, samples=4_000).interval("model", "macro_f1")
    rng = np.random.default_rng(5)
    drawn = [
        sk.f1_score(true[rows], said[rows], average="macro")
        for rows in (rng.integers(0, 200, 200) for _ in range(1_000))
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=0.012)


def test_the_spread_is_that_of_a_mean_over_seeds_and_examples() -> None:
    """Seeds whose accuracies differ by much: their spread / sqrt(R) is the interval's, not a smaller one."""
    rng = np.random.default_rng(0)
    accuracy = [0.6, 0.7, 0.8, 0.9]
    runs = [Scores({"accuracy": right(rng.random(5_000) < a)}) for a in accuracy]
    found = resample({"model": runs}, samples=4_000)
    expected = np.std(accuracy, ddof=1) / math.sqrt(len(accuracy))
    assert found.interval("model", "accuracy").estimate == pytest.approx(0.75, abs=0.01)
    assert found.drawn["model"]["accuracy"].std() == pytest.approx(expected, rel=0.05)


def test_one_run_varies_by_its_examples_alone() -> None:
    values = np.random.default_rng(0).random(2_000) < 0.8
    found = interval([right(values)], samples=4_000)
    half = 1.96 * math.sqrt(0.8 * 0.2 / 2_000)
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.08)


def test_examples_are_drawn_alike_for_both_models_of_a_pair() -> None:
    """Two models that agree but for 20 examples differ by a narrow interval, though each one's own is wide."""
    a = np.random.default_rng(0).random(1_000) < 0.7
    b = a.copy()
    b[np.flatnonzero(a)[:20]] = False
    alone, both = interval([right(a)]), paired_difference([right(a)], [right(b)])
    assert both.interval.estimate == pytest.approx(0.02)
    assert both.interval.high - both.interval.low < (alone.high - alone.low) / 2
    assert both.p == pytest.approx(2 / 2_001)
    assert mcnemar(a, b) < 1e-5
    assert approximate_randomisation(right(a), right(b)) < 0.01


def test_three_tests_agree_where_there_is_little_to_see() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.random(400) < 0.80, rng.random(400) < 0.765
    exact = stats.binomtest(int((a & ~b).sum()), int((a ^ b).sum())).pvalue
    assert mcnemar(a, b) == pytest.approx(exact)
    assert paired_difference([right(a)], [right(b)]).p == pytest.approx(exact, abs=0.06)
    assert approximate_randomisation(right(a), right(b)) == pytest.approx(exact, abs=0.06)


def test_p_is_a_p_value() -> None:
    """Of models that are equal, a twentieth gets p < 0.05."""
    rng = np.random.default_rng(1)
    low = [
        paired_difference([right(rng.random(150) < 0.7)], [right(rng.random(150) < 0.7)], samples=300).p < 0.05
        for _ in range(200)
    ]
    assert 0.01 < np.mean(low) < 0.11


def test_equal_arguments_give_equal_figures_and_seeds_matter() -> None:
    gold, answers = class_tables()
    models = {
        "model": [score(TASK, gold, class_tables(seed=s)[1]) for s in range(3)],
        "other": [score(TASK, gold, answers)],
    }
    once, again, other = (resample(models, samples=100, seed=s) for s in (1, 1, 2))
    assert once.interval("model", "mcc") == again.interval("model", "mcc")
    assert once.difference("model", "other", "mcc") == again.difference("model", "other", "mcc")
    assert once.interval("model", "mcc") != other.interval("model", "mcc")


def test_a_model_s_interval_does_not_depend_on_which_others_are_compared() -> None:
    gold, answers = class_tables()
    runs = [score(TASK, gold, class_tables(seed=s)[1]) for s in range(3)]
    alone = resample({"model": runs}, samples=200)
    both = resample({"other": [score(TASK, gold, answers)], "model": runs}, samples=200)
    assert alone.interval("model", "accuracy") == both.interval("model", "accuracy")


def test_ten_thousand_examples_and_three_seeds_take_seconds() -> None:
    labels = tuple(f"c{i:02}" for i in range(20))
    task = SequenceTask(labels=labels)
    gold, _ = class_tables(10_000, labels)
    models = {name: [score(task, gold, class_tables(10_000, labels, seed=s)[1]) for s in range(3)] for name in "ab"}
    started = time.monotonic()
    resample(models, samples=2_000)
    assert time.monotonic() - started < 20


def test_scores_of_some_examples_are_those_of_a_smaller_set() -> None:
    gold, answers = class_tables()
    rows = np.arange(0, 300, 3)
    some = gold.take(pa.array(rows))
    direct = score(TASK, some, aligned(gold, answers).take(pa.array(rows))).values()
    assert score(TASK, gold, answers).take(rows).values() == pytest.approx(direct)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.slice(1), "1 of 300 examples have no answer: 'x"),
        (lambda t: pa.concat_tables([t, t.slice(3, 2)]), "answers repeats 2 ids: 'x"),
        (lambda t: t.drop_columns("id"), "answers has no column 'id'"),
        (lambda t: t.drop_columns("label"), "answers has no column 'label'; there are: id, probabilities"),
        (
            lambda t: t.set_column(1, "label", pa.array(["splendid", *t["label"].to_pylist()[1:]])),
            "label 'splendid' of 'x[0-9]+' is not one of the task's",
        ),
        (
            lambda t: t.set_column(2, "probabilities", pa.array([[0.5, 0.5]] * 300)),
            "'x00000' has 2 probabilities, expected 3",
        ),
        (
            lambda t: t.set_column(2, "probabilities", pa.array([[math.nan, 0.5, 0.5]] * 300)),
            "probabilities of 'x00000' are .*nan",
        ),
    ],
)
def test_answers_that_do_not_fit_are_named(change, message: str) -> None:  # type: ignore[no-untyped-def]
    gold, answers = class_tables()
    with pytest.raises(EvaluationError, match=message):
        score(TASK, gold, change(answers))


def test_answers_to_no_example_are_named() -> None:
    gold, answers = class_tables()
    with pytest.raises(EvaluationError, match="2 answers are to no example of the gold table"):
        score(TASK, gold.slice(2), answers)


def test_numbers_and_tags_that_do_not_fit_are_named() -> None:
    gold = pa.table({"id": names(2), "text": ["", ""], "label": [1.0, math.nan]})
    with pytest.raises(EvaluationError, match="label of 'x00001' is nan"):
        score(SequenceTask(kind="regression"), gold, pa.table({"id": names(2), "value": [1.0, 2.0]}))
    tagged = pa.table({"id": ["a"], "tokens": [["x", "y"]], "tags": [["O", "B-PER"]]})
    with pytest.raises(EvaluationError, match="'a' has 2 tokens and was answered with 1 tags"):
        score(TokenTask(), tagged, pa.table({"id": ["a"], "tags": [["O"]]}))
    with pytest.raises(EvaluationError, match="tag 'NOUN'"):
        score(TokenTask(), tagged, pa.table({"id": ["a"], "tags": [["O", "NOUN"]]}))


def test_what_is_not_defined_is_left_out_and_not_nan() -> None:
    """One class alone has no AUROC; a constant answer correlates with nothing."""
    gold = pa.table({"id": names(3), "text": [""] * 3, "label": ["a"] * 3})
    answers = pa.table({"id": names(3), "label": ["a"] * 3, "probabilities": [[0.9, 0.1]] * 3})
    scores = score(SequenceTask(labels=("a", "b")), gold, answers)
    assert "auroc" not in scores.values()
    assert "auroc" not in resample({"m": [scores]}, samples=20).metrics("m")
    numbers = pa.table({"id": names(3), "text": [""] * 3, "label": [1.0, 2.0, 3.0]})
    found = score(SequenceTask(kind="regression"), numbers, pa.table({"id": names(3), "value": [0.1] * 3})).values()
    assert found["pearson"] == found["spearman"] == 0


def test_models_on_other_examples_are_refused() -> None:
    gold, answers = class_tables()
    whole = score(TASK, gold, answers)
    with pytest.raises(EvaluationError, match="same examples, got numbers of them"):
        resample({"a": [whole], "b": [whole.take(np.arange(5))]})
    with pytest.raises(EvaluationError, match="model 'a' has no runs"):
        resample({"a": []})
    with pytest.raises(EvaluationError, match="same examples"):
        Scores({"a": right(np.ones(3)), "b": right(np.ones(4))})


def test_helpers_of_many_questions() -> None:
    assert holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})
    assert two_sided(np.full(99, math.nan)) == 1.0
    assert two_sided(np.array([1.0] * 99)) == pytest.approx(0.02)
