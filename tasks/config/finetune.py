"""The sections of a fine-tuning recipe about training and evidence; [data], [task] and others have their own files."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from bert_core.config import Config, MlmObjective, ModelConfig, PretrainingObjective
from tasks.config.models import PretrainConfig, StepsOnRayConfig, Workers
from tasks.config.tokens import PretrainedTokenizer, Tokenizer


def _each_once(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds or len(set(seeds)) != len(seeds) or min(seeds) < 0:
        raise ValueError(f"{list(seeds)}: at least one number from 0, each once")
    return seeds


Seeds = Annotated[tuple[int, ...], AfterValidator(_each_once)]


class TaskTrainConfig(StepsOnRayConfig):
    """Fine-tuning, once for each seed of the recipe."""

    init: str | None = Field(
        None, min_length=1, description="folder of a pretrained model, relative to the home folder"
    )
    model: ModelConfig | None = Field(None, description="instead of init: shape of a model with random weights")
    tokenizer: Tokenizer | None = Field(None, description="of such a model: a given one, or one trained on the data")
    workers: Workers = 1

    @model_validator(mode="after")
    def _weights(self) -> TaskTrainConfig:
        if self.model is not None and self.init is not None:
            raise ValueError("set one of init (a folder of weights) and model (random weights), not both")
        if (self.model is None) != (self.tokenizer is None):
            raise ValueError("tokenizer goes with model: a folder of weights has its own")
        return self

    @property
    def given_tokenizer(self) -> str | None:
        """The folder of a tokenizer that exists already."""
        if isinstance(self.tokenizer, PretrainedTokenizer):
            return self.tokenizer.path
        return self.init


class TaskTextConfig(StepsOnRayConfig):
    """Pretraining of `train.init` on the task's own text, without its labels, before it is fine-tuned."""

    objective: PretrainingObjective = MlmObjective()
    workers: int = Field(1, ge=1)

    def from_weights(self, init: str) -> PretrainConfig:
        """The pretraining stage's section."""
        given = {name: getattr(self, name) for name in type(self).model_fields}
        return PretrainConfig(init=init, **given)


class EvidenceConfig(Config):
    """What the report looks at, and how sure it is of its figures."""

    bootstrap_samples: int = Field(2_000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = Field(7, ge=0)
    slices: tuple[str, ...] = Field((), description="columns by whose values figures are shown apart")
    time_column: str | None = Field(None, description="a column of dates: figures by stretch of time")
    learning_curve: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        (), description="shares of the training examples that the first seed is also trained on: [0.1, 0.3]"
    )
    explained: int = Field(6, ge=0, description="test examples whose answer is explained word by word")
    latency_examples: int = Field(50, ge=1, description="answered one at a time, on one thread")
    price_per_hour: float | None = Field(None, gt=0, description="of the machine: prices a thousand answers")
