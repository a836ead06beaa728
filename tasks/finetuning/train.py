"""One seed's fine-tuning on Ray Train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from bert_core.config import AuxiliaryTask, Config, MethodConfig, SpanTask, Task, TrainConfig
from bert_core.hf import read_task, write_task
from bert_core.no_answer import best_no_answer_threshold
from bert_core.predict import Predictor
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config.finetune import TaskTrainConfig
from tasks.finetuning.prepare import side
from tasks.stage import stage
from tasks.train import StepsOnRay, train_stage


class HeadSpec(Config):
    """A further task on the same encoder; its features come as an input of their own."""

    name: str
    task: Task
    weight: float


class TaskTrainSpec(StepsOnRay):
    """What decides a fine-tuned model's weights beside its inputs' bytes."""

    task: Task
    train: TaskTrainConfig
    method: MethodConfig = MethodConfig()
    auxiliary: tuple[HeadSpec, ...] = ()


@stage("train-task", code="tasks.finetuning.train", resume=True)
def train_task(config: TaskTrainSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Fine-tune on the training side's features, and measure the loss of the validation side."""
    features, prepared, start, *others = inputs
    steps = config.train
    trained = train_config(config, features, start, others)
    train_stage(trained, config, inputs, out, workers=steps.workers, mirror=steps.mirror)
    if isinstance(config.task, SpanTask) and config.task.no_answer == "yes" and config.task.no_answer_threshold is None:
        _choose_threshold(out.path / "model", side(prepared, "validation"))


def train_config(
    config: TaskTrainSpec,
    features: ArtifactRef,
    start: ArtifactRef | None = None,
    others: Sequence[ArtifactRef] = (),
) -> TrainConfig:
    """What `config` trains on these features, from `start` if there is one, else from what the recipe names.

    Args:
        others: features of the auxiliary tasks, in their order.
    """
    steps = config.train
    given = str(start / "model") if start is not None else steps.init and str(artifacts.home() / steps.init)
    return TrainConfig(
        name=f"finetune-{config.seed}",
        seed=config.seed,
        init=given,
        model=steps.model and steps.model.for_tokenizer(**features.manifest["facts"]["vocabulary"]),
        task=config.task,
        method=config.method,
        auxiliary=tuple(
            AuxiliaryTask(name=head.name, task=head.task, weight=head.weight, train_data=str(ref / "train"))
            for head, ref in zip(config.auxiliary, others, strict=True)
        ),
        **config.shared(steps, features),
    )


def _choose_threshold(folder: Path, gold: pa.Table) -> None:
    """From which score on there is no answer: what is best on the validation side, written into task.json."""
    tuned = read_task(folder)
    assert tuned is not None
    threshold = best_no_answer_threshold(gold, Predictor(folder).answer(gold))
    task = tuned.task.model_copy(update={"no_answer_threshold": threshold})
    write_task(tuned.model_copy(update={"task": task}), folder)
