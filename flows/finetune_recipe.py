"""A fine-tuning recipe: one TOML file from labelled files to the gate."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from bert_core.config import ConfigError, load
from flows.recipe import is_finetuning, recipe_path
from tasks.config.data import DataConfig
from tasks.config.finetune import TaskTextConfig
from tasks.config.search import SearchConfig
from tasks.config.tune import TuneConfig


class FinetuneRecipe(TuneConfig):
    """From labelled files and a pretrained folder to a judged model."""

    data: DataConfig
    pretrain: TaskTextConfig | None = Field(None, description="first, on the task's own text; off without it")
    search: SearchConfig | None = Field(None, description="settings that `bert-foundry search` tries; no part of a run")

    @model_validator(mode="after")
    def _weights(self) -> FinetuneRecipe:
        if self.train.init is None and self.train.model is None:
            raise ValueError("set exactly one of train.init (a folder of weights) and train.model (random weights)")
        if self.pretrain is not None and self.train.init is None:
            raise ValueError("pretrain continues from a folder of weights: set train.init")
        return self


def load_finetune_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> FinetuneRecipe:
    """A fine-tuning recipe by path, or by the name of a shipped one.

    Raises:
        ConfigError: no such recipe, or a fault in it; the message lists each with key, value and what is legal.
    """
    path = recipe_path(name_or_path)
    if not is_finetuning(path):
        raise ConfigError(f"{name_or_path} has no section [data]: `bert-foundry run {name_or_path}` runs what it has")
    return load(path, FinetuneRecipe, overrides)
