"""What a reader of the report should take from it, each with its figure and what it was judged by."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tasks.evidence.schema import EvalReport
from tasks.evidence.wording import better, chance, change, change_span, held, metric_title, model_title

FEW_SEEDS = 3
HIGH_ECE = 0.05
MANY_SUSPECTS = 0.05
LOW_PART = 0.8


@dataclass(frozen=True)
class Finding:
    """One line of the verdict."""

    mark: Literal["pass", "attention", "unknown"]
    title: str
    figure: str
    rule: str = ""
    place: str = ""
    """The section that tells more."""


def findings(report: EvalReport) -> list[Finding]:
    """In the order of the page."""
    return [
        *_against(report),
        *_seeds(report),
        *_classes(report),
        *_slices(report),
        *_calibration(report),
        *_labels(report),
    ]


def _against(report: EvalReport) -> Iterator[Finding]:
    metric = held(report, report.primary)
    best = report.best_baseline(report.primary)
    for title, name in (("Best baseline", best), ("Champion", "champion" if report.champion else None)):
        if name is None:
            yield Finding("unknown", title, "none was measured", place="comparison")
            continue
        lead = report.models[name].leads.get(report.primary)
        if lead is None:
            yield Finding("unknown", title, f"{model_title(name)} has no {metric_title(report.primary)}")
            continue
        told = better(report, report.primary, lead.interval)
        words = {True: "better", False: "worse", None: "no difference that these examples show"}[told]
        mark: Literal["pass", "attention", "unknown"] = {True: "pass", False: "attention", None: "attention"}[told]  # type: ignore[assignment]
        if told is None and title == "Champion":
            mark = "unknown"
        figure = f"{words}: {change(lead.interval.estimate, metric.unit)} {metric_title(report.primary)}"
        against = f" against {model_title(name)}" if title == "Best baseline" else ""
        rule = f"{change_span(lead.interval, metric.unit)}, {chance(lead.p)}{against}"
        yield Finding(mark, title, figure, rule, "comparison")


def _seeds(report: EvalReport) -> Iterator[Finding]:
    runs = report.candidate.runs
    if runs < FEW_SEEDS:
        yield Finding(
            "attention",
            "Seeds",
            f"{runs}: how much luck is in the figures is not known",
            f"{FEW_SEEDS} or more show it",
            "comparison",
        )


def _classes(report: EvalReport) -> Iterator[Finding]:
    known = [one for one in report.classes if one.support]
    if len(known) < 2:
        return
    low, high = (pick(known, key=lambda one: one.f1.estimate) for pick in (min, max))
    is_low = low.f1.high <= LOW_PART * high.f1.estimate  # also where both are 0
    figure = f"{low.name} has the lowest F1, {low.f1.estimate:.3f}; {high.name} the highest, {high.f1.estimate:.3f}"
    figure = figure if high.f1.estimate else f"none of {len(known)} is ever right"
    rule = f"asks for attention where the lowest is surely below {LOW_PART:.0%} of the highest"
    yield Finding("attention" if is_low else "pass", "Classes", figure, rule, "classes")


def _slices(report: EvalReport) -> Iterator[Finding]:
    if not report.slices:
        return
    worse = [one for one in report.slices if one.is_worse]
    names = "; ".join(f"{one.column}: {one.value} ({one.interval.estimate:.3f})" for one in worse)
    rule = f"{1 - report.confidence:.0%} level, corrected for {len(report.slices)} slices"
    figure = f"worse than the rest: {names}" if worse else f"none of {len(report.slices)} is worse than the rest"
    yield Finding("attention" if worse else "pass", "Slices", figure, rule, "slices")


def _calibration(report: EvalReport) -> Iterator[Finding]:
    found = report.calibration
    if found is None:
        return
    gap = found.mean_confidence - found.accuracy
    way = f"{'too sure' if gap > 0 else 'not sure enough'} by {abs(gap):.1%}"
    if abs(gap) < found.ece.estimate / 2:  # too sure here and not sure enough there
        way = f"a confidence is {found.ece.estimate:.1%} off on average"
    figure = f"{found.mean_confidence:.1%} sure and right {found.accuracy:.1%} of the time; {way}"
    mark: Literal["pass", "attention"] = "attention" if found.ece.estimate > HIGH_ECE else "pass"
    rule = f"expected calibration error {found.ece.estimate:.3f}; up to {HIGH_ECE} passes"
    yield Finding(mark, "Calibration", figure, rule, "calibration")


def _labels(report: EvalReport) -> Iterator[Finding]:
    for one in report.suspects:
        share = one.found / max(1, one.examples)
        mark: Literal["pass", "attention"] = "attention" if share > MANY_SUSPECTS else "pass"
        figure = f"{one.found:,} of {one.examples:,} on the {one.side} side may be wrong ({share:.1%})"
        yield Finding(mark, "Labels", figure, f"confident learning; up to {MANY_SUSPECTS:.0%} passes", "suspects")
