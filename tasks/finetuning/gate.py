"""The gate's verdict on a fine-tuned model, and the page that shows what it rests on."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from bert_core.config import Config
from bert_core.files import write_atomically, write_json
from bert_core.intervals import Interval
from tasks.artifacts import Draft
from tasks.config.gate import EvidenceGate
from tasks.evidence.gate import judge_evidence
from tasks.evidence.page import page
from tasks.finetuning.evidence import read_report
from tasks.stage import stage


class JudgeSpec(Config):
    gate: EvidenceGate


@stage("gate", code="tasks.finetuning.gate")
def judge(config: JudgeSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Check every rule of the policy on the distribution over seeds and examples, and write the page."""
    shown, examined = inputs
    report = read_report(shown)
    facts, more = shown.manifest["facts"], examined.manifest["facts"]
    measured = {name: Interval(*values) for name, values in more["measured"].items()}
    verdict = judge_evidence(config.gate, report, measured=measured)
    sections = [(title, (examined / file).read_text("utf-8")) for title, file in more["sections"]]
    write_atomically(out.path / "report.html", page(report, verdict=verdict, sections=sections).encode())
    create_table_artifact(verdict.table(), key="gate-rules", description=verdict.summary)
    create_markdown_artifact(verdict.markdown(), key="gate-verdict", description=verdict.summary)
    written = {
        "passed": verdict.passed,
        "summary": verdict.summary,
        "rules": [dataclasses.asdict(rule) for rule in verdict.rules],
        "evidence": verdict.evidence(),
    }
    write_json(out.path / "verdict.json", written)
    write_json(out.path / "report.json", report.model_dump(mode="json"))
    out.facts |= {**written, "metrics": facts["metrics"]}
