"""What a variant learns from instead of the set's training side: changed copies, more labels, another task's examples.

More labels are those of the pool: further training examples of the set's files, whose labels are hidden from all but
the one who is asked. None of the validation and test sides is in it; the split is made before the sample.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from finetuning import sets
from finetuning.sets import BenchmarkSet, Prepared
from pydantic import Field

from bert_core.config import Config, SequenceTask
from bert_core.mlm_substitution import MlmSubstitution
from bert_core.predict import open_model
from tasks.augment import augment
from tasks.augment.examples import fields_of
from tasks.augment.leakage import TextIndex
from tasks.augment.thesaurus import open_thesaurus
from tasks.config.augment import ActiveLearningConfig, AugmentConfig, PseudoLabelConfig, Substitution
from tasks.selection import pseudo_label, select

POOL, TEXTS = 10, 40
"""Times the training side: examples of which labels can be had, and texts that teach the thesaurus."""
THESAURUS_SEED = 13
SIDES_TO_KEEP_OUT = ("validation", "test")


class AllLabels(Config):
    """Everything in the pool is labelled: what the others would like to reach."""

    type: Literal["all"] = "all"


class PseudoLabels(PseudoLabelConfig):
    """A model of the training side labels what it is sure of, as many of each class (Lee, 2013)."""

    type: Literal["pseudo"] = "pseudo"
    threshold: float | None = Field(0.9, gt=0, le=1)
    class_balanced: bool = True


class ActiveLabels(ActiveLearningConfig):
    """A part of the training side first; in each round a model of all labels so far says which to ask for next."""

    type: Literal["active"] = "active"
    start: float = Field(2 / 3, gt=0, le=1, description="of the training side, drawn by the seed")
    batch: float = Field(2 / 3, gt=0, description="labels of a round, by the size of the training side")
    rounds: int = Field(2, ge=1)


class Auxiliary(Config):
    """Another set, learned on the same encoder."""

    set: str
    weight: float = Field(1.0, gt=0, description="its steps for each of the set's own")
    near: float = Field(0.6, gt=0, le=1, description="texts nearly equal to validation or test texts are dropped")


Labels = Annotated[AllLabels | PseudoLabels | ActiveLabels, Field(discriminator="type")]


class ExamplesConfig(Config):
    """Defaults change nothing."""

    labels: Labels | None = None
    augment: AugmentConfig | None = Field(None, description="of what is labelled after `labels`")
    auxiliary: Auxiliary | None = None
    validation: bool = Field(False, description="the held-out loss is that of the validation side, once an epoch")

    @property
    def changes_training(self) -> bool:
        """Other training examples, for which the plain run's number of steps is kept."""
        return self.labels is not None or self.augment is not None


Teach = Callable[[pa.Table, Path], float]
"""Train as the variant does on a table, write the model to a folder that is not there yet; seconds of the loop."""


@dataclass(frozen=True)
class Made:
    """Examples to train on, and what it took to make them."""

    table: pa.Table
    facts: dict[str, Any] = field(default_factory=dict)
    """Numbers for the report."""
    seconds: float = 0.0
    """Of the training loops of teachers, and of their answers. Drawing copies is told in `facts`."""


def make(
    config: ExamplesConfig,
    chosen: BenchmarkSet,
    prepared: Prepared,
    *,
    seed: int,
    teach: Teach,
    folder: Path,
    masked_model: Path | None = None,
) -> Made:
    """The training examples, of columns as those of the training side.

    Args:
        folder: for teachers' models.
        masked_model: with a masked-word head, for augmentation of type mlm.
    """
    train = prepared.side("train")
    columns, made = train.column_names, Made(train)
    match config.labels:
        case AllLabels():
            made = Made(_pool(chosen, prepared))
        case PseudoLabels():
            made = _pseudo(config.labels, chosen, prepared, teach, folder)
        case ActiveLabels():
            made = _active(config.labels, chosen, prepared, seed, teach, folder)
    table, facts = made.table.select(columns), {"examples": made.table.num_rows, **made.facts}
    if config.augment is not None:
        started = time.perf_counter()
        table, copies = _copies(config.augment, chosen, prepared, table, seed, masked_model)
        facts |= {**copies, "copying_s": time.perf_counter() - started}
    return Made(table, facts, made.seconds)


def auxiliary_examples(config: Auxiliary, prepared: Prepared) -> tuple[Prepared, pa.Table, dict[str, Any]]:
    """The other set, those of its training examples that are no held-out text of this one, and figures of both."""
    other = sets.prepare(sets.EVERY[config.set])
    table, held_out = other.side("train"), _held_out(prepared)
    index = TextIndex((fields_of(prepared.task, row) for side in held_out for row in side.to_pylist()), config.near)
    is_free = [index.find(fields_of(other.task, row)) is None for row in table.to_pylist()]
    kept = table.filter(pa.array(is_free, pa.bool_()))
    facts = {"auxiliary": kept.num_rows, "dropped as held out": table.num_rows - kept.num_rows}
    return other, kept, facts


def _held_out(prepared: Prepared) -> list[pa.Table]:
    return [prepared.side(name) for name in SIDES_TO_KEEP_OUT]


def _pool(chosen: BenchmarkSet, prepared: Prepared, times: int = POOL) -> pa.Table:
    """The training side first, then further examples, `times` as many in all if the files have them.

    Raises:
        ValueError: examples of the training side are not in it, or such of the held-out sides are.
    """
    train = prepared.side("train")
    most = {"max_train": times * train.num_rows}
    larger = chosen.sampled(most["max_train"], chosen.data.max_validation, chosen.data.max_test)
    table = sets.prepare(larger).side("train")
    ids, known = set(table["id"].to_pylist()), set(train["id"].to_pylist())
    lost, leaked = known - ids, {id for side in _held_out(prepared) for id in side["id"].to_pylist()} & ids
    if lost or leaked:
        raise ValueError(f"{chosen.name}: the pool lacks {len(lost)} training examples and has {len(leaked)} held out")
    is_new = [id not in known for id in table["id"].to_pylist()]
    return pa.concat_tables([train, table.filter(pa.array(is_new, pa.bool_())).select(train.column_names)])


def _asked(folder: Path, texts: pa.Table) -> tuple[pa.Table, float]:
    model, started = open_model(folder), time.perf_counter()
    return model.answer(texts.drop_columns(["label"])), time.perf_counter() - started


def _pseudo(config: PseudoLabels, chosen: BenchmarkSet, prepared: Prepared, teach: Teach, folder: Path) -> Made:
    task, train = prepared.task, prepared.side("train")
    assert isinstance(task, SequenceTask)
    rest = _pool(chosen, prepared).slice(train.num_rows)
    seconds = teach(train, folder / "teacher")
    answers, asking_s = _asked(folder / "teacher", rest)
    found = pseudo_label(config, task, rest, [answers], forbidden=_held_out(prepared)).table
    truth = _labels(rest)
    pairs = [(truth[id], label) for id, label in _labels(found).items()]
    facts = {
        "asked": rest.num_rows,
        "pseudo-labels": len(pairs),
        "right": sum(gold == label for gold, label in pairs) / max(1, len(pairs)),
    }
    table = pa.concat_tables([train, found.select(train.column_names).cast(train.schema)])
    return Made(table, facts, seconds + asking_s)


def _active(
    config: ActiveLabels, chosen: BenchmarkSet, prepared: Prepared, seed: int, teach: Teach, folder: Path
) -> Made:
    size = prepared.side("train").num_rows
    pool = _pool(chosen, prepared)
    start = np.random.default_rng(seed).permutation(size)[: max(2, round(config.start * size))]
    has_label = np.zeros(pool.num_rows, bool)
    has_label[start] = True
    seconds, ids = 0.0, pool["id"].to_pylist()
    for number in range(config.rounds):
        labelled, rest = (pool.filter(pa.array(mask)) for mask in (has_label, ~has_label))
        answers = []
        if config.strategy not in ("random", "k_center"):
            model = folder / f"round-{number}"
            seconds += teach(labelled, model)
            table, asking_s = _asked(model, rest)
            answers, seconds = [table], seconds + asking_s
        known = [" ".join(fields_of(prepared.task, row)) for row in labelled.to_pylist()]
        asked = round(config.batch * size)
        new = select(config, answers, rest.drop_columns(["label"]), asked, seed + number, labelled=known)
        has_label |= np.isin(ids, new["id"].to_pylist())
    return Made(pool.filter(pa.array(has_label)), {"started with": len(start), "rounds": config.rounds}, seconds)


def _labels(table: pa.Table) -> dict[str, str]:
    return dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))


def _copies(
    config: AugmentConfig,
    chosen: BenchmarkSet,
    prepared: Prepared,
    table: pa.Table,
    seed: int,
    masked_model: Path | None,
) -> tuple[pa.Table, Mapping[str, Any]]:
    thesaurus = None
    if config.thesaurus is not None:
        rows = _pool(chosen, prepared, TEXTS).to_pylist()  # of their texts alone
        texts = [text for row in rows for text in fields_of(prepared.task, row)]
        thesaurus = open_thesaurus(config.thesaurus, texts, THESAURUS_SEED, config.language)
    masked = next((method for method in config.methods if isinstance(method, Substitution)), None)
    substitute = None
    if masked is not None and masked_model is not None:
        substitute = MlmSubstitution(masked_model, rate=masked.rate, top_k=masked.top_k)
    found = augment(
        config,
        prepared.task,
        table,
        forbidden=_held_out(prepared),
        seed=seed,
        thesaurus=thesaurus,
        substitute=substitute,
    )
    kept = sum(found.report.kept.values())
    dropped = sum(sum(reasons.values()) for reasons in found.report.dropped.values())
    return found.table.select(table.column_names), {"copies": kept, "dropped": dropped}
