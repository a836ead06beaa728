"""Duplicates, and what training must not share with an evaluation."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from bert_core.config import Config

Unit = Literal["character", "word"]


class DedupConfig(Config):
    """Exact, same-address and near duplicates, the last by MinHash-LSH over shingles."""

    threshold: float = Field(0.8, gt=0, le=1, description="Jaccard similarity of shingles that makes a near duplicate")
    cluster_threshold: float = Field(0.5, gt=0, le=1, description="similarity that keeps two on one side of the split")
    unit: Unit = Field("character", description="of shingles; words suit long pages in languages that separate words")
    shingle: int = Field(5, ge=1, le=20, description="characters or words")
    permutations: int = Field(128, ge=16, le=1024)
    seed: int = 42
    one_per_address: tuple[str, ...] = Field(
        ("page",), description="kinds of document of which an address (its canonical form) has only one; () = no kind"
    )
    bucket_limit: int = Field(
        64,
        ge=2,
        le=10_000,
        description="texts in a bucket of a band up to which all are compared with all; above, each with so many",
    )
    against: tuple[str, ...] = Field((), description="recipes whose newest corpus must not come again in this one")


class EvaluationSet(Config):
    """Texts that a model will be measured on."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", max_length=100)
    path: str = Field(description="JSONL, CSV, TSV, Parquet or text lines, also .gz; relative to the home folder")
    column: str = Field("text", min_length=1, description="column with the text; .txt has none")


class DecontaminateConfig(Config):
    """What is dropped because an evaluation set has it: near-duplicates of its texts, and shared runs of words."""

    sets: tuple[EvaluationSet, ...] = Field((), description="evaluation sets; () = nothing to protect")
    ngram: int = Field(13, ge=2, le=100, description="words in a row (13: GPT-3, arXiv:2005.14165, appendix C)")
    character_ngram: int = Field(20, ge=2, le=200, description="characters in a row, for scripts without blanks")
    least: int = Field(1, ge=1, le=1000, description="different shared runs with one evaluation text that contaminate")
    shortest: int = Field(5, ge=1, le=100, description="words (or characters) of a text that is looked for as a whole")
    threshold: float = Field(0.8, gt=0, le=1, description="Jaccard similarity of shingles that makes a near duplicate")
    unit: Unit = "character"
    shingle: int = Field(5, ge=1, le=20, description="characters or words")
    permutations: int = Field(128, ge=16, le=1024)
    seed: int = 42
    leaks_per_document: int = Field(10, ge=1, le=1000, description="evaluation texts that the report names for each")

    @model_validator(mode="after")
    def _names(self) -> DecontaminateConfig:
        names = [each.name for each in self.sets]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"several evaluation sets are named {', '.join(twice)}; give each a name of its own")
        return self
