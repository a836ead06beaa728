"""Labelled data for fine-tuning: where it is, what its columns are called, how it is split, what may not leak."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from bert_core.config import Config

DataFormat = Literal["auto", "csv", "tsv", "jsonl", "json", "parquet", "conll", "saved"]
CANONICAL_COLUMNS = (
    *("id", "text", "text_b", "label", "tokens", "tags", "question", "context", "answers", "answer", "answer_start"),
    *("choices", "negative", "target"),
)
"""What columns are called here. `answer` and `answer_start` are for tables with one answer a row."""


def _several(names: object) -> object:
    return (names,) if isinstance(names, str) else names


Names = Annotated[tuple[str, ...], BeforeValidator(_several)]


class ConllConfig(Config):
    """Files of one token a line and a blank line after each sentence (Tjong Kim Sang and De Meulder, 2003)."""

    token_column: int = Field(0, ge=-64, le=63, description="from 0; negative: from the end of the line")
    tag_column: int = Field(-1, ge=-64, le=63, description="from 0; negative: from the end of the line")
    separator: Literal["blanks", "tab"] = Field("blanks", description="what stands between columns")


class DataConfig(Config):
    """Files with labels, for any type of task. Sides that are not given are split off the training files."""

    train: str = Field(
        min_length=1, description="file, glob or folder, relative to the home folder (or a URI as s3://)"
    )
    validation: str | None = Field(None, min_length=1, description="the same; None: split off")
    test: str | None = Field(None, min_length=1, description="the same; None: split off")
    format: DataFormat = Field(
        "auto",
        description="auto: by suffix, before .gz, .zst, .bz2 or .xz; json: SQuAD or an array of objects; "
        "saved: a folder that Hugging Face datasets wrote with save_to_disk",
    )
    encoding: str | None = Field(None, min_length=1, description="of text files, for example latin-1; None: UTF-8")
    header: tuple[str, ...] = Field((), description="names of the columns of CSV and TSV whose first line has none")
    columns: dict[str, str] = Field(
        {}, description=f"our name -> name in the file, where they differ; ours are {', '.join(CANONICAL_COLUMNS)}"
    )
    label_columns: Names = Field((), description="kind multi: columns of 0 and 1, each named as its label")
    label_separator: str = Field(",", min_length=1, max_length=10, description="kind multi, in a string of labels")
    label_names: dict[str, str] = Field({}, description="label in the file -> name to use, for example 0 = 'bad'")
    choice_columns: Names = Field((), description="type choice: columns with a choice each, in order")
    conll: ConllConfig = ConllConfig()
    max_characters: int = Field(1_000_000, ge=1, le=100_000_000, description="longer examples are dropped, and counted")
    slices: Names = Field((), description="further columns to keep, for figures by their values")

    validation_share: float = Field(0.1, gt=0, lt=0.5, description="split off if validation is not given")
    test_share: float = Field(0.1, gt=0, lt=0.5, description="split off if test is not given")
    group: Names = Field((), description="columns; examples that share a value stay on one side")
    cluster_threshold: float | None = Field(
        0.5, gt=0, le=1, description="Jaccard similarity of text that keeps two on one side; None: only equal ones"
    )
    near_threshold: float | None = Field(
        0.8, gt=0, le=1, description="Jaccard similarity that makes a near duplicate; None: only equal ones count"
    )
    shingle: int = Field(5, ge=1, le=20, description="characters in a row that similarity counts")
    duplicates: Literal["drop", "keep"] = Field(
        "drop", description="of test and validation in train, of test in validation: dropped there, or only reported"
    )
    repeats: Literal["drop", "keep"] = Field(
        "drop", description="of an example within its side, label included: dropped, or only reported"
    )
    conflicts: Literal["keep", "drop"] = Field(
        "keep", description="equal text with different labels within a side: only reported, or all of them dropped"
    )
    unseen_labels: Literal["error", "drop"] = Field(
        "error", description="labels that the recipe does not name, or, where it names none, that training lacks"
    )
    max_train: int | None = Field(None, ge=1, description="a sample; a smaller one is part of a larger one")
    max_validation: int | None = Field(None, ge=1)
    max_test: int | None = Field(None, ge=1)

    @model_validator(mode="after")
    def _known_names(self) -> DataConfig:
        if unknown := sorted(set(self.columns) - set(CANONICAL_COLUMNS)):
            raise ValueError(f"columns: {', '.join(unknown)}: not one of {', '.join(CANONICAL_COLUMNS)}")
        taken = {*CANONICAL_COLUMNS, "origin"}
        if clash := sorted(set(self.slices) & taken):
            raise ValueError(f"slices: {', '.join(clash)}: a name of ours; such a column is kept under another name")
        if self.label_columns and "label" in self.columns:
            raise ValueError("set one of label_columns (a column for each label) and columns.label (one for all)")
        if self.choice_columns and "choices" in self.columns:
            raise ValueError("set one of choice_columns (a column for each choice) and columns.choices (one for all)")
        if self.validation_share + self.test_share >= 0.9:
            raise ValueError("validation_share and test_share leave less than a tenth for training")
        return self

    def column(self, name: str) -> str:
        """What a column of ours is called in the files."""
        return self.columns.get(name, name)

    @property
    def kept_columns(self) -> tuple[str, ...]:
        """Columns of the files that are kept under their own name."""
        return tuple(dict.fromkeys((*self.slices, *(name for name in self.group if name not in CANONICAL_COLUMNS))))
