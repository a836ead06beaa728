"""A task's model made ready to be trained as `MethodConfig` says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from bert_core.config import MethodConfig, ModelConfig, SequenceTask, Task
from bert_core.methods.cloze import ClozeModel, verbalizer_ids
from bert_core.methods.freezing import (
    check_freezing,
    draw_top_anew,
    first_ever_learning,
    is_added,
    part_of,
    set_learning,
)
from bert_core.methods.lora import add_lora
from bert_core.methods.virtual import add_virtual, start_virtual
from bert_core.task_models import TaskModel, task_model
from bert_core.tokenizer import Tokenizer


def method_model(
    config: ModelConfig, task: Task, method: MethodConfig, tokenizer: Tokenizer, statistics: Mapping[str, Any]
) -> TaskModel:
    """The model of `task`, its weights not drawn yet: that of `bert_core.task_models.task_model`, or a cloze.

    Raises:
        ConfigError: see there; or a word of the verbalizer is not in the vocabulary.
    """
    if method.cloze is None or not isinstance(task, SequenceTask):
        return task_model(config, task, statistics)
    return ClozeModel(config, task, verbalizer_ids(method.cloze, task, tokenizer), statistics)


def prepare(model: TaskModel, method: MethodConfig, generator: torch.Generator) -> None:
    """Draw anew, add and freeze, in place; `model` has its first weights. Equal generator states give equal bits.

    Under `unfreeze` everything that learns at some time is left learning: the loop narrows it step by step.

    Raises:
        ConfigError: the model cannot be trained this way.
    """
    check_freezing(method, model.config)
    draw_top_anew(model, method.reinit_layers, generator)
    add_virtual(model, method)
    start_virtual(model, method, generator)
    if method.lora is not None:
        add_lora(model, method.lora, generator)
    if first := first_ever_learning(method, model.config):
        set_learning(model, first)


def constant_parameters(model: TaskModel, method: MethodConfig) -> frozenset[str]:
    """Names of the parameters that never learn."""
    first, layers = first_ever_learning(method, model.config), model.config.num_layers
    names = (name for name, _ in model.named_parameters())
    return frozenset(name for name in names if part_of(name, layers) < first and not is_added(name))
