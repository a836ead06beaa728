"""From token shards to a registered model."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from bert_core.config import Config, MlmObjective, ModelConfig, PretrainingObjective, StepsConfig


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
    objective: PretrainingObjective = MlmObjective()

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


class FinetuneConfig(StepsOnRayConfig):
    """Sequence classification from the pretrained encoder."""

    labels: tuple[str, ...] = Field(min_length=2, description="in the order of their ids; the last is 'positive'")


PartOfSpeech = Literal[
    "ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM", "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM",
    "VERB", "X",
]  # fmt: skip
"""Universal Dependencies, version 2."""


class BaselinesConfig(Config):
    """Classical models that BERT must beat."""

    analyzer: Literal["word", "char"] = "word"
    lemmas: str = Field(
        "", description="spaCy pipeline (package or folder) whose lemmas stand for words; '': as written"
    )
    parts_of_speech: tuple[PartOfSpeech, ...] = Field((), description="of the lemmas that count; empty: all words")
    naive_bayes_ngrams: tuple[int, int] = (1, 2)
    logistic_ngrams: tuple[int, int] = (1, 2)

    @model_validator(mode="after")
    def _lemmas_are_words(self) -> BaselinesConfig:
        if self.parts_of_speech and not self.lemmas:
            raise ValueError("parts_of_speech are found together with lemmas: name a pipeline in lemmas")
        if self.lemmas and self.analyzer != "word":
            raise ValueError(f"lemmas are words, and analyzer is {self.analyzer!r}: leave one of the two away")
        return self


class EvaluateConfig(Config):
    bootstrap_samples: int = Field(2_000, ge=100)
    confidence: float = Field(0.95, gt=0.5, lt=1)
    seed: int = 7


class GateConfig(Config):
    """What a candidate must show. Every rule is checked and named in the verdict, pass or fail."""

    min_accuracy: float = Field(0.0, ge=0, le=1, description="absolute floor on the test set")
    min_f1: float = Field(0.0, ge=0, le=1, description="floor on the F1 of every class")
    min_gain_over_baseline: float = Field(
        0.0, ge=-1, le=1, description="accuracy above the best classical baseline; lower end of a paired bootstrap"
    )
    max_regression: float = Field(
        0.01, ge=0, le=1, description="accuracy that may be lost against the champion; lower end of a paired bootstrap"
    )
    min_test_examples: int = Field(100, ge=1)
    max_model_mb: float | None = Field(None, gt=0)
    max_latency_ms: float | None = Field(None, gt=0, description="median of one text, one thread")


class RegisterConfig(Config):
    model_name: str = Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$", description="MLflow registered model")
    experiment: str = Field(min_length=1, description="MLflow experiment")
