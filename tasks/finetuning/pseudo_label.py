"""More training examples out of unlabelled texts, by what teachers are sure of (Lee, 2013)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from prefect.artifacts import create_markdown_artifact

from bert_core.config import Config, SequenceTask
from bert_core.files import write_json
from bert_core.predict import open_model
from tasks import artifacts
from tasks.artifacts import Draft
from tasks.config.data import DataConfig
from tasks.config.finetune import PseudoLabelsConfig
from tasks.finetuning.prepare import side, task_of
from tasks.labelled.ledger import LabelledDataError
from tasks.selection import PseudoLabelled, pseudo_label, read_texts, without_known
from tasks.stage import artifact_key, stage


class PseudoLabelSpec(Config):
    name: str
    pseudo_labels: PseudoLabelsConfig
    reading: DataConfig
    contents: dict[str, str]
    """sha256 of each file."""


@stage("pseudo-label", code="tasks.finetuning.pseudo_label")
def pseudo_labels(config: PseudoLabelSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Ask the teachers about the unlabelled texts, and put those that get a label behind the training examples."""
    prepared, augmented, *teachers = inputs
    task, settings = task_of(prepared), config.pseudo_labels
    assert isinstance(task, SequenceTask)
    learned = side(augmented or prepared, "train")
    texts = read_texts(config.reading, task, artifacts.home())
    held_out = (side(prepared, "validation"), side(prepared, "test"))
    fresh, known = without_known(task, texts.table, labelled=learned, held_out=held_out, near=settings.near)
    if not fresh.num_rows:
        raise LabelledDataError(
            f"pseudo_labels.data = {settings.data!r}: no text is left of {texts.seen:,}: {dict(texts.dropped + known)}"
        )
    found = pseudo_label(
        settings,
        task,
        fresh,
        [open_model(each / "model").answer(fresh) for each in teachers],
        max_examples=settings.max_examples,
    )
    joined = _joined(learned, found.table)
    pq.write_table(joined, out.path / "train.parquet", compression="zstd")
    write_json(out.path / "pseudo-labels.json", found.report.model_dump(mode="json"))
    out.rows = {"seen": texts.seen, "kept": found.table.num_rows, "train": joined.num_rows}
    for reason, count in (texts.dropped + known + _dropped(found)).items():
        out.drop(reason, count)
    create_markdown_artifact(
        _page(out, found), key=artifact_key(f"{config.name}-pseudo-labels"), description="texts that got a label"
    )


def _dropped(found: PseudoLabelled) -> Counter[str]:
    reasons: Counter[str] = Counter()
    for of_class in found.report.dropped.values():
        reasons.update({reason.replace("_", " "): count for reason, count in of_class.items()})
    return reasons


def _joined(learned: pa.Table, new: pa.Table) -> pa.Table:
    """`pseudo` says which examples are which; their ids begin with `pseudo-`, as two sources may count from 0."""
    ids = pc.binary_join_element_wise("pseudo", new["id"].cast(pa.string()), "-")
    new = new.set_column(new.column_names.index("id"), "id", ids)
    table = pa.concat_tables([learned, new], promote_options="permissive")
    place = table.column_names.index("pseudo")
    return table.set_column(place, "pseudo", pc.fill_null(table["pseudo"], False))


def _page(out: Draft, found: PseudoLabelled) -> str:
    lines = [f"- {reason}: {count:,}" for reason, count in out.dropped.items()]
    return (
        f"{found.report.markdown()}\n{out.rows['seen']:,} texts read, {out.rows['kept']:,} learned. "
        f"Dropped:\n\n{chr(10).join(lines) or '- none'}\n"
    )
