"""Promotion of a candidate that passed the gate, or a record of why it was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from bert_core.files import write_json
from tasks.artifacts import Draft
from tasks.registry import promotion
from tasks.stage import stage


class PromoteSpec(Config):
    who: str


@stage("promote", code="tasks.registry.promotion", retries=2)
def promote(config: PromoteSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Move @champion to a candidate that passed, keeping the old one as @previous; both outcomes enter the log."""
    version, verdict = (ref.manifest["facts"] for ref in inputs)
    decide = promotion.promote if verdict["passed"] else promotion.record_refusal
    evidence = {"rules": verdict["evidence"], "verdict": inputs[1].content, "run_id": version["run_id"]}
    entry = decide(
        version["model_name"], version["version"], why=f"gate: {verdict['summary']}", who=config.who, evidence=evidence
    )
    outcome = {"action": entry.action, "phase": entry.phase, "version": entry.version, "previous": entry.previous}
    write_json(out.path / "promotion.json", outcome)
    out.facts |= outcome
