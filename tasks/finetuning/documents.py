"""Labelled documents of a crawled corpus to checked sides: the same checks, the corpus' own split."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bert_core import tokenizer
from bert_core.config import Config, SequenceTask
from tasks.artifacts import Draft
from tasks.config.data import DataConfig
from tasks.finetuning.prepare import SIDES, publish
from tasks.labelled import load_dataset
from tasks.stage import stage
from tasks.text.documents import read_documents

KEPT = ("url", "source", "date")
"""Columns that figures can be shown apart by."""


class DocumentsSpec(Config):
    """What decides the sides beside the documents."""

    name: str
    task: SequenceTask
    seed: int
    max_tokens: int


@stage("prepare", code="tasks.finetuning.documents")
def prepare_documents(config: DocumentsSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Check the labelled documents of each side; those that leak into another by their text are dropped."""
    documents, encoded = inputs
    table = read_documents(documents, ["id", "text", "label", "split", *KEPT], labelled=True)
    with tempfile.TemporaryDirectory(prefix="documents-") as folder:
        for side in SIDES:
            pq.write_table(_side(table, side), Path(folder) / f"{side}.parquet")
        found = load_dataset(
            DataConfig(**{side: f"{side}.parquet" for side in SIDES}, slices=KEPT),
            config.task,
            home=Path(folder),
            seed=config.seed,
            tokenizer=tokenizer.load(encoded / "tokenizer"),
            max_tokens=config.max_tokens,
        )
    publish(found, config.name, out)


def _side(table: pa.Table, side: str) -> pa.Table:
    return table.filter(pc.equal(table["split"], side)).drop_columns(["split"])
