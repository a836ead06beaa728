"""What a fine-tuned model is asked, one schema for each type of task."""

from __future__ import annotations

from typing import Annotated, Literal, get_args

from pydantic import Field, model_validator

from bert_core.config.base import Config

Labels = Annotated[
    tuple[str, ...], Field(description="in the order of their ids; empty: those of the training side, sorted")
]


class SequenceTask(Config):
    """A class, several labels or a number for each text."""

    type: Literal["sequence"] = "sequence"
    kind: Literal["single", "multi", "regression"] = Field(
        "single", description="one class (two or more), any number of labels, or a number for each example"
    )
    labels: Labels = ()
    class_weights: Literal["none", "balanced"] = Field(
        "none", description="balanced: each class counts the same, however rare (examples / (classes * its examples))"
    )
    focal_gamma: float = Field(
        0.0, ge=0, description="focal loss (Lin et al., 2017, arXiv:1708.02002): 0 is cross-entropy, 2 the paper's"
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    threshold: float = Field(0.5, gt=0, lt=1, description="multi: probability from which a label is given")

    @model_validator(mode="after")
    def _labels_fit(self) -> SequenceTask:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"labels {list(self.labels)}: each once")
        if self.kind == "regression" and self.labels:
            raise ValueError("kind = 'regression' has no labels: leave them out")
        if self.kind == "single" and len(self.labels) == 1:
            raise ValueError(f"labels {list(self.labels)}: a single class has nothing to tell it from")
        if self.kind == "regression" and (self.class_weights != "none" or self.focal_gamma or self.label_smoothing):
            raise ValueError("class_weights, focal_gamma and label_smoothing are for classes, not for regression")
        return self


class PairTask(SequenceTask):
    """The same for two texts: inference, paraphrase, similarity."""

    type: Literal["pair"] = "pair"  # type: ignore[assignment]


class TokenTask(Config):
    """A tag for each token: named entities, parts of speech."""

    type: Literal["token"] = "token"
    labels: Labels = ()
    scheme: Literal["bio", "plain"] = Field(
        "bio", description="bio: tags O, B-X, I-X over entities, scored as conlleval does; plain: a tag a token"
    )


class SpanTask(Config):
    """The answer to a question is a span of the context, or there is none (SQuAD, arXiv:1606.05250, 1806.03822)."""

    type: Literal["span"] = "span"
    stride: int = Field(64, ge=1, description="tokens that two windows of a long context share")
    n_best: int = Field(20, ge=1, description="starts and ends that are combined")
    max_answer_tokens: int = Field(30, ge=1)
    no_answer: Literal["auto", "yes", "no"] = Field(
        "auto", description="whether a question may have none; auto: if the training side has such questions"
    )
    no_answer_threshold: float | None = Field(
        None,
        description="score of no answer minus that of the best one, from which there is none; None: "
        "the one that is best on the validation side",
    )


class ChoiceTask(Config):
    """One of several texts fits."""

    type: Literal["choice"] = "choice"


class EmbeddingTask(Config):
    """Texts that belong together lie close together (Reimers and Gurevych, 2019, arXiv:1908.10084)."""

    type: Literal["embedding"] = "embedding"
    pooling: Literal["mean", "cls"] = "mean"
    loss: Literal["in_batch", "cosine"] = Field(
        "in_batch",
        description="in_batch: each text finds its partner among all of the batch (needs positive pairs); "
        "cosine: squared difference between the cosine and the label",
    )
    scale: float = Field(20.0, gt=0, description="in_batch: cosines are multiplied by this, an inverse temperature")


class Generation(Config):
    """How text is generated."""

    max_new_tokens: int = Field(64, ge=1)
    min_new_tokens: int = Field(0, ge=0)
    beams: int = Field(1, ge=1, description="beam search; 1: greedy, or drawn if temperature is not 0")
    length_penalty: float = Field(1.0, description="beam search: scores are divided by length ** this")
    temperature: float = Field(0.0, ge=0, description="0: the most probable token; 1: drawn as the model has it")
    top_k: int = Field(0, ge=0, description="drawn among so many most probable tokens; 0: among all")
    top_p: float = Field(1.0, gt=0, le=1, description="drawn among the fewest tokens whose probabilities reach this")
    seed: int = Field(13, ge=0)

    @model_validator(mode="after")
    def _one_way(self) -> Generation:
        if self.beams > 1 and self.temperature > 0:
            raise ValueError(f"beams = {self.beams} searches, temperature = {self.temperature} draws: set one of them")
        return self


class Seq2SeqTask(Config):
    """A text becomes another: translation, summarisation. Encoder and decoder both start from the encoder's weights
    (Rothe et al., 2020, arXiv:1907.12461)."""

    type: Literal["seq2seq"] = "seq2seq"
    max_target_tokens: int = Field(128, ge=4)
    decoder_layers: int | None = Field(None, ge=1, description="the lowest so many of the encoder's; None: all")
    label_smoothing: float = Field(0.1, ge=0, lt=1)
    generation: Generation = Generation(beams=4)


class CausalTask(Config):
    """Text goes on: language modelling, and answers to prompts, by a model that reads from left to right."""

    type: Literal["causal"] = "causal"
    generation: Generation = Generation(temperature=1.0, top_p=0.95)


Task = Annotated[
    SequenceTask | PairTask | TokenTask | SpanTask | ChoiceTask | EmbeddingTask | Seq2SeqTask | CausalTask,
    Field(discriminator="type"),
]
TaskType = Literal["sequence", "pair", "token", "span", "choice", "embedding", "seq2seq", "causal"]
TASK_TYPES: tuple[str, ...] = get_args(TaskType)
