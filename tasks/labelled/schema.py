"""What the labels are: inferred from the training side where the recipe leaves it open, checked where it does not."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bert_core.config import PairTask, SequenceTask, SpanTask, Task, TokenTask
from tasks.config.data import DataConfig
from tasks.labelled.ledger import LabelledDataError, Ledger
from tasks.labelled.reading import FileRows
from tasks.labelled.tags import looks_like_bio, tags_of
from tasks.labelled.values import Reject

UNSEEN_LABEL, UNNAMED_LABEL = "label that training lacks", "label that the recipe does not name"
MOST_CLASSES = 1_000
"""More classes than this are no classes: ids or free text in the wrong column."""
FRACTIONS = 20
"""So many different numbers with fractions are no classes, but numbers."""


def settled(config: DataConfig, task: Task, train: Sequence[FileRows]) -> tuple[Task, list[str]]:
    """The task with its kind and scheme as the training files show them, and a line for each thing that was inferred.

    Only what the data cannot be otherwise is inferred: lists of labels are kind multi; more than 20 different numbers
    with fractions, where no labels are named, are regression; tags of which none is BIO are scheme plain.
    """
    if isinstance(task, SequenceTask) and task.kind == "single":
        if config.label_columns or any(isinstance(value, list) for value in _labels(config, train)):
            return _with(task, kind="multi"), ["kind = 'multi': training examples have lists of labels"]
        if not task.labels and _are_measures(_labels(config, train)):
            return _with(task, kind="regression"), ["kind = 'regression': labels are numbers with fractions"]
    if isinstance(task, TokenTask) and task.scheme == "bio" and not looks_like_bio(task.labels):
        tags: set[str] = set()
        for each in _tags(config, train):
            tags |= each
            if any(looks_like_bio([tag]) for tag in each):
                return task, []
        if tags - {"O"}:
            return _with(task, scheme="plain"), ["scheme = 'plain': no tag of the training examples is B-X or I-X"]
    return task, []


def with_labels(task: Task, train: pa.Table) -> tuple[Task, list[str]]:
    """The task with its labels: those of the training side, sorted, unless the recipe names them.

    BIO tags come as O, then B-X and I-X of each type in turn, both also where training has one of them only.

    Raises:
        LabelledDataError: training has a label that the recipe does not name, lacks one that it does, or has one class.
    """
    if isinstance(task, SpanTask):
        return _with_no_answer(task, train)
    if isinstance(task, SequenceTask) and task.kind == "regression":
        if pc.count_distinct(train["label"]).as_py() < 2:
            raise LabelledDataError(f"all training targets are {train['label'][0]}: there is nothing to learn")
        return task, []
    if not isinstance(task, SequenceTask | TokenTask):
        return task, []
    counts = label_counts(task, train)
    if not task.labels:
        labels = _bio_labels(counts) if isinstance(task, TokenTask) and task.scheme == "bio" else tuple(sorted(counts))
        task = _checked(task, labels, counts)
        return task, [f"{len(labels)} labels: those of the training side"]
    if unknown := sorted(set(counts) - set(task.labels)):
        raise LabelledDataError(
            f"training has labels {_counted(unknown, counts)}, and the recipe's labels are {list(task.labels)}. "
            f"Add them there, rename them by data.label_names, or leave `labels` out"
        )
    _checked(task, task.labels, counts)
    return task, []


def _checked(task: Task, labels: Sequence[str], counts: Mapping[str, int]) -> Task:
    is_single = isinstance(task, SequenceTask) and task.kind == "single"
    empty = [label for label in labels if not counts.get(label)]
    if isinstance(task, TokenTask) and task.scheme == "bio":
        empty = [label for label in empty if label[:1] == "B"]
    if empty:
        raise LabelledDataError(
            f"no training example is labelled {', '.join(map(repr, empty))}; there are "
            f"{_counted(sorted(counts), counts)}. A class without examples cannot be learned: leave it out of "
            f"`labels`, or check data.columns and data.label_names"
        )
    if len(labels) < 2 and (is_single or isinstance(task, TokenTask)):
        raise LabelledDataError(
            f"all training examples are labelled {', '.join(map(repr, labels)) or 'nothing'}: "
            f"with one class there is nothing to learn. Check data.columns (label = …) and the training files"
        )
    if not labels:
        raise LabelledDataError("no training example has any label; check data.columns and data.label_separator")
    if len(labels) > MOST_CLASSES:
        raise LabelledDataError(
            f"{len(labels):,} different labels, such as {list(labels[:5])}: is data.columns.label the right column? "
            f"At most {MOST_CLASSES:,} are inferred; name more in `labels`"
        )
    return _with(task, labels=tuple(labels))


def without_unseen(config: DataConfig, task: Task, side: str, table: pa.Table, ledger: Ledger) -> pa.Table:
    """A side whose labels are all known to training.

    Raises:
        LabelledDataError: there are others, and the recipe does not say to drop them; names and counts them.
    """
    known = set(getattr(task, "labels", ()))
    counts = label_counts(task, table)
    unseen = sorted(set(counts) - known)
    if not unseen or not known:
        return table
    if config.unseen_labels == "error":
        raise LabelledDataError(
            f"{side} has labels that training lacks: {_counted(unseen, counts)}; training has {sorted(known)}. Add "
            f"training examples, rename labels by data.label_names, or set data.unseen_labels = 'drop'"
        )
    return _without(task, side, table, ledger, UNSEEN_LABEL)


def without_unnamed(config: DataConfig, task: Task, side: str | None, table: pa.Table, ledger: Ledger) -> pa.Table:
    """Where the recipe names labels and says to drop others: the examples without others."""
    if config.unseen_labels == "error" or not getattr(task, "labels", ()):
        return table
    return _without(task, side, table, ledger, UNNAMED_LABEL)


def _without(task: Task, side: str | None, table: pa.Table, ledger: Ledger, reason: str) -> pa.Table:
    """The examples whose labels are all among the task's.

    Raises:
        LabelledDataError: none is.
    """
    known = set(getattr(task, "labels", ()))
    verdicts: list[tuple[str, str] | None] = []
    for value in table["tags" if isinstance(task, TokenTask) else "label"].to_pylist():
        more = sorted(set(value if isinstance(value, list) else [value]) - known)
        verdicts.append((reason, ", ".join(more)) if more else None)
    kept = ledger.keep(table, verdicts, side)
    if not kept.num_rows:
        counts = label_counts(task, table)
        raise LabelledDataError(
            f"{side or 'train'}: every example has a {reason}: {_counted(sorted(counts), counts)}; "
            f"legal are {sorted(known)}"
        )
    return kept


def label_counts(task: Task, table: pa.Table) -> Counter[str]:
    """How often each label is given: to examples, or to tokens. Empty where there are no labels."""
    if isinstance(task, TokenTask):
        values = pc.list_flatten(table["tags"])
    elif isinstance(task, SequenceTask) and task.kind == "multi":
        values = pc.list_flatten(table["label"])
    elif isinstance(task, SequenceTask) and task.kind == "single":
        values = table["label"]
    else:
        return Counter()
    return Counter({each["values"].as_py(): each["counts"].as_py() for each in pc.value_counts(values)})


def description(task: Task) -> str:
    """One line: what is predicted."""
    labels = getattr(task, "labels", ())
    if isinstance(task, SequenceTask):
        what = "two texts" if isinstance(task, PairTask) else "text"
        kinds = {"single": f"one of {len(labels)} classes", "multi": f"any of {len(labels)} labels"}
        return f"{kinds.get(task.kind, 'a number')} for each {what}"
    if isinstance(task, TokenTask):
        types = {label[2:] for label in labels if label != "O"}
        return (
            f"entities of {len(types)} types" if task.scheme == "bio" else f"one of {len(labels)} tags for each token"
        )
    if isinstance(task, SpanTask):
        return "a span of the context" + (", or no answer" if task.no_answer == "yes" else "")
    whats = {
        "choice": "one of several texts",
        "embedding": "texts that belong together",
        "seq2seq": "a text from a text",
    }
    return whats.get(task.type, "text that goes on")


def _with_no_answer(task: SpanTask, train: pa.Table) -> tuple[Task, list[str]]:
    none = int(pc.sum(pc.equal(pc.list_value_length(train["answers"]), 0)).as_py() or 0)
    if task.no_answer == "auto":
        found = "yes" if none else "no"
        return _with(task, no_answer=found), [f"no_answer = {found!r}: {none} training questions have no answer"]
    if none == train.num_rows:
        raise LabelledDataError("no training question has an answer; check data.columns (answers = …)")
    if task.no_answer == "no" and none:
        raise LabelledDataError(
            f"no_answer = 'no', and {none} training questions have no answer; set it to 'yes' or 'auto', or leave "
            f"them out"
        )
    return task, []


def _bio_labels(tags: Iterable[str]) -> tuple[str, ...]:
    types = sorted({tag[2:] for tag in tags if tag != "O"})
    return ("O", *(f"{mark}-{type}" for type in types for mark in "BI"))


def _labels(config: DataConfig, files: Sequence[FileRows]) -> Iterator[Any]:
    return (value for file in files for value in file.column(config.column("label")))


def _tags(config: DataConfig, files: Sequence[FileRows]) -> Iterator[set[str]]:
    for file in files:
        for value in file.column(config.column("tags")):
            try:
                yield set(tags_of(value, config.label_names))
            except Reject:
                continue


def _are_measures(values: Iterable[Any]) -> bool:
    distinct: set[float] = set()
    for value in values:
        try:
            number = float(value) if value is not None and not isinstance(value, bool) and value != "" else math.nan
        except (TypeError, ValueError):
            return False
        if math.isfinite(number):
            distinct.add(number)
    return len(distinct) > FRACTIONS and any(not number.is_integer() for number in distinct)


def _with(task: Task, **changes: Any) -> Task:
    changed: Task = type(task).model_validate({**task.model_dump(), **changes})
    return changed


def _counted(labels: Sequence[str], counts: Mapping[str, int], most: int = 20) -> str:
    shown = ", ".join(f"{label!r} ({counts[label]:,})" for label in labels[:most])
    return shown + (f" and {len(labels) - most} more" if len(labels) > most else "")
