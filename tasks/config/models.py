"""From token shards to a registered model."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bert_core.config import BatchConfig, Config, MlmObjective, ModelConfig, OptimizerConfig, Precision


class StepsConfig(Config):
    """What pretraining and fine-tuning share: see `bert_core.config.TrainConfig`, which this becomes."""

    workers: int = Field(2, ge=1, description="Ray Train workers; one core each by default")
    optimizer: OptimizerConfig = OptimizerConfig()
    batch: BatchConfig
    steps: int | None = Field(None, ge=1, description="optimizer steps; with epochs, what ends first counts")
    epochs: float | None = Field(None, gt=0)
    precision: Precision = "fp32"
    eval_every: int = Field(100, ge=1)
    checkpoint_every: int = Field(50, ge=1)
    log_every: int = Field(5, ge=1)
    keep: Literal["last", "best"] = "last"

    @model_validator(mode="after")
    def _one_length(self) -> StepsConfig:
        if self.steps is None and self.epochs is None:
            raise ValueError("set steps, epochs, or both (what ends first counts)")
        return self


class PretrainConfig(StepsConfig):
    """Masked-language-model pretraining, from `init` or from random weights of shape `model`."""

    model: ModelConfig | None = Field(None, description="shape; its vocab_size gives way to the tokenizer's")
    init: str | None = Field(None, description="folder of weights, relative to the home folder")
    objective: MlmObjective = MlmObjective()

    @model_validator(mode="after")
    def _weights(self) -> PretrainConfig:
        if (self.model is None) == (self.init is None):
            raise ValueError("set exactly one of model (random weights) and init (a folder of weights)")
        return self


class FinetuneConfig(StepsConfig):
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
