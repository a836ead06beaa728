"""The page: complete, self-contained, and unmoved by texts that try to be markup."""

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from evidence_cases import CASES, single

from bert_core.intervals import Interval
from tasks.config.gate import EvidenceGate
from tasks.evidence.findings import findings
from tasks.evidence.gate import judge_evidence
from tasks.evidence.page import page
from tasks.evidence.report import build_report
from tasks.evidence.schema import Costs, CurvePoint
from tasks.evidence.wording import change, figure, sentence, tick_label, ticks

VOID = {"meta", "rect", "line", "br", "hr", "img"}


class Checked(HTMLParser):
    """Every element closed, and what there is."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        held = dict(attrs)
        self.ids += [held["id"]] if held.get("id") else []  # type: ignore[list-item]
        self.links += [value for key, value in attrs if key in ("href", "src") and value]
        assert not [key for key in held if key.startswith("on")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> Checked:
    parser = Checked()
    parser.feed(html)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("case", CASES)
def test_every_task_type_has_a_page_that_loads_nothing_and_runs_nothing(case: str) -> None:
    report = build_report(replace(CASES[case](), title="<b>A title</b>"))
    html = page(report)
    found = checked(html)
    assert "script" not in found.tags
    assert "img" not in found.tags
    assert "b" not in found.tags
    assert all(link.startswith("#") for link in found.links)
    assert {link[1:] for link in found.links} <= set(found.ids)
    assert len(found.ids) == len(set(found.ids))
    assert not re.search(r"url\(|@import", html)
    assert "nan" not in re.sub(r"<[^>]*>", " ", html).lower().split()
    assert page(report) == html


def test_verdict_sections_curve_and_costs_are_shown() -> None:
    points = tuple(CurvePoint(examples=n, interval=Interval(0.5 + n / 2000, 0.4, 0.9)) for n in (100, 200, 400))
    evidence = replace(
        single(),
        learning_curves={"model": points, "naive_bayes": points[:1]},
        costs={"model": Costs(latency_ms=11.3, size_mb=91.0, parameters=22_700_000)},
        data_report="12 rows <dropped>",
        machine="2 cores",
    )
    report = build_report(evidence)
    verdict = judge_evidence(EvidenceGate(minimum={"accuracy": 0.99}, min_test_examples=10), report)
    html = page(report, verdict=verdict, sections=[("Bias & groups", "<p class='mine'>made elsewhere</p>")])
    found = checked(html)
    assert {"verdict", "comparison", "classes", "calibration", "labels", "costs", "data"} <= set(found.ids)
    assert "more-bias-groups" in found.ids
    assert "<p class='mine'>made elsewhere</p>" in html
    assert "Refused: 1 of 5 rules fails" in html
    assert "12 rows &lt;dropped&gt;" in html
    assert "polyline" in found.tags


def test_one_seed_asks_for_attention() -> None:
    evidence = single()
    html = page(build_report(replace(evidence, answers={"model": evidence.answers["model"][:1]})))
    assert "how much luck is in the figures is not known" in html
    assert "No baseline to compare with" in html


def test_classes_of_which_none_is_ever_right_ask_for_attention() -> None:
    report, nothing = build_report(single()), Interval(0.0, 0.0, 0.0)
    found = {one.title: one for one in findings(report)}
    assert found["Classes"].mark == "pass"
    report = report.model_copy(
        update={"classes": tuple(one.model_copy(update={"f1": nothing}) for one in report.classes)}
    )
    found = {one.title: one for one in findings(report)}
    assert found["Classes"].mark == "attention"
    assert found["Classes"].figure == f"none of {len(report.classes)} is ever right"


def test_figures_are_written_as_people_read_them() -> None:
    assert figure(0.81249, "share") == "0.812"
    assert figure(31.24, "points") == "31.2"
    assert figure(1234.56, "") == "1,234.6"
    assert change(-0.0123, "share") == "−0.012"
    assert change(0.0001, "share") == "0.000"
    assert tick_label(0.5, [0.5, 0.75]) == "0.50"
    assert [sentence(one) for one in ("entity F1", "chrF")] == ["Entity F1", "chrF"]
    assert ticks(0.61, 0.83) == [0.65, 0.7, 0.75, 0.8]
    assert ticks(2.0, 2.0) == [2.0]
