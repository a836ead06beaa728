"""A recipe: one TOML file that describes a whole run, from source to gate."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import Field, model_validator

from bert_core.config import Config, ConfigError, load
from tasks.config import (
    BaselinesConfig,
    CleanConfig,
    DedupConfig,
    EncodeConfig,
    EvaluateConfig,
    FinetuneConfig,
    GateConfig,
    PretrainConfig,
    RegisterConfig,
    Source,
    SplitConfig,
)


class Recipe(Config):
    """Everything that a run depends on, apart from addresses and secrets, which come from the environment."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$", description="lowercase letters, digits, dashes")
    seed: int = Field(13, ge=0)
    source: Source
    clean: CleanConfig = CleanConfig()
    dedup: DedupConfig = DedupConfig()
    split: SplitConfig = SplitConfig()
    encode: EncodeConfig
    pretrain: PretrainConfig
    baselines: BaselinesConfig = BaselinesConfig()
    finetune: FinetuneConfig
    evaluate: EvaluateConfig = EvaluateConfig()
    gate: GateConfig = GateConfig()
    registry: RegisterConfig

    @model_validator(mode="after")
    def _labels_agree(self) -> Recipe:
        if self.clean.labels and set(self.clean.labels) != set(self.finetune.labels):
            raise ValueError(f"clean.labels {self.clean.labels} and finetune.labels {self.finetune.labels} differ")
        return self


def shipped() -> dict[str, Path]:
    """The recipes that come with the project, by name."""
    folder = Path(str(files("flows") / "recipes"))
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def load_recipe(name_or_path: str, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe by path, or by the name of a shipped one.

    Raises:
        ConfigError: no such recipe, or a fault in it; the message lists each with key, value and what is legal.
    """
    path = shipped().get(name_or_path, Path(name_or_path))
    if not path.exists():
        raise ConfigError(f"{name_or_path}: neither a file nor a shipped recipe; shipped: {', '.join(shipped())}")
    return load(path, Recipe, overrides)
