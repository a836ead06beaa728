"""Several tasks on one encoder: every step is of one of them, in proportion (MT-DNN, Liu et al., 2019,
arXiv:1901.11504, algorithm 1). Each head is exported with the encoder as a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import ceil
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from bert_core.config import AuxiliaryTask, ConfigError, ModelConfig
from bert_core.data import Batch, ExampleData
from bert_core.features import open_features
from bert_core.hf.loading import load_task_model
from bert_core.model import init_weights
from bert_core.task_models import TaskModel, task_model

HEADS = "auxiliary"


@dataclass(frozen=True)
class AuxiliaryBatch(Batch):
    """A batch of another task than the run's own."""

    head: str = ""
    """Its name."""


class MixedData(ExampleData):
    """The examples of the run's own task, whose length it has, and steps of the auxiliary ones in between.

    Step k is of one task, a function of k and of how many steps there are; each task's own steps run through its own
    shuffled epochs.
    """

    auxiliary: Mapping[str, ExampleData]
    shares: NDArray[np.float64]
    """Of the steps: the run's own task, then the auxiliary ones; they sum to 1."""

    def mix(self, auxiliary: Mapping[str, ExampleData], weights: Sequence[float]) -> MixedData:
        """Call it once, before anything is read."""
        self.auxiliary = auxiliary
        self.shares = np.array([1.0, *weights]) / (1 + sum(weights))
        return self

    @property
    def total_steps(self) -> int:
        """`steps` and `tokens` count those of all tasks, `epochs` those of the run's own."""
        own, length = super().total_steps, self._length
        by_epochs = [] if length.epochs is None else [ceil(ceil(length.epochs * self.steps_per_epoch) / self.shares[0])]
        if length.steps is None and length.tokens is None:
            return by_epochs[0]
        return min([*by_epochs, length.steps if length.steps is not None else own])

    def task_of(self, step: int) -> tuple[int, int]:
        """Which task step `step` is of, 0 being the run's own, and how many of its steps were before."""
        tasks = self._tasks
        if step >= len(tasks):
            raise IndexError(f"step {step}: the run has {len(tasks)}")
        return int(tasks[step]), int(self._before[tasks[step], step])

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Batch]:
        task, own = self.task_of(step)
        if not task:
            return super().micro_batches(own, rank, world, micro_rows)
        name, data = list(self.auxiliary.items())[task - 1]
        return [AuxiliaryBatch(**vars(each), head=name) for each in data.micro_batches(own, rank, world, micro_rows)]

    def sample_ids(self, step: int) -> list[int]:
        """Of global batch `step`; of an auxiliary task, rows in its own table."""
        task, own = self.task_of(step)
        return super().sample_ids(own) if not task else list(self.auxiliary.values())[task - 1].sample_ids(own)

    def epochs_before(self, step: int) -> float:
        """Of the run's own task."""
        return super().epochs_before(int(self._before[0, step]))

    @cached_property
    def _tasks(self) -> NDArray[np.int64]:
        """(steps,): the task of each; each task's come at even distances."""
        exact = self.shares * self.total_steps
        counts = np.floor(exact + 1e-9).astype(np.int64)
        counts[np.argsort(counts - exact, kind="stable")[: self.total_steps - int(counts.sum())]] += 1
        times = np.concatenate([(np.arange(count) + 0.5) / count for count in counts.tolist()])
        return np.repeat(np.arange(len(counts)), counts)[np.argsort(times, kind="stable")]

    @cached_property
    def _before(self) -> NDArray[np.int64]:
        """(tasks, steps + 1)"""
        is_of = self._tasks == np.arange(len(self.shares))[:, None]
        return np.pad(np.cumsum(is_of, axis=1), ((0, 0), (1, 0)))


def add_heads(model: TaskModel, auxiliary: Sequence[AuxiliaryTask]) -> None:
    """Put a head for each task beside `model`'s, over the same encoder; weights not drawn yet.

    Raises: see `auxiliary_model`.
    """
    if auxiliary:
        setattr(model, HEADS, nn.ModuleDict({each.name: _head(model, each) for each in auxiliary}))


def start_heads(
    model: TaskModel, auxiliary: Sequence[AuxiliaryTask], init: str | None, generator: torch.Generator
) -> None:
    """Draw the heads' weights; what `init` has of them, such as a pooler, is read."""
    for each in auxiliary:
        head = head_of(model, each.name)
        init_weights(head, model.config.initializer_range, generator)
        if init:
            load_task_model(Path(init), head)


def head_of(model: TaskModel, name: str) -> TaskModel:
    head = getattr(model, HEADS)[name]
    assert isinstance(head, TaskModel)
    return head


def asked_of(model: TaskModel, batch: Batch) -> tuple[TaskModel, str]:
    """The model that a batch is for, and under which name its loss is told of."""
    if isinstance(batch, AuxiliaryBatch):
        return head_of(model, batch.head), batch.head
    return model, model.task.type


def split_heads(weights: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """The weights of each task's own model by its name, "" being the run's own."""
    found: dict[str, dict[str, Tensor]] = {"": {}}
    for name, tensor in weights.items():
        if not name.startswith(f"{HEADS}."):
            found[""][name] = tensor
            continue
        _, head, parameter = name.split(".", 2)
        found.setdefault(head, {})[parameter] = tensor
    encoder = {name: tensor for name, tensor in found[""].items() if name.startswith("encoder.")}
    return {head: own if not head else {**encoder, **own} for head, own in found.items()}


def auxiliary_model(config: ModelConfig, auxiliary: AuxiliaryTask) -> TaskModel:
    """The model of an auxiliary task alone, its weights not drawn yet.

    Raises:
        ConfigError: a task that has another kind of model.
    """
    if auxiliary.task.type in ("seq2seq", "causal"):
        raise ConfigError(f"auxiliary {auxiliary.name!r}: a task of type {auxiliary.task.type!r} has no head to share")
    return task_model(config, auxiliary.task, open_features(auxiliary.train_data).statistics)


def _head(model: TaskModel, auxiliary: AuxiliaryTask) -> TaskModel:
    head = auxiliary_model(model.config, auxiliary)
    del head.encoder  # its own
    head.__dict__["encoder"] = model.encoder  # no child of it: every weight has one name, and is saved once
    return head
