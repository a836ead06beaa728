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
    trained, verdict = inputs
    version = versions.register(
        config.registry,
        trained / "model",
        tags={"artifact": trained.content, "recipe": config.recipe, "as_of": config.as_of, **config.lineage},
        metrics=verdict.manifest["facts"]["metrics"],
        evidence=Path(verdict.path),
        run_name=f"register {config.recipe} {config.as_of}",
    )
    facts = {"model_name": version.name, "version": version.version, "run_id": version.run_id, "uri": version.uri}
    write_json(out.path / "version.json", facts)
    out.facts |= facts
