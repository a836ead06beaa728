"""The first screen: what was measured, whether it is good enough, and what asks for attention."""

from __future__ import annotations

from tasks.evidence.findings import Finding, findings
from tasks.evidence.schema import EvalReport
from tasks.evidence.verdict import RuleResult, Verdict
from tasks.evidence.wording import better, change, change_span, figure, held, metric_title, model_title, span
from tasks.text.look.render.markup import Markup, element, foreign, join
from tasks.text.look.render.overview import MARK_WORDS, MARKS
from tasks.text.look.wording import number, plural

MANY_RULES = 12
"""Of a verdict: with more, those that pass are folded away below those that fail."""


def head(report: EvalReport) -> Markup:
    kind = getattr(report.task, "kind", "") or getattr(report.task, "scheme", "")
    what = f"{report.task.type} task{f', {kind}' if kind and kind != 'single' else ''}"
    counts = f"{plural(report.examples, 'test example')}, {plural(report.candidate.runs, 'seed')}"
    facts = [element("span", f"{name} ", element("b", foreign(value))) for name, value in report.facts.items()]
    return element(
        "header",
        element("div", "Evaluation report", css="eyebrow"),
        element("h1", foreign(report.title)),
        element("p", f"{what} · {counts}", css="note"),
        element("div", *facts, css="facts") if facts else None,
        _figures(report),
    )


def verdict(report: EvalReport, given: Verdict | None) -> Markup:
    """The gate's word if there is one, and what the figures say."""
    found = findings(report)
    parts: list[Markup] = []
    if given is not None:
        failed = len(given.failed)
        words = (
            f"Promoted: all {len(given.rules)} rules pass"
            if given.passed
            else f"Refused: {failed} of {plural(len(given.rules), 'rule')} {'fails' if failed == 1 else 'fail'}"
        )
        passed = [_rule(rule) for rule in given.rules if rule.passed]
        is_long = len(given.rules) > MANY_RULES and given.failed
        parts.append(element("p", words, css=f"verdict {'promoted' if given.passed else 'refused'}"))
        shown = [*(_rule(rule) for rule in given.failed), *([] if is_long else passed)]
        parts.append(element("ul", *shown, css="checks"))
        if is_long:
            summary = element(
                "summary", f"{plural(len(passed), 'rule')} that pass" + ("es" if len(passed) == 1 else "")
            )
            parts.append(element("details", summary, element("ul", *passed, css="checks"), css="plain"))
        parts.append(element("h3", "What the figures say"))
    else:
        attention = sum(one.mark == "attention" for one in found)
        asks = f" · {attention} {'asks' if attention == 1 else 'ask'} for attention" if attention else ""
        parts.append(element("p", _headline(report) + asks, css="verdict"))
    order = ("attention", "pass", "unknown")
    said = sorted(found, key=lambda one: order.index(one.mark))
    parts.append(element("ul", *(_finding(one) for one in said), css="checks"))
    return element("section", *parts, attributes={"id": "verdict"})


def _headline(report: EvalReport) -> str:
    best = report.best_baseline(report.primary)
    if best is None:
        return "No baseline to compare with"
    told = better(report, report.primary, report.models[best].leads[report.primary].interval)
    words = {True: "Better than", False: "Worse than", None: "Not distinguishable from"}[told]
    return f"{words} the best baseline, {model_title(best)}"


def _figures(report: EvalReport) -> Markup:
    main = held(report, report.primary)
    found = [(metric_title(report.primary), figure(main.interval.estimate, main.unit), span(main.interval, main.unit))]
    for words, name in (
        ("over best baseline", report.best_baseline(report.primary)),
        ("over champion", _champion(report)),
    ):
        if name and (lead := report.models[name].leads.get(report.primary)):
            small = f"{change_span(lead.interval, main.unit)}{f' · {model_title(name)}' if name != 'champion' else ''}"
            found.append((words, change(lead.interval.estimate, main.unit), small))
    if len(main.runs) > 1:
        runs = f"{figure(min(main.runs), main.unit)}–{figure(max(main.runs), main.unit)}"
        found.append(("seeds", number(len(main.runs)), f"from {runs}"))
    if report.calibration:
        error = report.calibration.ece
        found.append(("calibration error", f"{error.estimate:.3f}", span(error, "share")))
    costs = report.costs.get("model")
    if costs and costs.latency_ms is not None:
        small = f"{costs.size_mb:,.0f} MB" if costs.size_mb is not None else ""
        found.append(("one text", f"{costs.latency_ms:.3g} ms", small))
    return element("dl", *(_figure(*one) for one in found), css="figures")


def _champion(report: EvalReport) -> str | None:
    return "champion" if report.champion else None


def _figure(name: str, value: str, small: str) -> Markup:
    return element("div", element("dt", name), element("dd", value, element("small", small) if small else None))


def _finding(one: Finding) -> Markup:
    title = element("a", one.title, attributes={"href": f"#{one.place}"}) if one.place else one.title
    return element(
        "li",
        element("span", MARKS[one.mark], css="mark", attributes={"title": MARK_WORDS[one.mark]}),
        element(
            "div",
            join(element("strong", title), foreign(one.figure)),
            element("span", foreign(one.rule), css="rule") if one.rule else None,
        ),
        css=one.mark,
    )


def _rule(rule: RuleResult) -> Markup:
    mark = "pass" if rule.passed else "attention"
    return element(
        "li",
        element("span", MARKS[mark], css="mark", attributes={"title": "passes" if rule.passed else "fails"}),
        element("div", element("strong", foreign(rule.name)), element("span", foreign(rule.detail), css="rule")),
        css=mark,
    )
