"""What it takes: labels, time and money; the data's own report; and how the figures were made."""

from __future__ import annotations

import numpy as np

from tasks.evidence.render.curves import learning_curve, legend
from tasks.evidence.schema import Costs, EvalReport
from tasks.evidence.wording import held, metric_title, model_title, seconds, sentence
from tasks.text.look.render.markup import Child, Markup, element, foreign
from tasks.text.look.render.tables import table
from tasks.text.look.wording import short


def labels(report: EvalReport) -> Markup | None:
    curves = {name: points for name, points in report.learning_curves.items() if points}
    if not curves:
        return None
    note = f"{sentence(metric_title(report.primary))} on the test side against the number of labelled examples."
    return element(
        "section",
        element("h2", "More labels"),
        element("p", note, css="note"),
        legend(list(curves)),
        learning_curve(curves, held(report, report.primary).unit),
        attributes={"id": "labels"},
    )


def costs(report: EvalReport) -> Markup | None:
    if not report.costs:
        return None
    rows: list[list[Child]] = [[model_title(name), *_cost(one)] for name, one in report.costs.items()]
    heads = ["model", "one text", "a thousand", "price of a thousand", "size", "parameters", "training"]
    used = [i for i in range(len(heads)) if i == 0 or any(row[i] != "–" for row in rows)]
    shown = [[row[i] for i in used] for row in rows]
    return element(
        "section",
        element("h2", "Costs"),
        element("p", foreign(f"Measured on {report.machine}."), css="note") if report.machine else None,
        table([heads[i] for i in used], shown, len(used) - 1),
        attributes={"id": "costs"},
    )


def data(report: EvalReport) -> Markup | None:
    if not report.data_report:
        return None
    return element(
        "section",
        element("h2", "Data"),
        element("pre", report.data_report, css="kept-text", attributes={"dir": "auto"}),
        attributes={"id": "data"},
    )


def method(report: EvalReport) -> Markup:
    words = (
        f"Intervals hold {report.confidence:.0%} of {report.bootstrap_samples:,} bootstrap samples (seed "
        f"{report.seed}). Each draws test examples with replacement, the same for all models, and of a model's seeds "
        "one fewer than there are, so that the spread of few seeds is not made to look smaller than it is. A "
        "difference is taken within each sample; p is two-sided."
    )
    return element("section", element("h2", "How this was measured"), element("p", words, css="note"))


def _cost(one: Costs) -> list[Child]:
    return [
        f"{one.latency_ms:.3g} ms" if one.latency_ms is not None else "–",
        seconds(one.seconds_per_thousand),
        np.format_float_positional(one.price_per_thousand, 2, fractional=False, trim="-")
        if one.price_per_thousand is not None
        else "–",
        f"{one.size_mb:,.3g} MB" if one.size_mb is not None else "–",
        short(one.parameters) if one.parameters is not None else "–",
        seconds(one.train_seconds),
    ]
