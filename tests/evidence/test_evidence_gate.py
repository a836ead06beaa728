"""The gate over seeds and examples: no lucky run is promoted, and every rule is named with its figure."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from evidence_cases import CASES, DRAW, causal, single
from metric_tables import names

from bert_core.config import ConfigError, SequenceTask, validate
from bert_core.intervals import Interval
from tasks.config.gate import EvidenceGate
from tasks.evidence.gate import judge_evidence
from tasks.evidence.report import Draw, EvalReport, Evidence, build_report
from tasks.evidence.schema import Costs
from tasks.evidence.verdict import GateError, RuleResult, Verdict

NO_CHAMPION = EvidenceGate(min_test_examples=10)


def rule(verdict: Verdict, name: str) -> RuleResult:
    return next(one for one in verdict.rules if one.name == name)


def of_accuracies(ours: list[float], baseline: float, champion: float | None = None, size: int = 2_000) -> EvalReport:
    """A report of runs with the given accuracies: harder examples are got wrong first, as by real models."""
    rng = np.random.default_rng(0)
    true = rng.integers(0, 2, size)
    hardness = rng.random(size)
    labels = ("rotten", "fresh")

    def said(accuracy: float, seed: int) -> pa.Table:
        noisy = 0.9 * hardness + 0.1 * np.random.default_rng([seed, 9]).random(size)
        right = noisy < np.quantile(noisy, accuracy)
        return pa.table(
            {"id": names(size), "label": [labels[t if ok else 1 - t] for t, ok in zip(true, right, strict=True)]}
        )

    gold = pa.table(
        {"id": names(size), "text": ["x " * (i % 9) for i in range(size)], "label": [labels[t] for t in true]}
    )
    answers = {"model": [said(a, i) for i, a in enumerate(ours)], "baseline": [said(baseline, 100)]}
    if champion is not None:
        answers["champion"] = [said(champion, 200)]
    return build_report(
        Evidence(task=SequenceTask(labels=labels), gold=gold, answers=answers, draw=Draw(samples=1_000))
    )


def test_one_lucky_seed_is_not_promoted() -> None:
    """0.85, 0.74, 0.75 against 0.78: the first run alone would pass with ease; the model as it is trained does not."""
    policy = EvidenceGate(min_gain_over_baseline=0.0, minimum={"accuracy": 0.78})
    lucky = judge_evidence(policy, of_accuracies([0.85], 0.78))
    assert lucky.passed
    whole = judge_evidence(policy, of_accuracies([0.85, 0.74, 0.75], 0.78))
    assert not whole.passed
    assert {one.name for one in whole.failed} == {"accuracy at least 0.78", "gain over best baseline"}
    assert rule(whole, "gain over best baseline").value < 0  # type: ignore[operator]


def test_seeds_that_agree_are_promoted() -> None:
    policy = EvidenceGate(min_gain_over_baseline=0.02, min_seeds=3)
    assert judge_evidence(policy, of_accuracies([0.84, 0.85, 0.845], 0.78, champion=0.83)).passed


def test_even_a_mean_that_is_better_fails_if_its_seeds_scatter() -> None:
    report = of_accuracies([0.95, 0.76, 0.74], 0.78)
    assert report.candidate.metrics["accuracy"].interval.estimate > 0.81
    assert not judge_evidence(EvidenceGate(min_gain_over_baseline=0.0), report).passed
    by_mean = EvidenceGate(min_gain_over_baseline=0.0, judge_by="estimate")
    assert judge_evidence(by_mean, report).passed


def test_a_champion_is_not_replaced_by_something_worse() -> None:
    verdict = judge_evidence(EvidenceGate(max_regression=0.01), of_accuracies([0.80, 0.81], 0.7, champion=0.84))
    failed = rule(verdict, "no regression against champion")
    assert not failed.passed
    assert failed.threshold == -0.01
    assert "accuracy gained on the champion" in failed.detail
    assert rule(judge_evidence(NO_CHAMPION, of_accuracies([0.8], 0.7)), "no regression against champion").passed


def test_less_is_better_where_it_is() -> None:
    report = build_report(causal())
    assert judge_evidence(
        EvidenceGate(maximum={"perplexity": 8.0}, min_test_examples=10, min_gain_over_baseline=0.4), report
    ).passed
    verdict = judge_evidence(EvidenceGate(maximum={"perplexity": 7.0}, min_test_examples=10), report)
    assert [one.name for one in verdict.failed] == ["perplexity at most 7"]


def test_what_was_not_measured_fails_a_policy_that_asks_for_it() -> None:
    policy = EvidenceGate(
        min_test_examples=10,
        minimum={"auroc": 0.5},
        max_latency_ms=10,
        max_model_mb=10,
        slice_minimum={"forum": 0.1},
        behaviour={"negation": 0.9},
        bias={"*": 0.1},
        robustness={"typos": 0.05},
    )
    verdict = judge_evidence(policy, build_report(single()))
    wanted = {
        "AUROC at least 0.5",
        "latency (ms)",
        "model size (MB)",
        "slice forum",
        "behaviour: negation",
        "bias",
        "robustness: typos",
    }
    assert {one.name for one in verdict.failed} == wanted
    assert all(one.value is None and "not measured" in one.detail for one in verdict.failed)


def test_without_a_baseline_or_confidence_their_rules_fail() -> None:
    evidence = single()
    bare = [run.drop_columns("probabilities") for run in evidence.answers["model"]]
    report = build_report(replace(evidence, answers={"model": bare}))
    verdict = judge_evidence(EvidenceGate(min_test_examples=10, max_ece=0.5), report)
    assert {one.name for one in verdict.failed} == {"gain over best baseline", "calibration error"}
    assert 'gate.min_gain_over_baseline = "off"' in rule(verdict, "gain over best baseline").detail


def test_what_is_worse_than_a_baseline_or_the_champion_passes_no_policy_that_does_not_say_so() -> None:
    """A recipe that names no rule at all promotes nothing of which its own report says that it is worse."""
    worse = of_accuracies([0.70, 0.71], 0.78, champion=0.84)
    silent = judge_evidence(EvidenceGate(), worse)
    assert {one.name for one in silent.failed} == {"gain over best baseline", "no regression against champion"}
    off = validate(EvidenceGate, {"min_gain_over_baseline": "off", "max_regression": "off"}, source="a recipe")
    assert judge_evidence(off, worse).passed
    assert [one.name for one in judge_evidence(off, worse).rules] == ["test examples", "seeds"]
    assert validate(EvidenceGate, off.model_dump(mode="json"), source="as it is kept") == off


@pytest.mark.parametrize(
    ("key", "value", "said"), [("max_regression", -1, "0"), ("min_gain_over_baseline", "of", "valid number")]
)
def test_a_limit_that_makes_no_sense_is_refused(key: str, value: object, said: str) -> None:
    with pytest.raises(ConfigError, match=rf"{key} = {value!r}.*{said}"):
        validate(EvidenceGate, {key: value}, source="a recipe")


def test_what_other_tests_measured_is_judged_at_its_worse_end() -> None:
    policy = EvidenceGate(
        min_test_examples=10, behaviour={"*": 0.9, "names": 0.5}, bias={"gender": 0.05}, robustness={"typos": 0.05}
    )
    measured = {
        "behaviour/negation": Interval(0.93, 0.88, 0.97),
        "behaviour/names": 0.6,
        "bias/gender": Interval(0.03, 0.0, 0.04),
        "robustness/typos": Interval(0.04, 0.03, 0.06),
    }
    verdict = judge_evidence(policy, build_report(single()), measured=measured)
    assert {one.name for one in verdict.failed} == {"behaviour: negation", "robustness: typos"}
    assert rule(verdict, "behaviour: negation").value == 0.88
    assert rule(verdict, "robustness: typos").value == 0.06
    by_mean = policy.model_copy(update={"judge_by": "estimate"})
    assert judge_evidence(by_mean, build_report(single()), measured=measured).passed


def test_slices_have_floors_and_must_not_regress() -> None:
    evidence = single(300)
    gold = evidence.gold.append_column("forum", pa.array(["a" if i % 2 else "b" for i in range(300)]))
    champion = evidence.answers["model"][0]
    report = build_report(
        replace(
            evidence,
            gold=gold,
            answers={**evidence.answers, "champion": [champion]},
            slice_by=("forum",),
            costs={"model": Costs(size_mb=90, latency_ms=11)},
        )
    )
    policy = EvidenceGate(
        slice_minimum={"forum": 0.2, "forum=a": 0.99},
        slices_must_not_regress=("forum=b",),
        max_slice_regression=0.2,
        max_regression=0.2,
        max_model_mb=100,
        max_latency_ms=10,
        min_class_f1=0.3,
    )
    verdict = judge_evidence(policy, report)
    assert {one.name for one in verdict.failed} == {"accuracy of slice forum=a", "latency (ms)"}
    assert {"no regression in slice forum=b", "F1 of rotten", "accuracy of slice forum=b"} <= {
        r.name for r in verdict.rules
    }


def test_every_rule_is_in_the_verdicts_table() -> None:
    verdict = judge_evidence(EvidenceGate(minimum={"accuracy": 0.1}), build_report(single()))
    assert [row["rule"] for row in verdict.table()] == [
        "test examples",
        "seeds",
        "accuracy at least 0.1",
        "gain over best baseline",
        "no regression against champion",
    ]
    assert verdict.summary == "failed 1 of 5 rules: test examples (90, at least 100 needed)"


@pytest.mark.parametrize("case", CASES)
def test_any_task_can_be_judged(case: str) -> None:
    """Each case's model is drawn to be better than its baseline."""
    verdict = judge_evidence(NO_CHAMPION, build_report(replace(CASES[case](), draw=DRAW)))
    assert verdict.passed, verdict.summary


def test_policies_and_measurements_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"min_accuracy.*unknown key; legal keys here: .*minimum"):
        validate(EvidenceGate, {"min_accuracy": 0.8})
    with pytest.raises(ConfigError, match=r"\['accuracy'\]: either in minimum or in maximum"):
        validate(EvidenceGate, {"minimum": {"accuracy": 0.8}, "maximum": {"accuracy": 0.9}})
    report = build_report(single())
    with pytest.raises(GateError, match=r"measured 'typos': expected behaviour/<test>"):
        judge_evidence(NO_CHAMPION, report, measured={"typos": 0.1})
    with pytest.raises(GateError, match=r"'bias/gender' is nan: expected a finite number"):
        judge_evidence(NO_CHAMPION, report, measured={"bias/gender": float("nan")})
