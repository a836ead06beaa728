"""From token shards to a registered model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, model_validator

from bert_core.config import Config, MlmObjective, ModelConfig, Objective, StepsConfig


def _fewest_first(workers: int | tuple[int, int]) -> int | tuple[int, int]:
    fewest, most = workers if isinstance(workers, tuple) else (workers, workers)
    if not 1 <= fewest <= most:
        raise ValueError("a number from 1, or [fewest, most] such as [1, 3]")
    return workers


Workers = Annotated[
    int | tuple[int, int],
    AfterValidator(_fewest_first),
    Field(
        description="Ray Train workers, one core or GPU each; [fewest, most]: as many as the cluster has room for, "
        "fewer when a node goes, more when one comes. Order and global batch stay"
    ),
]


class StepsOnRayConfig(StepsConfig):
    """What pretraining and fine-tuning share: a training run, and how many workers carry it out."""

    workers: Workers = 2
    mirror: str | None = Field(None, description="folder that gets a copy of every checkpoint, such as another disk's")


class PretrainConfig(StepsOnRayConfig):
    """Pretraining, from `init` or from random weights of shape `model`."""

    model: ModelConfig | None = Field(None, description="shape; its vocab_size gives way to the tokenizer's")
    init: str | None = Field(None, description="folder of weights, relative to the home folder")
    objective: Objective = MlmObjective()

    @model_validator(mode="before")
    @classmethod
    def _masked_words(cls, data: Any) -> Any:
        """An objective without a type is masked language modelling."""
        if isinstance(data, dict) and isinstance(objective := data.get("objective"), dict):
            return {**data, "objective": {"type": "mlm", **objective}}
        return data

    @model_validator(mode="after")
    def _weights(self) -> PretrainConfig:
        if (self.model is None) == (self.init is None):
            raise ValueError("set exactly one of model (random weights) and init (a folder of weights)")
        return self


class RegisterConfig(Config):
    model_name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="MLflow registered model")
    experiment: str = Field(min_length=1, description="MLflow experiment")
