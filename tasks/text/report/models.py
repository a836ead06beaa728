"""What came out: the models side by side, the candidate by class, the gate, the registry."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bert_core.intervals import Interval
from tasks.evidence.schema import CANDIDATE, CHAMPION, Confusion, EvalReport
from tasks.evidence.verdict import Verdict
from tasks.evidence.wording import better, bounded, difference, held, metric_title, model_title
from tasks.text.report.layout import WIDTH, Column, Section, Table, numbers
from tasks.text.report.stages import ModelVersion

YES, NO = "✓", "✗"


def side_by_side(evidence: EvalReport | None) -> Section | None:
    if evidence is None:
        return None
    metric, unit = evidence.primary, held(evidence, evidence.primary).unit
    figures = {name: evidence.models[name].metrics[metric] for name in _ordered(evidence)}
    titles = {name: f"{'▸' if name == CANDIDATE else ' '} {model_title(name)}" for name in figures}
    low, high = _axis([one.interval for one in figures.values()])
    chart = min(30, max(12, WIDTH - 55 - max(len(title) for title in titles.values())))  # characters
    columns = (
        Column("  model"),
        Column(metric_title(metric), "right"),
        Column(_axis_title(low, high, chart), terminal_only=True),
        Column("this model minus it", "right"),
    )
    rows = tuple(
        (
            titles[name],
            bounded(one.interval, unit),
            _whisker(one.interval, low, high, chart),
            _lead(evidence, name, unit),
        )
        for name, one in figures.items()
    )
    runs = evidence.candidate.runs
    note = (
        f"{evidence.examples:,} test examples, {runs} seed{'s' if runs > 1 else ''}, {evidence.confidence:.0%} "
        "intervals over both, ~ within noise"
    )
    return Section("Models", (Table(columns, rows),), note)


def _ordered(evidence: EvalReport) -> list[str]:
    """Baselines from the worst to the best, then ablations, the champion, and the candidate; those with the metric."""
    metric = evidence.primary
    sign = 1 if held(evidence, metric).higher_is_better else -1
    measured = [name for name, one in evidence.models.items() if metric in one.metrics]

    def place(name: str) -> tuple[int, float]:
        kind = 3 if name == CANDIDATE else 2 if name == CHAMPION else int(name in evidence.ablations)
        return kind, sign * evidence.models[name].metrics[metric].interval.estimate

    return sorted(measured, key=place)


def _lead(evidence: EvalReport, name: str, unit: str) -> str:
    lead = evidence.models[name].leads.get(evidence.primary)
    if lead is None:
        return ""
    noise = better(evidence, evidence.primary, lead.interval) is None
    return f"{'~' if noise else ''}{difference(lead.interval, unit)}"


def classes(evidence: EvalReport | None) -> Section | None:
    if evidence is None or not evidence.classes:
        return None
    share = "share"
    scores = Table(
        (Column("class"), *numbers("precision", "recall", "F1", "examples", "called so")),
        tuple(
            (
                one.name,
                *(bounded(each, share) for each in (one.precision, one.recall, one.f1)),
                f"{one.support:,}",
                f"{one.said:,.0f}",
            )
            for one in evidence.classes
        ),
    )
    confusion = evidence.confusion
    small = confusion is not None and len(confusion.labels) <= 6
    blocks = (scores, _confusion(confusion)) if confusion is not None and small else (scores,)
    macro = evidence.candidate.metrics.get("macro_f1")
    return Section("By class", blocks, f"macro F1 {bounded(macro.interval, share)}" if macro else "")


def _confusion(confusion: Confusion) -> Table:
    columns = (Column("of the true"), *numbers(*(f"called {name}" for name in confusion.labels)))
    rows = [
        (name, *(f"{cell / confusion.runs:,.0f}" for cell in cells))
        for name, cells in zip(confusion.labels, confusion.counts, strict=True)
    ]
    return Table(columns, tuple(rows))


def gate(verdict: Verdict | None) -> Section | None:
    if verdict is None:
        return None
    rows = tuple((YES if rule.passed else NO, rule.name, rule.detail) for rule in verdict.rules)
    passed = len(verdict.rules) - len(verdict.failed)
    note = f"{'passed' if verdict.passed else 'REFUSED'}, {passed} of {len(verdict.rules)} rules hold"
    return Section("Gate", (Table((Column(""), Column("rule"), Column("finding")), rows),), note)


def registry(version: ModelVersion | None) -> Section | None:
    if version is None:
        return None
    aliases = "  ".join(f"@{alias}" for alias in version.aliases) or "no alias"
    row = (version.name, version.version, aliases, version.note)
    return Section("Registry", (Table((Column("model"), Column("version"), Column("aliases"), Column("")), (row,)),))


def _axis(intervals: Sequence[Interval]) -> tuple[float, float]:
    """Round ends of a scale that holds all the intervals."""
    least, most = min(interval.low for interval in intervals), max(interval.high for interval in intervals)
    step = 10 ** math.floor(math.log10(max(most - least, 1e-3))) / 2
    low, high = math.floor(least / step) * step, math.ceil(most / step) * step
    return low, high if high > low else low + step


def _axis_title(low: float, high: float, chart: int) -> str:
    left, right = f"{low:.3g}", f"{high:.3g}"
    return left + "·" * (chart - len(left) - len(right)) + right


def _whisker(interval: Interval, low: float, high: float, chart: int) -> str:
    """`├──●──┤` on a scale of `chart` characters from `low` to `high`."""

    def place(value: float) -> int:
        return round((value - low) / (high - low) * (chart - 1))

    start, middle, end = place(interval.low), place(interval.estimate), place(interval.high)
    cells = [" "] * chart
    cells[start : end + 1] = "─" * (end + 1 - start)
    cells[start], cells[end] = "├", "┤"
    cells[middle] = "●"
    return "".join(cells)
