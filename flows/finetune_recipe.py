"""A fine-tuning recipe: one TOML file from labelled files to the gate."""

from __future__ import annotations

import re
from collections.abc import Sequence

from pydantic import Field, model_validator

from bert_core.config import ConfigError, SequenceTask, Task, load
from bert_core.config.task import TASK_TYPES
from flows.recipe import is_finetuning, recipe_path
from tasks.config.data import DataConfig
from tasks.config.finetune import COMMITTEE, AuxiliaryConfig, PseudoLabelsConfig, SelectConfig, TaskTextConfig
from tasks.config.search import SearchConfig
from tasks.config.tune import TuneConfig

HEADLESS = ("seq2seq", "causal")
TAKEN = (*TASK_TYPES, "rdrop", "adversarial")
"""Names of losses, which a head cannot have."""


class FinetuneRecipe(TuneConfig):
    """From labelled files and a pretrained folder to a judged model."""

    data: DataConfig
    pretrain: TaskTextConfig | None = Field(None, description="first, on the task's own text; off without it")
    pseudo_labels: PseudoLabelsConfig | None = Field(
        None, description="a model's surest answers on unlabelled texts, learned as well; off without it"
    )
    select: SelectConfig | None = Field(None, description="texts to label next; off without it")
    auxiliary: dict[str, AuxiliaryConfig] = Field(
        {}, description="further tasks on the same encoder, by name: a section [auxiliary.NAME] each"
    )
    search: SearchConfig | None = Field(
        None,
        description="settings that `bert-foundry search` tries, without [pseudo_labels] and [auxiliary]; no part of a "
        "run",
    )

    @model_validator(mode="after")
    def _weights(self) -> FinetuneRecipe:
        if self.train.init is None and self.train.model is None:
            raise ValueError("set exactly one of train.init (a folder of weights) and train.model (random weights)")
        if (self.train.model is None) != (self.train.tokenizer is None):
            raise ValueError("train.tokenizer goes with train.model: a folder of weights has its own")
        if self.pretrain is not None and self.train.init is None:
            raise ValueError("pretrain continues from a folder of weights: set train.init")
        return self

    @model_validator(mode="after")
    def _unlabelled_texts(self) -> FinetuneRecipe:
        check_one_class(self, self.task)
        labels, select = self.pseudo_labels, self.select
        if labels is not None and labels.teachers > len(self.seeds):
            raise ValueError(f"pseudo_labels.teachers = {labels.teachers}, and there are {len(self.seeds)} seeds")
        if labels is not None and self.evaluate.learning_curve:
            raise ValueError(
                "pseudo_labels and evaluate.learning_curve: the teacher knows all labels, so that a share of the "
                "examples would not be without the others; leave one of them out"
            )
        if select is not None and select.strategy in COMMITTEE and len(self.seeds) < 2:
            raise ValueError(f"select.strategy = {select.strategy!r} needs two seeds or more, and seeds has one")
        return self

    @model_validator(mode="after")
    def _heads_on_one_encoder(self) -> FinetuneRecipe:
        if not self.auxiliary:
            return self
        if self.task.type in HEADLESS:
            raise ValueError(f"auxiliary is for an encoder with a head, and task.type = {self.task.type!r} has none")
        refused = [name for name in ("prompt", "prefix", "cloze") if getattr(self.method, name) is not None]
        if refused:
            raise ValueError(f"auxiliary tasks share an encoder as it is: leave out method.{refused[0]}")
        for name, each in self.auxiliary.items():
            if not re.fullmatch(r"[a-z][a-z0-9-]*", name) or name in TAKEN:
                raise ValueError(
                    f"auxiliary.{name}: a name is lowercase letters, digits and dashes, and none of {', '.join(TAKEN)}"
                )
            if each.task.type in HEADLESS:
                legal = ", ".join(type for type in TASK_TYPES if type not in HEADLESS)
                raise ValueError(f"auxiliary.{name}.task.type = {each.task.type!r} has no head; legal are {legal}")
        return self


def check_one_class(recipe: FinetuneRecipe, task: Task) -> None:
    """
    Args:
        task: the recipe's, or what became of it once the data was read.

    Raises:
        ConfigError: the recipe asks for what is defined where each text has one of several classes, and here it is not.
    """
    if isinstance(task, SequenceTask) and task.kind == "single":
        return
    for section in ("pseudo_labels", "select"):
        if getattr(recipe, section) is not None:
            kind = f" of kind {task.kind!r}" if isinstance(task, SequenceTask) else ""
            raise ConfigError(
                f"{section} is for texts of one class: task.type 'sequence' or 'pair' of kind 'single', "
                f"not {task.type!r}{kind}"
            )


def load_finetune_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> FinetuneRecipe:
    """A fine-tuning recipe by path, or by the name of a shipped one.

    Raises:
        ConfigError: no such recipe, or a fault in it; the message lists each with key, value and what is legal.
    """
    path = recipe_path(name_or_path)
    if not is_finetuning(path):
        raise ConfigError(f"{name_or_path} has no section [data]: `bert-foundry run {name_or_path}` runs what it has")
    return load(path, FinetuneRecipe, overrides)
