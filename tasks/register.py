"""A fine-tuned model becomes a version in the MLflow registry, with its lineage."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bert_core.config import Config
from bert_core.files import write_json
from tasks.artifacts import Draft
from tasks.config import RegisterConfig
from tasks.registry import versions
from tasks.stage import stage


class RegisterSpec(Config):
    registry: RegisterConfig
    lineage: dict[str, str]
    recipe: str
    as_of: str


@stage("register", code="tasks.registry.versions", retries=2)
def register(config: RegisterSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Register the model once, with signature, example, pinned requirements and lineage; it becomes @candidate."""
    classifier, evaluation = inputs
    facts = evaluation.manifest["facts"]
    metrics = facts["metrics"] if "metrics" in facts else _metrics(facts["comparison"]["reports"]["bert"])
    version = versions.register(
        config.registry,
        classifier / "model",
        tags={"artifact": classifier.content, "recipe": config.recipe, "as_of": config.as_of, **config.lineage},
        metrics=metrics,
        evidence=Path(evaluation.path),
        run_name=f"register {config.recipe} {config.as_of}",
    )
    facts = {"model_name": version.name, "version": version.version, "run_id": version.run_id, "uri": version.uri}
    write_json(out.path / "version.json", facts)
    out.facts |= facts


def _metrics(report: dict[str, Any]) -> dict[str, float]:
    metrics = {"test_accuracy": report["accuracy"]["estimate"], "test_macro_f1": report["macro_f1"]["estimate"]}
    return metrics | {f"test_f1_{label}": scores["f1"]["estimate"] for label, scores in report["per_class"].items()}
