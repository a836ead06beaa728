"""The gate's verdict on a registered candidate."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from prefect.artifacts import create_markdown_artifact, create_table_artifact

from bert_core.config import Config
from bert_core.files import write_json
from tasks.artifacts import Draft
from tasks.config import EvaluateConfig, GateConfig
from tasks.registry.gate import judge
from tasks.stage import stage
from tasks.text.predictions import model_names, read_predictions

BASELINES = ("majority", "naive_bayes", "logistic_regression")


class GateSpec(Config):
    gate: GateConfig
    evaluate: EvaluateConfig


@stage("gate", code="tasks.registry.gate")
def gate(config: GateSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Check every rule of the policy on the test set's predictions, against the baselines and the champion."""
    evaluation, _version = inputs
    facts = evaluation.manifest["facts"]
    predictions = read_predictions(evaluation / "predictions.parquet")
    verdict = judge(
        config.gate,
        predictions,
        baselines=BASELINES,
        champion="champion" if "champion" in model_names(predictions) else None,
        size_mb=facts["size_mb"],
        latency_ms=facts["latency_ms"],
        seed=config.evaluate.seed,
        samples=config.evaluate.bootstrap_samples,
        confidence=config.evaluate.confidence,
    )
    create_table_artifact(verdict.table(), key="gate-rules", description=verdict.summary)
    create_markdown_artifact(verdict.markdown(), key="gate-verdict", description=verdict.summary)
    written = {
        "passed": verdict.passed,
        "summary": verdict.summary,
        "rules": [dataclasses.asdict(rule) for rule in verdict.rules],
        "evidence": verdict.evidence(),
    }
    write_json(out.path / "verdict.json", written)
    out.facts |= written
