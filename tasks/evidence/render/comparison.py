"""The candidate beside the others, class by class, and slice by slice."""

from __future__ import annotations

from tasks.evidence.render.dots import Row, dots
from tasks.evidence.schema import CANDIDATE, EvalReport, ModelFigures
from tasks.evidence.wording import (
    better,
    chance,
    change,
    change_span,
    figure,
    held,
    metric_title,
    model_title,
    sentence,
    span,
)
from tasks.text.look.render.markup import Child, Markup, element, foreign, join
from tasks.text.look.render.tables import table
from tasks.text.look.wording import number, plural

MANY_CLASSES = 25


def comparison(report: EvalReport) -> Markup:
    main = held(report, report.primary)
    order = -1 if main.higher_is_better else 1
    able = {name: one for name, one in report.models.items() if report.primary in one.metrics}
    ranked = sorted(able, key=lambda name: order * able[name].metrics[report.primary].interval.estimate)
    rows = [
        Row(
            name=model_title(name),
            interval=able[name].metrics[report.primary].interval,
            small=plural(able[name].runs, "seed") if able[name].runs > 1 else "",
            runs=able[name].metrics[report.primary].runs,
            beside=_lead(report, able[name]),
            css="ours lead" if name == CANDIDATE else "",
        )
        for name in ranked
    ]
    direction = "more is better" if main.higher_is_better else "less is better"
    words = (
        f"{sentence(metric_title(report.primary))}, {direction}. Dot: mean over seeds; bar: {report.confidence:.0%} "
        "interval over test examples and seeds; strokes: single seeds. Right: how far this model is ahead."
    )
    return element(
        "section",
        element("h2", "Against the others"),
        element("p", words, css="note"),
        dots(rows, main.unit),
        element("h3", "Every metric"),
        _every_metric(report),
        _single_seeds(report),
        attributes={"id": "comparison"},
    )


def classes(report: EvalReport) -> Markup | None:
    if not report.classes:
        return None
    known = sorted(report.classes, key=lambda one: one.f1.estimate)
    rows = [
        Row(
            name=one.name,
            interval=one.f1,
            small=f"{one.support:,}",
            beside=f"P {one.precision.estimate:.3f} · R {one.recall.estimate:.3f}",
            css="ours",
        )
        for one in known[:MANY_CLASSES]
    ]
    figures = [
        [
            foreign(one.name),
            number(one.support),
            f"{one.said:,.0f}",
            *(
                join(f"{each.estimate:.3f} ", _small(span(each, "share")))
                for each in (one.precision, one.recall, one.f1)
            ),
        ]
        for one in known
    ]
    more = f" The lowest {MANY_CLASSES} of {len(known)} are drawn." if len(known) > MANY_CLASSES else ""
    note = f"F1 of each, the lowest first, with the number of test examples that are it.{more}"
    heads = ["class", "are it", "were called it", "precision", "recall", "F1"]
    summary = element("summary", "Precision and recall with intervals")
    return element(
        "section",
        element("h2", _classes_title(report)),
        element("p", note, css="note"),
        dots(rows, "share"),
        element("details", summary, table(heads, figures, 5), css="plain"),
        attributes={"id": "classes"},
    )


def _classes_title(report: EvalReport) -> str:
    if report.task.type != "token":
        return "By class"
    return "By type" if report.task.scheme == "bio" else "By tag"


def slices(report: EvalReport) -> Markup | None:
    if not report.slices:
        return None
    main = held(report, report.primary)
    rows = [
        Row(
            name=one.value,
            interval=one.interval,
            small=f"{one.examples:,}",
            beside=join(
                change(one.difference.estimate, main.unit),
                " to the rest, ",
                element("span", chance(one.p), css="flag") if one.is_worse else chance(one.p),
            ),
            css="worse" if one.is_worse else "ours",
            group=one.column,
        )
        for one in report.slices
    ]
    note = (
        f"{sentence(metric_title(report.primary))} of some of the examples, with their number; dashed: all of them. "
        f"Marked: worse than the rest, with p corrected for {plural(len(rows), 'slice')}."
    )
    left = "; ".join(f"{name}: {reason}" for name, reason in report.slices_left_out.items())
    return element(
        "section",
        element("h2", "By slice"),
        element("p", note, css="note"),
        dots(rows, main.unit, at=main.interval.estimate),
        element("p", foreign(f"Not drawn: {left}."), css="note") if left else None,
        _slices_against(report),
        attributes={"id": "slices"},
    )


def _slices_against(report: EvalReport) -> Markup | None:
    """How far ahead the candidate is within each slice."""
    names = [name for name in report.models if any(name in one.leads for one in report.slices)]
    if not names:
        return None
    unit = held(report, report.primary).unit
    rows: list[list[Child]] = [
        [
            foreign(f"{one.column}: {one.value}"),
            *(
                join(change(lead.interval.estimate, unit), " ", _small(change_span(lead.interval, unit)))
                if (lead := one.leads.get(name))
                else "–"
                for name in names
            ),
        ]
        for one in report.slices
    ]
    heads = ["slice", *(f"over {model_title(name)}" for name in names)]
    summary = element("summary", "How far ahead within each slice")
    return element("details", summary, table(heads, rows, len(names)), css="plain")


def _lead(report: EvalReport, model: ModelFigures) -> Child:
    lead = model.leads.get(report.primary)
    if lead is None:
        return None
    told = better(report, report.primary, lead.interval)
    css = {True: "up", False: "down", None: ""}[told]
    words = change(lead.interval.estimate, held(report, report.primary).unit)
    return join(element("span", words, css=css), f" · {chance(lead.p)}")


def _every_metric(report: EvalReport) -> Markup:
    """Those of the whole, with what the candidate gains over each other model."""
    others = [name for name in report.models if name != CANDIDATE]
    rows: list[list[Child]] = []
    for metric, one in report.candidate.metrics.items():
        if "/" in metric:
            continue
        cells: list[Child] = [join(figure(one.interval.estimate, one.unit), " ", _small(span(one.interval, one.unit)))]
        for name in others:
            theirs, lead = report.models[name].metrics.get(metric), report.models[name].leads.get(metric)
            if theirs is None or lead is None:
                cells.append("–")
                continue
            ahead = {True: " ✓", False: " ✗", None: ""}[better(report, metric, lead.interval)]
            cells.append(
                join(
                    figure(theirs.interval.estimate, theirs.unit),
                    " ",
                    _small(f"{change(-lead.interval.estimate, theirs.unit)}{ahead}"),
                )
            )
        arrow = "" if one.higher_is_better else " ↓"
        rows.append([metric_title(metric) + arrow, *cells])
    heads = ["metric", model_title(CANDIDATE), *(model_title(name) for name in others)]
    note = (
        "Small: the interval, and how far another is from this model; ✓ this model is surely better, ✗ surely worse; "
        "↓ less is better."
    )
    left = [f"{metric_title(name)}: {reason}" for name, reason in report.candidate.left_out.items()]
    return join(
        table(heads, rows, len(heads) - 1, "metrics"),
        element("p", note, css="note"),
        element("p", f"Not measured: {'; '.join(left)}.", css="note") if left else None,
    )


def _single_seeds(report: EvalReport) -> Markup | None:
    runs = report.candidate.runs
    if runs < 2:
        return None
    rows: list[list[Child]] = [
        [metric_title(name), *(figure(value, one.unit) for value in one.runs)]
        for name, one in report.candidate.metrics.items()
        if "/" not in name
    ]
    heads = ["metric", *(f"seed {i + 1}" for i in range(runs))]
    summary = element("summary", "Each seed of this model")
    return element("details", summary, table(heads, rows, runs), css="plain")


def _small(words: str) -> Markup:
    return element("span", words, css="note")
