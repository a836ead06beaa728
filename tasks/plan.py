"""What a night is measured against and continues from: decided once, so that a rerun decides the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bert_core.config import Config
from bert_core.files import write_json
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.registry import versions
from tasks.stage import stage


class PlanSpec(Config):
    model_name: str
    as_of: str


@stage("plan", code="tasks.plan")
def plan(config: PlanSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Note the champion of this moment, and the pretraining to continue from.

    That is the champion's own pretraining, not its fine-tuned encoder: the fine-tuned one has lost its masked-language
    head and leans to the labels. If the champion was made from these very shards, there is nothing to continue with,
    and the night starts where the champion's did, which is to say that it reuses the champion's pretraining.
    """
    (shards,) = inputs
    champion = versions.champion(config.model_name)
    start = None
    if champion is not None:
        same = champion.tags.get("encode_content") == shards.content
        start = champion.tags.get("start" if same else "pretrain") or None
    decision = {"champion": champion and champion.version, "start": start}
    write_json(out.path / "plan.json", decision)
    out.facts |= decision


def champion_version(plan: ArtifactRef) -> str | None:
    version: str | None = plan.manifest["facts"]["champion"]
    return version


def starting_point(plan: ArtifactRef) -> ArtifactRef | None:
    """The pretraining to continue; None: the recipe's own weights.

    Raises:
        ArtifactError: it was decided on, and is no longer in the store.
    """
    address = plan.manifest["facts"]["start"]
    return resolve(address) if address else None


def address(ref: ArtifactRef | None) -> str:
    """A reference as a tag: `stage/name/key`, empty for none."""
    return f"{ref.stage}/{ref.name}/{ref.key}" if ref else ""


def resolve(address: str) -> ArtifactRef:
    stage_name, name, key = address.split("/")
    found = artifacts.find(stage_name, name, key)
    if found is None:
        raise artifacts.ArtifactError(
            f"{artifacts.artifact_path(stage_name, name, key)} is gone, and the champion's training continues from it; "
            "restore it, or promote a version whose artifacts are in the store"
        )
    return found


def lineage(refs: Mapping[str, ArtifactRef | None]) -> dict[str, str]:
    """Tags that prove where a model came from: each stage's address and content hash."""
    tags = {name: address(ref) for name, ref in refs.items()}
    return tags | {f"{name}_content": ref.content for name, ref in refs.items() if ref is not None}
