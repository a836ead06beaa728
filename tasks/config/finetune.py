"""The sections of a fine-tuning recipe about training and evidence; [data], [task] and others have their own files."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bert_core.config import Config, MlmObjective, ModelConfig, Objective, Task
from tasks.config.augment import ActiveLearningConfig, PseudoLabelConfig
from tasks.config.data import DataConfig, DataFormat
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
        return self

    @property
    def given_tokenizer(self) -> str | None:
        """The folder of a tokenizer that exists already."""
        if isinstance(self.tokenizer, PretrainedTokenizer):
            return self.tokenizer.path
        return self.init


class TaskTextConfig(StepsOnRayConfig):
    """Pretraining of `train.init` on the task's own text, without its labels, before it is fine-tuned."""

    objective: Objective = MlmObjective()
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


class UnlabelledConfig(Config):
    """How files of texts are read whose labels, if they have any, are not looked at."""

    format: DataFormat = Field("auto", description="of the files, as in [data]")
    encoding: str | None = Field(None, min_length=1, description="of text files; None: UTF-8")
    header: tuple[str, ...] = Field((), description="names of the columns of CSV and TSV whose first line has none")
    columns: dict[Literal["id", "text", "text_b"], str] | None = Field(
        None, description="our name -> name in the file; None: as [data] has it"
    )
    near: float = Field(
        0.6, gt=0, le=1, description="texts nearly equal to validation or test texts are dropped: Jaccard similarity"
    )

    def reading(self, pattern: str, data: DataConfig) -> DataConfig:
        """Of the files that `pattern` names, where `data` is the section [data]."""
        columns = {name: data.columns[name] for name in ("id", "text", "text_b") if name in data.columns}
        return DataConfig(
            train=pattern,
            format=self.format,
            encoding=self.encoding,
            header=self.header,
            columns=columns if self.columns is None else {**self.columns},
            max_characters=data.max_characters,
        )


class PseudoLabelsConfig(PseudoLabelConfig, UnlabelledConfig):
    """A teacher learns the labelled examples; what it is sure of becomes examples that the seeds learn as well."""

    data: str = Field(min_length=1, description="unlabelled texts: file, glob or folder, relative to the home folder")
    teachers: int = Field(1, ge=1, description="trained with the first so many seeds; min_agreement counts them")
    max_examples: int | None = Field(None, ge=1, description="that get a label, at most: the surest")


COMMITTEE = ("vote_entropy", "kl")
"""Strategies that need two models or more."""


class SelectConfig(ActiveLearningConfig, UnlabelledConfig):
    """Active learning: which texts of a pool a person should label next, as a sheet to fill in."""

    pool: str = Field(min_length=1, description="unlabelled texts: file, glob or folder, relative to the home folder")
    count: int = Field(ge=1, description="texts to choose")
    seed: int = Field(7, ge=0, description="of ties, and of strategy random")
    filled: str | None = Field(
        None,
        min_length=1,
        description="earlier sheets with labels filled in, relative to the home folder: training learns them too",
    )


class AuxiliaryConfig(Config):
    """Another labelled data set, learned by a head of its own on the same encoder."""

    data: DataConfig
    task: Task
    weight: float = Field(1.0, gt=0, description="its steps for each step of the run's own task")
    near: float = Field(
        0.6,
        gt=0,
        le=1,
        description="training examples with a text nearly equal to one of the run's own validation or test texts are "
        "dropped: Jaccard similarity",
    )
