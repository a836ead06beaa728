"""A model's own surest answers as labels (Lee, 2013; with an ensemble that must agree: co-training's caution)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from bert_core.config import PairTask, SequenceTask
from tasks.augment.examples import fields_of
from tasks.augment.leakage import TextIndex
from tasks.config.augment import PseudoLabelConfig
from tasks.selection.opinions import SelectionError, opinions

FLOAT32_STEP = 1e-6  # answers hold 32 bits, so 0.95 is read as 0.94999999
DROPS = {
    "below_threshold": "the models' mean probability is below the threshold",
    "seeds_disagree": "too few of the seeds name the same class",
    "not_among_surest": "outside the top share of its class",
    "over_balance": "more than class_balanced or max_per_class allow",
    "over_max_examples": "less sure than the most examples that were asked for",
    "held_out": "equals or nearly equals a validation or test text",
}


class PseudoLabelReport(BaseModel):
    """Every text that was looked at is in `kept` or in `dropped`, by the class that the models name."""

    model_config = ConfigDict(frozen=True)

    texts: int
    kept: dict[str, int]
    dropped: dict[str, dict[str, int]]
    """by class and reason; the reasons are those of `DROPS`"""
    lowest_probability: dict[str, float]
    """of each class that got any: of the least sure text that was kept"""
    seeds: int

    def markdown(self) -> str:
        reasons = [reason for reason in DROPS if any(reason in counts for counts in self.dropped.values())]
        heads = ["class", "kept", "lowest probability", *(reason.replace("_", " ") for reason in reasons)]
        lines = [
            f"{sum(self.kept.values()):,} of {self.texts:,} texts got a label by {self.seeds} model(s).",
            "",
            "| " + " | ".join(heads) + " |",
            "| --- |" + " ---: |" * (len(heads) - 1),
        ]
        for name, kept in self.kept.items():
            lowest = f"{self.lowest_probability[name]:.3f}" if name in self.lowest_probability else "-"
            cells = [name.replace("|", "\\|"), f"{kept:,}", lowest]
            lines.append("| " + " | ".join([*cells, *(f"{self.dropped[name].get(r, 0):,}" for r in reasons)]) + " |")
        return "\n".join(lines) + "\n"


@dataclass(frozen=True)
class PseudoLabelled:
    """`table`: the texts that got a label, in their order, with columns label, pseudo = true and pseudo_probability."""

    table: pa.Table
    report: PseudoLabelReport


def pseudo_label(
    config: PseudoLabelConfig,
    task: SequenceTask | PairTask,
    unlabelled: pa.Table,
    answers: Sequence[pa.Table],
    *,
    forbidden: Iterable[pa.Table] = (),
    max_examples: int | None = None,
) -> PseudoLabelled:
    """The label of a text is the class of the highest mean probability over the models; ties go to the earlier one.

    Rules apply in this order: threshold, agreement, held-out texts, then the top share of what each class was named
    for, then balance and `max_examples`. So a balance counts only what may stay.

    Args:
        task: of kind single, with its labels.
        unlabelled: canonical table; a label column, if any, is replaced.
        answers: canonical answers, one table for each seed; calibrated ones count as they are.
        forbidden: canonical tables of the validation and test sides.
        max_examples: the surest so many of all classes; as many of each if the config balances them.

    Raises:
        SelectionError: another kind of task, no labels, or answers that do not fit.
    """
    labels = _labels(task)
    rows = unlabelled.to_pylist()
    by_model = opinions([row["id"] for row in rows], answers, config.temperature)  # (S, N, K)
    if by_model.shape[2] != len(labels):
        raise SelectionError(f"answers have {by_model.shape[2]} probabilities, the task {len(labels)} labels: {labels}")
    mean = by_model.mean(axis=0)
    named, sureness = mean.argmax(axis=1), mean.max(axis=1)
    agreement = (by_model.argmax(axis=2) == named).mean(axis=0)
    reasons = np.full(len(rows), "", dtype=object)
    if config.threshold is not None:
        reasons[sureness < config.threshold - FLOAT32_STEP] = "below_threshold"
    reasons[(agreement < config.min_agreement - 1e-9) & (reasons == "")] = "seeds_disagree"
    held_out = TextIndex((fields_of(task, row) for table in forbidden for row in table.to_pylist()), config.near)
    for i in np.flatnonzero(reasons == "").tolist():
        if held_out.find(fields_of(task, rows[i])):
            reasons[i] = "held_out"
    _keep_surest(config, reasons, named, sureness, len(labels), max_examples)
    kept = np.flatnonzero(reasons == "")
    return PseudoLabelled(
        _table(unlabelled, kept, [labels[named[i]] for i in kept], sureness[kept]),
        _report(labels, named, sureness, reasons, len(answers)),
    )


def _keep_surest(
    config: PseudoLabelConfig,
    reasons: np.ndarray,
    named: np.ndarray,
    sureness: np.ndarray,
    classes: int,
    max_examples: int | None,
) -> None:
    """Fill in the reasons of those that a limit on their class leaves out; of equals the earlier stays."""
    order = np.argsort(-sureness, kind="stable")
    if config.top_share is not None:
        for k in range(classes):
            of_class = order[named[order] == k]
            beyond = of_class[int(np.ceil(config.top_share * len(of_class))) :]
            reasons[beyond[reasons[beyond] == ""]] = "not_among_surest"
    left = [order[(named[order] == k) & (reasons[order] == "")] for k in range(classes)]
    limit = config.max_per_class or len(reasons)
    found = [len(each) for each in left if len(each)]
    if config.class_balanced:
        limit = min(limit, min(found, default=0))
    for each in left:
        reasons[each[limit:]] = "over_balance"
        if config.class_balanced and max_examples is not None:
            reasons[each[max_examples // len(found) : limit]] = "over_max_examples"
    if max_examples is not None:
        reasons[order[reasons[order] == ""][max_examples:]] = "over_max_examples"


def _labels(task: SequenceTask | PairTask) -> tuple[str, ...]:
    if not isinstance(task, SequenceTask) or task.kind != "single":
        raise SelectionError(
            f"pseudo-labels are for sequence and pair tasks of kind single, not for {task.type} "
            f"{getattr(task, 'kind', '')}".rstrip()
        )
    if not task.labels:
        raise SelectionError("task.labels is empty: probabilities are in its order, so it must be filled in")
    return task.labels


def _table(unlabelled: pa.Table, kept: np.ndarray, labels: list[str], sureness: np.ndarray) -> pa.Table:
    new = ("label", "pseudo", "pseudo_probability")
    table = unlabelled.drop_columns([name for name in new if name in unlabelled.column_names]).take(pa.array(kept))
    columns = (
        pa.array(labels, pa.string()),
        pa.array([True] * len(kept), pa.bool_()),
        pa.array(sureness, pa.float64()),
    )
    for name, column in zip(new, columns, strict=True):
        table = table.append_column(name, column)
    return table


def _report(
    labels: Sequence[str], named: np.ndarray, sureness: np.ndarray, reasons: np.ndarray, seeds: int
) -> PseudoLabelReport:
    kept, dropped, lowest = {}, {}, {}
    for k, label in enumerate(labels):
        found = Counter(reasons[named == k].tolist())
        kept[label] = found.pop("", 0)
        dropped[label] = {reason: found[reason] for reason in DROPS if found[reason]}
        if kept[label]:
            lowest[label] = float(sureness[(named == k) & (reasons == "")].min())
    return PseudoLabelReport(texts=len(named), kept=kept, dropped=dropped, lowest_probability=lowest, seeds=seeds)
