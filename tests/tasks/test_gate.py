"""The gate's rules, on predictions made to pass or fail each of them."""

import time

import numpy as np
import pyarrow as pa
import pytest

from tasks.config import GateConfig
from tasks.registry.gate import GateError, Verdict, judge

N = 1_000


def predictions(**accuracy: float) -> dict[str, list[str]]:
    """True labels, half of each class, and for each model the labels of a coin that is right with `accuracy`."""
    truth = np.array(["fresh", "rotten"] * (N // 2))
    other = np.array(["rotten", "fresh"] * (N // 2))
    columns = {"label": truth.tolist()}
    for seed, (name, share) in enumerate(accuracy.items()):
        wrong = np.random.default_rng(seed).random(N) >= share
        columns[name] = np.where(wrong, other, truth).tolist()
    return columns


def verdict(config: GateConfig, columns: object, **changes: object) -> Verdict:
    arguments = {
        "baselines": ["majority", "logistic_regression"],
        "champion": None,
        "size_mb": 90.0,
        "latency_ms": 12.0,
        "seed": 7,
        "samples": 500,
    }
    return judge(config, columns, **(arguments | changes))


def rule(result: Verdict, name: str):
    return next(rule for rule in result.rules if rule.name == name)


GOOD = {"majority": 0.5, "logistic_regression": 0.75, "bert": 0.84}


def test_a_good_first_candidate_passes_every_rule_and_each_is_named() -> None:
    config = GateConfig(min_accuracy=0.8, min_f1=0.8, min_gain_over_baseline=0.03, max_model_mb=100, max_latency_ms=50)
    result = verdict(config, predictions(**GOOD))
    assert result.passed
    assert [rule.name for rule in result.rules] == [
        "test examples",
        "accuracy",
        "F1 of fresh",
        "F1 of rotten",
        "gain over best baseline",
        "no regression against champion",
        "model size (MB)",
        "latency (ms)",
    ]
    assert "logistic_regression" in rule(result, "gain over best baseline").detail
    assert rule(result, "no regression against champion").detail == "no champion yet: passes"


def test_every_rule_is_checked_though_the_first_one_failed() -> None:
    config = GateConfig(
        min_test_examples=5_000, min_accuracy=0.9, min_f1=0.9, min_gain_over_baseline=0.2, max_regression=0.0,
        max_model_mb=10, max_latency_ms=1,
    )  # fmt: skip
    result = verdict(config, predictions(**GOOD, champion=0.9), champion="champion")
    assert [rule.passed for rule in result.rules] == [False] * 8
    assert result.summary.startswith("failed 8 of 8 rules: test examples (1,000 test examples, at least 5,000 wanted)")


@pytest.mark.parametrize(("margin", "passed"), [(0.0, False), (0.05, True)])
def test_against_the_champion_the_lower_end_decides(margin: float, passed: bool) -> None:
    """Equally good models: nobody can be 95% sure that nothing was lost, but that at most 0.05 was."""
    columns = predictions(**GOOD, champion=0.84)
    result = rule(
        verdict(GateConfig(max_regression=margin), columns, champion="champion"), "no regression against champion"
    )
    assert result.passed is passed
    assert result.value is not None
    assert -0.05 < result.value < 0


def test_the_interval_agrees_with_a_plain_loop() -> None:
    columns = predictions(**GOOD)
    truth, bert, logistic = (np.array(columns[name]) for name in ("label", "bert", "logistic_regression"))
    difference = (bert == truth).astype(float) - (logistic == truth)
    rng = np.random.default_rng(0)
    drawn = [difference[rng.integers(0, N, N)].mean() for _ in range(2_000)]
    value = rule(verdict(GateConfig(), columns, samples=2_000), "gain over best baseline").value
    assert value == pytest.approx(np.quantile(drawn, 0.025), abs=0.003)


def test_equal_inputs_give_equal_verdicts_and_arrow_tables_are_the_same_as_columns() -> None:
    columns = predictions(**GOOD)
    assert verdict(GateConfig(), columns) == verdict(GateConfig(), pa.table(columns))


def test_a_class_without_test_examples_fails() -> None:
    columns = predictions(**GOOD) | {"label": ["fresh"] * N}
    result = rule(verdict(GateConfig(), columns), "F1 of rotten")
    assert not result.passed
    assert "no test example is 'rotten'" in result.detail


def test_a_limit_on_what_was_not_measured_fails() -> None:
    result = verdict(GateConfig(max_latency_ms=5), predictions(**GOOD), latency_ms=None, size_mb=None)
    assert "not measured" in rule(result, "latency (ms)").detail
    assert [rule.name for rule in result.failed] == ["latency (ms)"]


@pytest.mark.parametrize(
    ("columns", "changes", "message"),
    [
        ({"label": [], "bert": []}, {}, "'label' is empty"),
        (predictions(majority=0.5, bert=0.8), {}, "no column 'logistic_regression'.*label, majority, bert"),
        (predictions(**GOOD) | {"bert": [None] * N}, {}, "'bert', row 0: None is not a label"),
        (predictions(**GOOD) | {"bert/fresh": [float("nan")] * N}, {}, "'bert/fresh', row 0: nan is not a prob"),
        (predictions(**GOOD) | {"bert/fresh": [0.5] * 9 + [None] * (N - 9)}, {}, "'bert/fresh', row 9: nan"),
        (predictions(**GOOD) | {"bert": ["fresh"]}, {}, "1 rows, label has 1000"),
        (predictions(**GOOD), {"latency_ms": float("nan")}, r"latency \(ms\) is nan"),
        (predictions(**GOOD), {"baselines": []}, "baselines is empty"),
    ],
)
def test_no_verdict_follows_from_bad_input(columns: object, changes: dict[str, object], message: str) -> None:
    with pytest.raises(GateError, match=message):
        verdict(GateConfig(), columns, **changes)


def test_markdown_and_table_show_every_rule() -> None:
    result = verdict(GateConfig(min_accuracy=0.99), predictions(**GOOD))
    text = result.markdown()
    assert text.startswith("**Refused**: failed 1 of 8 rules: accuracy (")
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 2 + 8
    assert {row["verdict"] for row in result.table()} == {"pass", "FAIL"}


def test_a_hundred_thousand_examples_take_no_time() -> None:
    columns = {name: values * 100 for name, values in predictions(**GOOD).items()}
    started = time.perf_counter()
    verdict(GateConfig(), columns, samples=10_000)
    assert time.perf_counter() - started < 5
