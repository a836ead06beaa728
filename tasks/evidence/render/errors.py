"""What goes wrong: confidence, confusions, single examples, and labels that may themselves be wrong."""

from __future__ import annotations

from collections.abc import Sequence

from tasks.evidence.render.curves import reliability
from tasks.evidence.schema import Calibration, Confusion, EvalReport, ExampleFigures, Suspects, TagErrors
from tasks.evidence.wording import span
from tasks.text.look.render.markup import Child, Markup, element, foreign
from tasks.text.look.render.tables import table
from tasks.text.look.wording import share

MATRIX = 12
"""Classes that a matrix on a page can show."""
SHOWN_TEXT = 700


def calibration(report: EvalReport) -> Markup | None:
    found = report.calibration
    if found is None:
        return None
    return element(
        "section",
        element("h2", "Calibration"),
        element("div", reliability(found), _calibration_words(found), css="pair"),
        attributes={"id": "calibration"},
    )


def confusion(report: EvalReport) -> Markup | None:
    if report.confusion is None:
        return None
    found = report.confusion
    is_small = len(found.labels) <= MATRIX
    return element(
        "section",
        element("h2", "Confusions"),
        element(
            "p", "Rows: what it is; columns: what it was called. Mean over seeds, and the share of the row.", css="note"
        )
        if is_small
        else None,
        _matrix(found) if is_small else None,
        _pairs(found),
        attributes={"id": "confusion"},
    )


def tag_errors(report: EvalReport) -> Markup | None:
    found = report.tag_errors
    if found is None:
        return None
    rows: list[list[Child]] = [
        [foreign(text), foreign(true), foreign(said), f"{count:.1f}"] for text, true, said, count in found.confused
    ]
    return element(
        "section",
        element("h2", "What becomes of entities"),
        _stack(found),
        element("h3", "Most often confused") if rows else None,
        table(["text", "is", "was called", "times a seed"], rows, 1) if rows else None,
        attributes={"id": "entities"},
    )


def examples(report: EvalReport) -> Markup | None:
    if not report.hardest:
        return None
    is_text = bool(report.typical)
    note = (
        "Those with the worst outputs."
        if is_text
        else "Those with the highest loss, mean over seeds. Among them are labels that are wrong."
    )
    return element(
        "section",
        element("h2", "Worst and typical outputs" if is_text else "Hardest examples"),
        element("h3", "Worst") if is_text else None,
        element("p", note, css="note") if not is_text else None,
        _cards(report.hardest),
        element("h3", "Typical") if is_text else None,
        _cards(report.typical) if is_text else None,
        attributes={"id": "examples"},
    )


def suspects(report: EvalReport) -> Markup | None:
    held = [one for one in report.suspects if one.found]
    if not held:
        return None
    note = (
        "Confident learning (Northcutt et al., 2021): the model believes in the given label less than it does in "
        "others of that label, and in another one as much as in those that have it. A person decides."
    )
    return element(
        "section",
        element("h2", "Labels that may be wrong"),
        element("p", note, css="note"),
        *(_side(one) for one in held),
        attributes={"id": "suspects"},
    )


def _calibration_words(found: Calibration) -> Markup:
    rows: list[list[Child]] = [
        ["expected calibration error", f"{found.ece.estimate:.3f}", span(found.ece, "share")],
        ["mean confidence", f"{found.mean_confidence:.3f}", ""],
        ["share that is right", f"{found.accuracy:.3f}", ""],
    ]
    if found.nll is not None:
        rows.append(["negative log-likelihood", f"{found.nll:.4f}", ""])
    if found.temperature is not None and found.scaled_ece is not None:
        rows.append(["temperature from validation", f"{found.temperature:.2f}", ""])
        rows.append(["calibration error with it", f"{found.scaled_ece:.3f}", ""])
        rows.append(["log-likelihood with it", f"{found.scaled_nll:.4f}" if found.scaled_nll is not None else "–", ""])
    note = (
        "Each dot holds as many answers as the others; its line is the 95% interval of how many are right. Below the "
        "dashed line the model is too sure."
    )
    return element("div", element("p", note, css="note"), table(["", "", "interval"], rows, 2))


def _matrix(found: Confusion) -> Markup:
    head = [element("th", ""), *(element("th", foreign(label)) for label in found.labels), element("th", "examples")]
    rows = [element("tr", *head)]
    for i, label in enumerate(found.labels):
        total = sum(found.counts[i])
        cells = [_cell(count, total, found.runs, i == j) for j, count in enumerate(found.counts[i])]
        number = element("td", f"{total / found.runs:,.0f}", css="total")
        rows.append(element("tr", element("th", foreign(label), css="side"), *cells, number))
    return element("div", element("table", element("tbody", *rows), css="matrix"), css="scroll")


def _cell(count: int, total: int, runs: int, is_right: bool) -> Markup:
    part = count / total if total else 0.0
    shade = f"color-mix(in srgb,var(--{'blue' if is_right else 'amber'}) {90 * part:.0f}%,var(--card))"
    ink = ";color:var(--page)" if part > 0.55 else ""
    value = f"{count / runs:,.0f}" if runs == 1 or count / runs >= 10 else f"{count / runs:,.1f}"
    return element(
        "td", value, element("small", share(count, total)), css="cell", attributes={"style": f"background:{shade}{ink}"}
    )


def _pairs(found: Confusion) -> Markup | None:
    """The most frequent confusions, where there are more classes than two."""
    if len(found.labels) < 3:
        return None
    pairs = [(count, i, j) for i, row in enumerate(found.counts) for j, count in enumerate(row) if i != j and count]
    rows: list[list[Child]] = [
        [
            foreign(found.labels[i]),
            foreign(found.labels[j]),
            f"{count / found.runs:,.1f}",
            share(count, sum(found.counts[i])),
        ]
        for count, i, j in sorted(pairs, key=lambda pair: -pair[0])[:10]
    ]
    return table(["is", "was called", "times a seed", "of its examples"], rows, 2) if rows else None


def _stack(found: TagErrors) -> Markup:
    kinds = (
        ("right", "right", found.right),
        ("boundary", "wrong boundary", found.boundary),
        ("type", "wrong type", found.type),
        ("missed", "missed", found.missed),
        ("invented", "invented", found.invented),
    )
    total = sum(count for _, _, count in kinds) or 1.0
    bars = [
        element("span", css=f"{css}-part", attributes={"style": f"width:{100 * count / total:.2f}%", "title": words})
        for css, words, count in kinds
        if count
    ]
    items = [
        element("li", element("span", "", css=f"key {css}-part"), f"{words} {count:,.0f} ({share(count, total)})")
        for css, words, count in kinds
    ]
    return element("div", element("div", *bars, css="stack"), element("ul", *items, css="legend-list"))


def _cards(found: Sequence[ExampleFigures]) -> Markup:
    return element("div", *(_card(one) for one in found), css="cards")


def _card(one: ExampleFigures) -> Markup:
    named = len(one.parts) > 1
    parts = [
        element("div", element("span", name, css="part") if named else None, _cut(text), attributes={"dir": "auto"})
        for name, text in one.parts
    ]
    sure = f", {one.confidence:.0%} sure" if one.confidence is not None else ""
    return element(
        "article",
        element("div", element("span", foreign(one.id)), element("span", f"loss {one.loss:.2f}"), css="about"),
        element("div", *parts, css="text") if parts else None,
        element(
            "dl",
            element("dt", "right"),
            element("dd", foreign(_cut(one.gold) or "(nothing)")),
            element("dt", "said"),
            element("dd", foreign(_cut(one.said) or "(nothing)"), sure, css="wrong" if one.gold != one.said else ""),
        ),
        css="card",
    )


def _side(one: Suspects) -> Markup:
    pairs = ", ".join(f"{given} → {suggested} {count:,}" for given, suggested, count in one.by_pair)
    rows: list[list[Child]] = [
        [
            element("div", _cut(each.text, 260), attributes={"dir": "auto"}),
            foreign(each.given),
            f"{each.confidence_given:.2f}",
            foreign(each.suggested),
            f"{each.confidence_suggested:.2f}",
        ]
        for each in one.shown
    ]
    shown = (
        f"The {len(one.shown)} surest of {one.found:,}, of {one.examples:,} examples on the {one.side} side. By kind: "
    )
    summary = element(
        "summary", f"{one.side} side: {one.found:,} of {one.examples:,} ({share(one.found, one.examples)})"
    )
    inner = [
        element("p", foreign(f"{shown}{pairs}."), css="note"),
        table(["text", "given", "", "rather", ""], rows, 0, "suspects"),
    ]
    opened = {"open": ""} if one.side == "test" else {}
    return element("details", summary, *inner, css="plain", attributes=opened)


def _cut(text: str, at: int = SHOWN_TEXT) -> str:
    return text if len(text) <= at else f"{text[:at].rstrip()} … ({len(text):,} characters)"
