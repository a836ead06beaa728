"""Active learning: what a person should label next, and what one has labelled since."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from prefect.artifacts import create_markdown_artifact

from bert_core.config import Config, SequenceTask
from bert_core.predict import open_model
from tasks import artifacts
from tasks.artifacts import ArtifactRef, Draft
from tasks.augment.examples import fields_of
from tasks.config.data import DataConfig
from tasks.config.finetune import SelectConfig
from tasks.finetuning.prepare import SIDES, side, task_of
from tasks.labelled.ledger import LabelledDataError
from tasks.selection import read_sheet, read_texts, select, without_known, write_sheet
from tasks.stage import artifact_key, stage
from tasks.text.sources import locations

SHEET = "sheet.jsonl"
SHOWN, SHOWN_CHARACTERS = 10, 120
UNASKED = ("k_center", "random")
"""Strategies that need no answers."""


class SelectSpec(Config):
    name: str
    select: SelectConfig
    reading: DataConfig
    contents: dict[str, str]
    """sha256 of each file of the pool."""


class SheetsSpec(Config):
    filled: str
    near: float
    contents: dict[str, str]
    """sha256 of each sheet."""


@stage("select", code="tasks.finetuning.select")
def select_texts(config: SelectSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Ask the seeds' models about the pool, and write the sheet of the texts whose labels would tell most."""
    prepared, *trained = inputs
    task, settings = task_of(prepared), config.select
    assert isinstance(task, SequenceTask)
    labelled = side(prepared, "train")
    pool = read_texts(config.reading, task, artifacts.home())
    held_out = (side(prepared, "validation"), side(prepared, "test"))
    fresh, known = without_known(task, pool.table, labelled=labelled, held_out=held_out, near=settings.near)
    if not fresh.num_rows:
        raise LabelledDataError(
            f"select.pool = {settings.pool!r}: no text is left of {pool.seen:,}: {dict(pool.dropped + known)}"
        )
    models = [] if settings.strategy in UNASKED else [open_model(each / "model") for each in trained]
    chosen = select(
        settings,
        [model.answer(fresh) for model in models],
        fresh,
        settings.count,
        settings.seed,
        labelled=[" ".join(fields_of(task, row)) for row in labelled.to_pylist()],
    )
    write_sheet(out.path / SHEET, task, fresh, chosen["id"].to_pylist())
    pq.write_table(chosen, out.path / "chosen.parquet")
    out.rows = {"seen": pool.seen, "kept": chosen.num_rows}
    for reason, count in (pool.dropped + known).items():
        out.drop(reason, count)
    if rest := fresh.num_rows - chosen.num_rows:
        out.drop("not among the chosen", rest)
    out.facts |= {"strategy": settings.strategy}
    page = _page(task, fresh, chosen)
    create_markdown_artifact(page, key=artifact_key(f"{config.name}-to-label"), description="what to label next")


@stage("sheets", code="tasks.finetuning.select")
def join_sheets(config: SheetsSpec, inputs: Sequence[Any], out: Draft) -> None:
    """The sides, with what a person filled into sheets behind the training examples.

    What was chosen to be labelled is no random sample: it never gets to the validation or the test side.
    """
    (prepared,) = inputs
    task = task_of(prepared)
    assert isinstance(task, SequenceTask)
    files = locations.find([config.filled], artifacts.home())
    tables, still_open = [], 0
    for number, file in enumerate(files, 1):
        sheet = read_sheet(artifacts.home() / file, task)
        ids = pa.array([f"sheet{number}-{id}" for id in sheet.table["id"].to_pylist()], pa.string())
        tables.append(sheet.table.set_column(0, "id", ids))
        still_open += len(sheet.open_ids)
    found = pa.concat_tables(tables)
    learned = side(prepared, "train")
    held_out = (side(prepared, "validation"), side(prepared, "test"))
    new, dropped = without_known(task, found, labelled=learned, held_out=held_out, near=config.near)
    joined = pa.concat_tables([learned, new], promote_options="permissive")
    for name in ("validation.parquet", "test.parquet", "rejects.parquet", "data.json"):
        shutil.copyfile(prepared / name, out.path / name)
    pq.write_table(joined, out.path / "train.parquet", compression="zstd")
    dropped += Counter({"no label yet": still_open})
    lines = "".join(f"- {reason}: {count:,}\n" for reason, count in dropped.items())
    (out.path / "data.md").write_text(
        f"{(prepared / 'data.md').read_text('utf-8')}\n## Sheets\n\n{new.num_rows:,} examples of {len(files)} sheets "
        f"(`{config.filled}`) come behind the training side.\n\n{lines}",
        "utf-8",
    )
    out.rows = {name: prepared.manifest["rows"][name] for name in SIDES} | {"train": joined.num_rows}
    out.rows |= {"seen": found.num_rows + still_open, "kept": new.num_rows}
    for reason, count in dropped.items():
        out.drop(reason, count)
    out.facts |= {"task": task.model_dump(mode="json")}


def told(selected: ArtifactRef) -> str:
    """Where the sheet is, and what becomes of it."""
    rows, strategy = selected.manifest["rows"], selected.manifest["facts"]["strategy"]
    return (
        f"To label next: {selected / SHEET} ({rows['kept']:,} of {rows['seen']:,} texts, by {strategy})\n"
        f'  Fill in a copy below the home folder, and name it in the recipe: select.filled = "…/*.jsonl"\n'
    )


def _page(task: SequenceTask, texts: pa.Table, chosen: pa.Table) -> str:
    rows = {row["id"]: row for row in texts.to_pylist()}
    lines = [
        f"{chosen.num_rows:,} texts to label, the most wanted first (`{SHEET}`).",
        "",
        "| id | score | text |",
        "| --- | ---: | --- |",
    ]
    for row in chosen.slice(0, SHOWN).to_pylist():
        text = " ▪ ".join(fields_of(task, rows[row["id"]]))
        shown = text[:SHOWN_CHARACTERS].replace("|", "\\|").replace("\n", " ")
        lines.append(f"| {row['id']} | {row['score']:.3f} | {shown}{'…' if len(text) > SHOWN_CHARACTERS else ''} |")
    return "\n".join(lines) + "\n"
