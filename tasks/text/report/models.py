"""What came out: the models side by side, the candidate by class, the gate, the registry."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bert_core.evaluate import EvalReport, Interval
from tasks.registry.gate import Verdict
from tasks.text.comparison import Comparison
from tasks.text.report.layout import WIDTH, Column, Section, Table, numbers
from tasks.text.report.stages import ModelVersion
from tasks.text.report.wording import model_title, ordered_models, signed

YES, NO = "✓", "✗"


def side_by_side(comparison: Comparison | None) -> Section | None:
    if comparison is None:
        return None
    reports = {name: comparison.reports[name] for name in ordered_models(comparison.reports)}
    titles = {name: f"{'▸' if name == comparison.candidate else ' '} {model_title(name)}" for name in reports}
    low, high = _axis([report.accuracy for report in reports.values()])
    chart = min(30, max(12, WIDTH - 53 - max(len(title) for title in titles.values())))  # characters
    columns = (
        Column("  model"),
        Column("accuracy", "right"),
        Column(_axis_title(low, high, chart), terminal_only=True),
        Column(f"{model_title(comparison.candidate)} minus it", "right"),
    )
    rows = tuple(
        (
            titles[name],
            str(report.accuracy),
            _whisker(report.accuracy, low, high, chart),
            _lead(comparison.leads[name]) if name in comparison.leads else "",
        )
        for name, report in reports.items()
    )
    report = reports[comparison.candidate]
    note = f"{report.examples:,} test documents, {report.confidence:.0%} intervals, paired differences, ~ within noise"
    return Section("Models", (Table(columns, rows),), note)


def _lead(lead: Interval) -> str:
    return f"{'~' if lead.low <= 0 <= lead.high else ''}{signed(lead)}"


def classes(comparison: Comparison | None) -> Section | None:
    if comparison is None:
        return None
    report = comparison.reports[comparison.candidate]
    scores = Table(
        (Column("class"), *numbers("precision", "recall", "F1", "documents", "called so")),
        tuple(
            (name, str(one.precision), str(one.recall), str(one.f1), f"{one.support:,}", f"{one.predicted:,}")
            for name, one in ((name, report.per_class[name]) for name in report.classes)
        ),
    )
    blocks = (scores, _confusion(report)) if len(report.classes) <= 6 else (scores,)
    title = f"{model_title(comparison.candidate)} by class"
    return Section(title, blocks, f"macro F1 {report.macro_f1}")


def _confusion(report: EvalReport) -> Table:
    columns = (Column("of the true"), *numbers(*(f"called {name}" for name in report.classes)))
    rows = [
        (name, *(f"{cell:,}" for cell in cells)) for name, cells in zip(report.classes, report.confusion, strict=True)
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
    low = math.floor(min(interval.low for interval in intervals) * 20) / 20
    high = math.ceil(max(interval.high for interval in intervals) * 20) / 20
    return low, high if high > low else low + 0.05


def _axis_title(low: float, high: float, chart: int) -> str:
    left, right = f"{low:.2f}", f"{high:.2f}"
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
