"""Pretraining of the encoder on Ray Train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import TrainConfig
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config import PretrainConfig
from tasks.stage import stage
from tasks.train import StepsOnRay, train_stage


class PretrainSpec(StepsOnRay):
    """What decides a pretraining run's weights beside its inputs' bytes."""

    pretrain: PretrainConfig


@stage("pretrain", code="bert_core.train", resume=True)
def pretrain(config: PretrainSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Pretrain on the train split, from the given weights or from random ones, and measure on the validation split."""
    shards, start = inputs
    steps = config.pretrain
    train_stage(
        TrainConfig(
            name="pretrain",
            seed=config.seed,
            model=steps.model and steps.model.for_tokenizer(**_of_tokenizer(shards)),
            init=_init_folder(steps, start),
            objective=steps.objective,
            **config.shared(steps, shards),
        ),
        config,
        inputs,
        out,
        workers=steps.workers,
        mirror=steps.mirror,
    )


def _of_tokenizer(shards: ArtifactRef) -> dict[str, int]:
    """What a model's shape takes from its tokenizer, whatever the recipe says; byte-level BPE has its <pad> at 1."""
    facts = shards.manifest["facts"]
    return {name: facts[name] for name in ("vocab_size", "pad_token_id")}


def _init_folder(config: PretrainConfig, start: ArtifactRef | None) -> str | None:
    """Weights to continue from: an earlier pretraining's, else the recipe's."""
    if start is not None:
        return str(start / "model")
    return str(artifacts.home() / config.init) if config.init else None
