"""The report as one HTML page: nothing loaded from elsewhere, no script, every text escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tasks.evidence.render import comparison, errors, overview, practice
from tasks.evidence.render.style import STYLE
from tasks.evidence.schema import EvalReport
from tasks.evidence.verdict import Verdict
from tasks.text.look.render.markup import Markup, element, join
from tasks.text.look.render.page import POLICY

CONTENTS = {
    "comparison": "Against the others",
    "classes": "Classes",
    "slices": "Slices",
    "calibration": "Calibration",
    "confusion": "Confusions",
    "entities": "Entities",
    "examples": "Examples",
    "suspects": "Suspect labels",
    "labels": "More labels",
    "costs": "Costs",
    "data": "Data",
}


def page(report: EvalReport, *, verdict: Verdict | None = None, sections: Sequence[tuple[str, str]] = ()) -> str:
    """One HTML document, to be written as UTF-8. Equal reports give equal bytes.

    Args:
        verdict: the gate's, to open with.
        sections: (title, HTML) to put before costs and data: explanations, behaviour tests, bias, robustness. The
            HTML is put in as it is: whoever makes it escapes what is not theirs.
    """
    own: dict[str, Markup | None] = {
        "comparison": comparison.comparison(report),
        "classes": comparison.classes(report),
        "slices": comparison.slices(report),
        "calibration": errors.calibration(report),
        "confusion": errors.confusion(report),
        "entities": errors.tag_errors(report),
        "examples": errors.examples(report),
        "suspects": errors.suspects(report),
    }
    given = {_anchor(title): _given(title, html) for title, html in sections}
    last: dict[str, Markup | None] = {
        "labels": practice.labels(report),
        "costs": practice.costs(report),
        "data": practice.data(report),
    }
    titles = {**CONTENTS, **{_anchor(title): title for title, _ in sections}}
    every = {**own, **given, **last}
    links = [element("a", titles[name], attributes={"href": f"#{name}"}) for name, section in every.items() if section]
    body = element(
        "main",
        overview.head(report),
        overview.verdict(report, verdict),
        element("nav", join(*links)),
        *every.values(),
        practice.method(report),
        element("footer", "BERT Foundry. Texts are quoted from the data as they are."),
    )
    whole = element("html", _head(report.title), element("body", body), attributes={"lang": "en"})
    return f"<!DOCTYPE html>\n{whole}\n"


def _head(title: str) -> Markup:
    return element(
        "head",
        element("meta", attributes={"charset": "utf-8"}),
        element("meta", attributes={"http-equiv": "Content-Security-Policy", "content": POLICY}),
        element("meta", attributes={"name": "viewport", "content": "width=device-width, initial-scale=1"}),
        element("meta", attributes={"name": "referrer", "content": "no-referrer"}),
        element("title", f"{title} · evaluation report"),
        element("style", Markup(STYLE)),
    )


def _given(title: str, html: str) -> Markup:
    return element(
        "section",
        element("h2", title),
        element("div", Markup(html), css="given"),
        attributes={"id": _anchor(title)},
    )


def _anchor(title: str) -> str:
    return "more-" + re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
