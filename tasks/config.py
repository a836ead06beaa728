"""Schemas of the recipe's sections, one for each stage. `flows/recipe.py` puts them together into a whole recipe."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bert_core.config import BatchConfig, Config, MlmObjective, ModelConfig, OptimizerConfig, Precision


class WebSource(Config):
    """A web site to crawl."""

    type: Literal["web"] = "web"
    seeds: tuple[str, ...] = Field(min_length=1, description="addresses to start from")
    sitemaps: bool = Field(True, description="also start from the sitemaps that robots.txt names")
    include: tuple[str, ...] = Field((), description="regular expressions; a URL must match one (empty: all)")
    exclude: tuple[str, ...] = Field((), description="regular expressions; a URL that matches one is skipped")
    allow_private_hosts: tuple[str, ...] = Field((), description="host:port that may resolve to non-public addresses")
    max_pages: int = Field(100_000, ge=1)
    max_depth: int = Field(50, ge=0)
    max_body_bytes: int = Field(10_000_000, ge=1_000)
    requests_per_second: float = Field(2.0, gt=0, le=1_000, description="to each host")
    concurrency: int = Field(4, ge=1, le=64, description="requests under way to each host")
    timeout_s: float = Field(20.0, gt=0)
    retries: int = Field(3, ge=0, le=10, description="of 5xx, 429 and network errors, with exponential backoff")
    user_agent: str = Field("bert-foundry/0.1", min_length=1)


class LinesFile(Config):
    """A text file of one document a line."""

    path: str = Field(description="relative to the home folder (BERT_FOUNDRY_HOME, by default .foundry)")
    kind: str = Field("text", description="what the documents are, for example review")
    label: str | None = Field(None, description="label of every line")
    format: Literal["plain", "tagged"] = Field("plain", description="tagged: word/tag word/tag ...; the tags go")


class FilesSource(Config):
    """Text files that are already on disk."""

    type: Literal["files"] = "files"
    files: tuple[LinesFile, ...] = Field(min_length=1)


Source = Annotated[WebSource | FilesSource, Field(discriminator="type")]


class RecordSelector(Config):
    """How to read labelled records out of a page, by CSS selectors.

    A page on which `item` matches nothing has no records of this kind. Selectors other than `item` are relative to it.
    """

    kind: str = Field(description="for example review or plot")
    item: str = Field(description="one match a record")
    text: str = Field(description="the record's text, inside the item; '' is the item itself")
    label: str | None = Field(None, description="element whose text, lower-cased, is the label")


class CleanConfig(Config):
    """From raw pages or lines to documents: extraction, normalisation, sentences, language, quality."""

    language: str = Field("en", pattern=r"^[a-z]{2,3}$", description="ISO 639 code; other languages are dropped")
    min_language_score: float = Field(0.5, ge=0, le=1)
    records: tuple[RecordSelector, ...] = ()
    labels: tuple[str, ...] = Field((), description="legal labels; a record with another one is dropped")
    page_text: bool = Field(True, description="pages without records give their main text as one document")
    min_characters: int = Field(10, ge=1)
    max_characters: int = Field(100_000, ge=1)
    min_letter_share: float = Field(0.6, ge=0, le=1, description="letters among the non-blank characters")
    max_repeated_line_share: float = Field(0.3, ge=0, le=1, description="Gopher: lines that repeat in a document")
    boilerplate_pages: int = Field(20, ge=2, description="a line seen on this many pages is boilerplate")


class DedupConfig(Config):
    """Exact and near duplicates by MinHash-LSH over character shingles."""

    threshold: float = Field(0.8, gt=0, le=1, description="estimated Jaccard similarity that makes a near duplicate")
    cluster_threshold: float = Field(0.5, gt=0, le=1, description="similarity that keeps two on one side of the split")
    shingle: int = Field(5, ge=1, le=20, description="characters")
    permutations: int = Field(128, ge=16, le=1024)
    seed: int = 42


class SplitConfig(Config):
    """Train, validation and test by group and by near-duplicate cluster."""

    validation_share: float = Field(0.1, gt=0, lt=0.5)
    test_share: float = Field(0.1, gt=0, lt=0.5)
    group: bool = Field(True, description="documents of one group (page) stay together; False: only clusters do")
    seed: int = 13


class PretrainedTokenizer(Config):
    """The tokenizer of existing weights."""

    type: Literal["pretrained"] = "pretrained"
    path: str = Field(description="folder with tokenizer.json or vocab.txt, relative to the home folder")


class WordPieceTokenizer(Config):
    """A WordPiece vocabulary trained on the training split."""

    type: Literal["wordpiece"] = "wordpiece"
    vocab_size: int = Field(8_000, ge=100, le=1_000_000)
    min_frequency: int = Field(2, ge=1)
    lowercase: bool = True


Tokenizer = Annotated[PretrainedTokenizer | WordPieceTokenizer, Field(discriminator="type")]


class EncodeConfig(Config):
    """Documents to Arrow token shards."""

    tokenizer: Tokenizer
    documents_per_shard: int = Field(50_000, ge=1)


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


class BaselinesConfig(Config):
    """Classical models that BERT must beat."""

    analyzer: Literal["word", "char"] = "word"
    naive_bayes_ngrams: tuple[int, int] = (1, 2)
    logistic_ngrams: tuple[int, int] = (1, 2)


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
