"""Fine-tuning of the pretrained encoder for sequence classification, on Ray Train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from bert_core.config import ModelConfig, SequenceObjective, TrainConfig
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.config import FinetuneConfig
from tasks.stage import stage
from tasks.train import StepsOnRay, train_stage


class FinetuneSpec(StepsOnRay):
    """What decides a fine-tuning run's weights beside its inputs' bytes."""

    finetune: FinetuneConfig
    start: Literal["pretrained", "init", "random"] = "pretrained"
    """Weights to start from: the pretraining stage's, the recipe's own (`init`), or random ones (`model`)."""
    init: str | None = None
    model: ModelConfig | None = None


@stage("finetune", code="bert_core.train", resume=True)
def finetune(config: FinetuneSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Fine-tune on the labelled documents of the train split, and measure on the validation split."""
    shards, encoder = inputs
    steps = config.finetune
    folder = {
        "pretrained": encoder and str(encoder / "model"),
        "init": config.init and str(artifacts.home() / config.init),
    }
    train_stage(
        TrainConfig(
            name="finetune",
            seed=config.seed,
            model=config.model,
            init=folder.get(config.start),
            objective=SequenceObjective(labels=steps.labels),
            **config.shared(steps, shards),
        ),
        config,
        inputs,
        out,
        workers=steps.workers,
        mirror=steps.mirror,
    )
