"""A fine-tuning recipe: one TOML file from labelled files to the gate."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field, model_validator

from bert_core.config import Config, ConfigError, MethodConfig, Task, load
from flows.recipe import is_finetuning, recipe_path
from tasks.config.augment import AugmentConfig
from tasks.config.behaviour import BehaviourConfig
from tasks.config.classical import ClassicalConfig
from tasks.config.data import DataConfig
from tasks.config.finetune import EvidenceConfig, Seeds, TaskTextConfig, TaskTrainConfig
from tasks.config.gate import EvidenceGate
from tasks.config.models import RegisterConfig
from tasks.config.search import SearchConfig


class FinetuneRecipe(Config):
    """From labelled files and a pretrained folder to a judged model."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="lowercase letters, digits, dashes")
    seeds: Seeds = Field((13, 14, 15), description="the model is trained once for each, and judged by all of them")
    data: DataConfig
    task: Task
    train: TaskTrainConfig
    pretrain: TaskTextConfig | None = Field(None, description="first, on the task's own text; off without it")
    method: MethodConfig = MethodConfig()
    augment: AugmentConfig | None = Field(None, description="changed copies of training examples; off without it")
    baselines: ClassicalConfig = ClassicalConfig()
    evaluate: EvidenceConfig = EvidenceConfig()
    behaviour: BehaviourConfig = BehaviourConfig()
    gate: EvidenceGate = EvidenceGate()
    registry: RegisterConfig
    search: SearchConfig | None = Field(None, description="settings that `bert-foundry search` tries; no part of a run")

    @model_validator(mode="after")
    def _batches_of_examples(self) -> FinetuneRecipe:
        if self.train.batch.samples is None:
            raise ValueError("train.batch counts examples: set samples, not rows or tokens")
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
        raise ConfigError(f"{name_or_path} has no section [task]: `bert-foundry run {name_or_path}` runs what it has")
    return load(path, FinetuneRecipe, overrides)
