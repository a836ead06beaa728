"""Another task's training side, without what the run's own task is judged by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bert_core.config import Config, Task
from tasks.artifacts import Draft
from tasks.augment.examples import fields_of
from tasks.augment.leakage import TextIndex
from tasks.finetuning.prepare import side, task_of
from tasks.labelled.ledger import LabelledDataError
from tasks.stage import stage

REASONS = {
    "equal": "equals a validation or test text of the run's own task",
    "near": "nearly equals a validation or test text of the run's own task",
}


class AuxiliarySpec(Config):
    near: float


@stage("auxiliary", code="tasks.finetuning.auxiliary")
def auxiliary(config: AuxiliarySpec, inputs: Sequence[Any], out: Draft) -> None:
    """Drop another task's training examples of which a text equals or nearly equals a held-out one of the run's own.

    Any text of one against any of the other: the tasks may differ in how many texts an example has.
    """
    own, other = inputs
    learned, task = side(other, "train"), task_of(other)
    held_out = (text for name in ("validation", "test") for text in _texts(task_of(own), side(own, name)))
    index = TextIndex(([text] for text in held_out), config.near)
    kept = []
    for number, row in enumerate(learned.to_pylist()):
        found = {index.find([text]) for text in fields_of(task, row)} - {None}
        if found:
            out.drop(REASONS["equal" if "equal" in found else "near"])
        else:
            kept.append(number)
    if not kept:
        raise LabelledDataError(f"none of {learned.num_rows:,} training examples is left: {out.dropped}")
    pq.write_table(learned.take(pa.array(kept)), out.path / "train.parquet", compression="zstd")
    out.rows = {"seen": learned.num_rows, "kept": len(kept)}


def _texts(task: Task, table: pa.Table) -> Iterator[str]:
    return (text for row in table.to_pylist() for text in fields_of(task, row))
