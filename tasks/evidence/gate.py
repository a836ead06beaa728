"""The gate over a report: each rule of a policy, with its figure, pass or fail.

A candidate is all its seeds: figures are means over them, and their intervals hold the spread of seeds as well as that
of examples. One lucky run promotes nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from bert_core.intervals import Interval
from tasks.config.gate import EvidenceGate
from tasks.evidence.schema import CHAMPION, EvalReport, Lead, MetricFigure
from tasks.evidence.verdict import GateError, RuleResult, Verdict
from tasks.evidence.wording import chance, change, figure, held, metric_title, model_title

Measured = Mapping[str, Interval | float]


def judge_evidence(policy: EvidenceGate, report: EvalReport, *, measured: Measured | None = None) -> Verdict:
    """The verdict of `policy` on the candidate of `report`; equal arguments, equal verdict.

    Args:
        measured: by name what other tests found: "behaviour/<test>" pass rates, "bias/<group>" gaps,
            "robustness/<disturbance>" losses. With an interval, its less favourable end is judged.

    Raises:
        GateError: a measurement that is not finite, or a name that belongs to no rule.
    """
    found = dict(measured or {})
    for name, value in found.items():
        kind, slash, rest = name.partition("/")
        if kind not in ("behaviour", "bias", "robustness") or not slash or not rest:
            raise GateError(f"measured {name!r}: expected behaviour/<test>, bias/<group> or robustness/<disturbance>")
        if not all(math.isfinite(one) for one in _ends(value)):
            raise GateError(f"measured {name!r} is {value}: expected a finite number or interval")
    return Verdict(
        (
            _at_least("test examples", report.examples, policy.min_test_examples),
            _at_least("seeds", report.candidate.runs, policy.min_seeds),
            *_metrics(policy, report),
            *_classes(policy, report),
            *_slices(policy, report),
            *_baseline(policy, report),
            *_champion(policy, report),
            *_champion_slices(policy, report),
            *_calibration(policy, report),
            *_budgets(policy, report),
            *_other(policy.behaviour, "behaviour", found, policy, is_floor=True),
            *_other(policy.bias, "bias", found, policy, is_floor=False),
            *_other(policy.robustness, "robustness", found, policy, is_floor=False),
        )
    )


def _at_least(name: str, value: int, least: int) -> RuleResult:
    return RuleResult(name, value >= least, float(value), float(least), f"{value:,}, at least {least:,} needed")


def _metrics(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    limits = [*((name, limit, True) for name, limit in policy.minimum.items())]
    limits += [(name, limit, False) for name, limit in policy.maximum.items()]
    for name, limit, is_floor in limits:
        metric = report.candidate.metrics.get(name)
        rule = f"{metric_title(name)} {'at least' if is_floor else 'at most'} {limit:g}"
        if metric is None:
            of_all = [one for one in report.candidate.metrics if "/" not in one]
            why = report.candidate.left_out.get(name) or f"there are: {', '.join(of_all)}, and those of classes"
            yield _unmeasured(rule, limit, why)
        else:
            yield _limit(rule, metric.interval, limit, policy, metric.unit, is_floor=is_floor)


def _classes(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    if policy.min_class_f1 is None:
        return
    if not report.classes:
        yield _unmeasured("F1 of each class", policy.min_class_f1, "the task has no classes")
    for one in report.classes:
        rule = f"F1 of {one.name}"
        if one.support == 0:
            yield _unmeasured(rule, policy.min_class_f1, "no test example is of this class")
        else:
            yield _limit(rule, one.f1, policy.min_class_f1, policy, "share", is_floor=True)


def _slices(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    metric = held(report, report.primary)
    for wanted, limit in policy.slice_minimum.items():
        found = [one for one in report.slices if wanted in (one.name, one.column)]
        if not found:
            yield _unmeasured(f"slice {wanted}", limit, _known_slices(report))
        for one in found:
            rule = f"{metric_title(report.primary)} of slice {one.name}"
            yield _limit(rule, one.interval, limit, policy, metric.unit, is_floor=metric.higher_is_better)


def _baseline(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    if policy.min_gain_over_baseline is None:
        return
    best = report.best_baseline(report.primary)
    rule = "gain over best baseline"
    if best is None:
        why = 'no baseline was measured; with gate.min_gain_over_baseline = "off" none has to be beaten'
        yield _unmeasured(rule, policy.min_gain_over_baseline, why)
        return
    lead = report.models[best].leads[report.primary]
    yield _gain(rule, lead, policy.min_gain_over_baseline, policy, report, model_title(best))


def _champion(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    if policy.max_regression is None:
        return
    rule = "no regression against champion"
    if report.champion is None:
        yield RuleResult(rule, True, None, -policy.max_regression, "no champion yet: passes")
    elif (lead := report.champion.leads.get(report.primary)) is None:
        yield _unmeasured(rule, -policy.max_regression, f"the champion has no {metric_title(report.primary)}")
    else:
        yield _gain(rule, lead, -policy.max_regression, policy, report, "the champion")


def _champion_slices(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    for wanted in policy.slices_must_not_regress:
        rule = f"no regression in slice {wanted}"
        if report.champion is None:
            yield RuleResult(rule, True, None, -policy.max_slice_regression, "no champion yet: passes")
            continue
        found = [one for one in report.slices if wanted in (one.name, one.column) and CHAMPION in one.leads]
        if not found:
            yield _unmeasured(rule, -policy.max_slice_regression, _known_slices(report))
        for one in found:
            rule = f"no regression in slice {one.name}"
            yield _gain(rule, one.leads[CHAMPION], -policy.max_slice_regression, policy, report, "the champion")


def _calibration(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    if policy.max_ece is None:
        return
    if report.calibration is None:
        yield _unmeasured("calibration error", policy.max_ece, "the answers have no confidence")
    else:
        yield _limit("calibration error", report.calibration.ece, policy.max_ece, policy, "share", is_floor=False)


def _budgets(policy: EvidenceGate, report: EvalReport) -> Iterator[RuleResult]:
    costs = report.costs.get("model")
    for name, limit, value in (
        ("model size (MB)", policy.max_model_mb, costs.size_mb if costs else None),
        ("latency (ms)", policy.max_latency_ms, costs.latency_ms if costs else None),
    ):
        if limit is None:
            continue
        if value is None:
            yield _unmeasured(name, limit, "it was not measured")
        else:
            yield RuleResult(name, value <= limit, value, limit, f"{value:.3g}, at most {limit:g} allowed")


def _other(
    limits: Mapping[str, float], kind: str, measured: Measured, policy: EvidenceGate, *, is_floor: bool
) -> Iterator[RuleResult]:
    """A limit of its own wins over that of "*"."""
    known = [name.removeprefix(f"{kind}/") for name in measured if name.startswith(f"{kind}/")]
    for wanted, limit in limits.items():
        names = [name for name in known if name not in limits] if wanted == "*" else [wanted]
        if wanted == "*" and not known:
            yield _unmeasured(kind, limit, "nothing of the kind was measured")
        for name in names:
            value = measured.get(f"{kind}/{name}")
            if value is None:
                yield _unmeasured(f"{kind}: {name}", limit, f"measured are: {', '.join(known) or 'none'}")
            else:
                interval = value if isinstance(value, Interval) else Interval(value, value, value)
                yield _limit(f"{kind}: {name}", interval, limit, policy, "share", is_floor=is_floor)


def _limit(
    rule: str, interval: Interval, limit: float, policy: EvidenceGate, unit: str, *, is_floor: bool
) -> RuleResult:
    end = interval.low if is_floor else interval.high
    value = end if policy.judge_by == "bound" else interval.estimate
    passed = value >= limit if is_floor else value <= limit
    sure = f", surely {'at least' if is_floor else 'at most'} {figure(end, unit)}"
    shown = "" if interval.low == interval.high else sure
    detail = f"{figure(interval.estimate, unit)}{shown}; {'at least' if is_floor else 'at most'} {limit:g} asked"
    return RuleResult(rule, passed, value, limit, detail)


def _gain(rule: str, lead: Lead, least: float, policy: EvidenceGate, report: EvalReport, other: str) -> RuleResult:
    """Of the leading metric, so that more is better."""
    metric: MetricFigure = held(report, report.primary)
    sign = 1.0 if metric.higher_is_better else -1.0
    low = lead.interval.low if metric.higher_is_better else -lead.interval.high
    estimate = sign * lead.interval.estimate
    value = low if policy.judge_by == "bound" else estimate
    words = "gained" if metric.higher_is_better else "gained, less being better,"
    detail = (
        f"{change(estimate, metric.unit)} {metric_title(report.primary)} {words} on {other}, surely at least "
        f"{change(low, metric.unit)} ({chance(lead.p)}); at least {change(least, metric.unit)} asked"
    )
    return RuleResult(rule, value >= least, value, least, detail)


def _unmeasured(rule: str, limit: float, why: str) -> RuleResult:
    return RuleResult(rule, False, None, limit, f"not measured, and the policy asks for it: {why}")


def _known_slices(report: EvalReport) -> str:
    return f"slices are: {', '.join(one.name for one in report.slices) or 'none'}"


def _ends(value: Interval | float) -> tuple[float, ...]:
    return (value.estimate, value.low, value.high) if isinstance(value, Interval) else (value,)
