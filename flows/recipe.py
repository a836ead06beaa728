"""A recipe: one TOML file that describes a whole run, from sources to shards, or on to the gate."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from bert_core.config import Config, ConfigError, SequenceTask, load
from tasks.config import (
    CleanConfig,
    DecontaminateConfig,
    DedupConfig,
    EncodeConfig,
    ExtractConfig,
    PretrainConfig,
    Source,
    SplitConfig,
)
from tasks.config.tune import TuneConfig

CLASSIFIER_SECTIONS = ("task", "train", "registry")


class CorpusRecipe(Config):
    """From sources to token shards: everything that a corpus depends on, apart from addresses and secrets."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="lowercase letters, digits, dashes")
    seed: int = Field(13, ge=0)
    workers: int = Field(0, ge=0, description="parts worked on at a time; 0: one a core of Ray's. Changes no result")
    sources: dict[str, Source] = Field(min_length=1, description="by name: a section [sources.NAME] each")
    extract: ExtractConfig = ExtractConfig()
    clean: CleanConfig = CleanConfig()
    dedup: DedupConfig = DedupConfig()
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    split: SplitConfig = SplitConfig()
    encode: EncodeConfig

    @field_validator("sources", mode="before")
    @classmethod
    def _named(cls, sources: Any) -> Any:
        """The section's name is the source's."""
        if not isinstance(sources, Mapping):
            return sources
        return {
            name: {**source, "name": name} if isinstance(source, Mapping) else source
            for name, source in sources.items()
        }


class PretrainRecipe(CorpusRecipe):
    """From sources to a pretrained encoder."""

    pretrain: PretrainConfig
    experiment: str | None = Field(None, min_length=1, description="MLflow experiment; by default the recipe's name")


class Recipe(CorpusRecipe, TuneConfig):
    """From sources to gate."""

    pretrain: PretrainConfig
    task: SequenceTask

    @model_validator(mode="after")
    def _labels_agree(self) -> Recipe:
        if self.task.kind != "single" or len(self.task.labels) < 2:
            raise ValueError(
                f"task.labels {list(self.task.labels)} of kind {self.task.kind!r}: a document has one label; "
                "name the labels, at least 2, in the order of their ids"
            )
        if self.clean.labels and set(self.clean.labels) != set(self.task.labels):
            raise ValueError(f"clean.labels {self.clean.labels} and task.labels {self.task.labels} differ")
        return self

    @model_validator(mode="after")
    def _starts_from_pretraining(self) -> Recipe:
        given = [name for name in ("init", "model", "tokenizer") if getattr(self.train, name) is not None]
        if given:
            raise ValueError(
                f"train starts from what [pretrain] makes: leave out {', '.join(f'train.{each}' for each in given)}"
            )
        return self


def shipped() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    folder = Path(str(files("flows") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A whole recipe by path, or by the name of a shipped one.

    Raises:
        ConfigError: no such recipe, or a fault in it; the message lists each with key, value and what is legal.
    """
    return load(recipe_path(name_or_path), Recipe, overrides)


def load_runnable(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe | PretrainRecipe:
    """As `load_recipe`; a recipe that ends with [pretrain] is one too. One that ends before it lacks sections."""
    path = recipe_path(name_or_path)
    if is_finetuning(path):
        raise ConfigError(f"{name_or_path} fine-tunes on labelled files: `bert-foundry finetune {name_or_path}`")
    if _schema(path) is PretrainRecipe:
        return load(path, PretrainRecipe, overrides)
    return load(path, Recipe, overrides)


def load_any(name_or_path: str, overrides: Sequence[str] = ()) -> Config:
    """A recipe of any kind, by its sections: one with [task] fine-tunes, others are as `load_corpus_recipe` says."""
    path = recipe_path(name_or_path)
    if is_finetuning(path):
        from flows.finetune_recipe import FinetuneRecipe  # which needs this module

        return load(path, FinetuneRecipe, overrides)
    return load(path, _schema(path), overrides)


def is_finetuning(path: Path) -> bool:
    """Whether its labelled data is in files, not crawled."""
    sections = _sections(path)
    return "task" in sections and "sources" not in sections


def load_corpus_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> CorpusRecipe:
    """As `load_recipe`; a recipe that ends with the shards, or with pretraining, is one too."""
    path = recipe_path(name_or_path)
    return load(path, _schema(path), overrides)


def _schema(path: Path) -> type[CorpusRecipe]:
    """How far the file's sections go. One that is not TOML is left to `load` to explain."""
    sections = _sections(path)
    if any(section in sections for section in CLASSIFIER_SECTIONS):
        return Recipe
    return PretrainRecipe if "pretrain" in sections else CorpusRecipe


def _sections(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        return {}


def recipe_path(name_or_path: str) -> Path:
    path = shipped().get(name_or_path, Path(name_or_path))
    if not path.exists():
        raise ConfigError(f"{name_or_path}: neither a file nor a shipped recipe; shipped: {', '.join(shipped())}")
    return path
