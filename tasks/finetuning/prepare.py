"""Labelled files to checked sides, without leaks between them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect.artifacts import create_markdown_artifact

from bert_core import tokenizer
from bert_core.config import Config, Task
from bert_core.config.base import validate
from bert_core.files import write_json
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.config.data import DataConfig
from tasks.labelled import LabelledData, load_dataset
from tasks.stage import artifact_key, stage

SIDES = ("train", "validation", "test")


class PrepareSpec(Config):
    """What decides the sides beside the bytes of the files."""

    name: str
    data: DataConfig
    task: Task
    seed: int
    tokenizer: str | None
    """Folder of the one that the checks count by; None: there is none yet."""
    max_tokens: int
    contents: dict[str, str]
    """sha256 of each file and folder of which the recipe has only the name."""


class _Resolved(Config):
    task: Task


@stage("prepare", code="tasks.finetuning.prepare")
def prepare(config: PrepareSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Read, infer the labels, split, drop what leaks from one side to another, and check."""
    del inputs
    found = load_dataset(
        config.data,
        config.task,
        home=artifacts.home(),
        seed=config.seed,
        tokenizer=tokenizer.load(artifacts.home() / config.tokenizer) if config.tokenizer else None,
        max_tokens=config.max_tokens,
    )
    publish(found, config.name, out)


def publish(found: LabelledData, name: str, out: Draft) -> None:
    """Write the sides, what was dropped and the report on them, which is shown in Prefect too."""
    for side, table in found.sides.items():
        pq.write_table(table, out.path / f"{side}.parquet", compression="zstd")
    pq.write_table(found.rejects, out.path / "rejects.parquet", compression="zstd")
    write_json(out.path / "data.json", found.report.model_dump(mode="json"))
    (out.path / "data.md").write_text(found.report.markdown(), "utf-8")
    create_markdown_artifact(
        found.report.markdown(), key=artifact_key(f"{name}-data"), description="the data, before training"
    )
    out.rows = {side: table.num_rows for side, table in found.sides.items()}
    for account in found.accounts.values():
        for reason, count in account.dropped.items():
            out.drop(reason, count)
    out.facts |= {"task": found.task.model_dump(mode="json")}


def task_of(prepared: ArtifactRef) -> Task:
    """The recipe's task with labels and kind filled in from the data."""
    return validate(_Resolved, {"task": prepared.manifest["facts"]["task"]}, source=prepared.path).task


def side(prepared: ArtifactRef, name: str) -> pa.Table:
    return pq.read_table(Path(prepared.path) / f"{name}.parquet")
