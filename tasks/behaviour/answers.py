"""Canonical answers, looked up by id and compared."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import SequenceTask, Task
from tasks.behaviour.results import BehaviourError

Answer = Callable[[pa.Table], pa.Table]
"""Canonical examples in, canonical answers out: the same ids, in any order."""
Row = dict[str, Any]

_COLUMNS = {
    "single": ("label", "probabilities"),
    "multi": ("labels", "probabilities"),
    "regression": ("value",),
    "token": ("tags",),
    "span": ("answer",),
}


def kind_of(task: Task) -> str:
    """single, multi, regression, token or span.

    Raises:
        BehaviourError: a type of task for which there are no behaviour tests.
    """
    kind = task.kind if isinstance(task, SequenceTask) else task.type
    if kind not in _COLUMNS:
        raise BehaviourError(f"behaviour tests are for sequence, pair, token and span tasks, not for {task.type}")
    return kind


def said(task: Task, answer: Answer, table: pa.Table) -> list[Row]:
    """The answers to `table`, in its order.

    Raises:
        BehaviourError: a column is missing, or an id is not answered, or twice.
    """
    wanted = ("id", *_COLUMNS[kind_of(task)])
    answers = answer(table)
    if missing := [name for name in wanted if name not in answers.column_names]:
        raise BehaviourError(f"answers lack columns {missing}; they have {answers.column_names}")
    rows = {row["id"]: row for row in answers.select(list(wanted)).to_pylist()}
    if len(rows) != answers.num_rows:
        raise BehaviourError(f"answers hold an id twice: {answers.num_rows} rows, {len(rows)} ids")
    ids = table["id"].to_pylist()
    if lost := [id for id in ids if id not in rows]:
        raise BehaviourError(f"{len(lost)} examples are not answered, the first being {lost[0]!r}")
    return [rows[id] for id in ids]


def same(task: Task, one: Row, other: Row, tolerance: float = 0.0) -> bool:
    """Whether both say the same: labels as a set, a number within `tolerance`, a span but for case and blanks."""
    kind = kind_of(task)
    if kind == "multi":
        return set(one["labels"]) == set(other["labels"])
    if kind == "regression":
        return abs(one["value"] - other["value"]) <= tolerance + 1e-12
    if kind == "span":
        return one["answer"].casefold().split() == other["answer"].casefold().split()
    return one[_COLUMNS[kind][0]] == other[_COLUMNS[kind][0]]


def shown(task: Task, row: Row) -> str:
    """An answer in words, with the probability of what was said."""
    kind = kind_of(task)
    if kind == "single":
        return f"{row['label']} ({max(row['probabilities']):.2f})"
    if kind == "regression":
        return f"{row['value']:.3g}"
    if kind == "span":
        return row["answer"] or "(none)"
    return ", ".join(row["labels"]) or "(none)" if kind == "multi" else " ".join(row["tags"])


def label_index(task: Task, label: str | None) -> int:
    """The place of a label's probability.

    Raises:
        BehaviourError: the task does not have it, or its labels are not filled in.
    """
    labels = label_names(task)
    if label not in labels:
        raise BehaviourError(f"label {label!r} is not one of {list(labels)}")
    return labels.index(label)


def label_names(task: Task) -> tuple[str, ...]:
    labels = getattr(task, "labels", ())
    if not labels:
        raise BehaviourError("task.labels is empty: probabilities are in its order, so it must be filled in")
    return tuple(labels)


def chances(task: Task, rows: Sequence[Row]) -> NDArray[np.float64]:
    """(N, K) probabilities; for regression (N, 1) values.

    Raises:
        BehaviourError: rows of another number of labels than the task has, or none at all.
    """
    if kind_of(task) == "regression":
        return np.array([[row["value"]] for row in rows], dtype=np.float64).reshape(-1, 1)
    labels = label_names(task)
    if wrong := next((row for row in rows if len(row["probabilities"]) != len(labels)), None):
        raise BehaviourError(f"id {wrong['id']!r}: {json.dumps(wrong['probabilities'])} for labels {list(labels)}")
    return np.array([row["probabilities"] for row in rows], dtype=np.float64).reshape(-1, len(labels))
