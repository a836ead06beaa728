"""What is read of a canonical table, checked: every refusal names the example, what stands there, and what is legal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import Any

import pyarrow as pa

from bert_core.config import SequenceTask
from bert_core.features.store import FeaturesError

Targets = Sequence[float]
"""Of a sequence; empty: unknown."""


def ids_of(table: pa.Table) -> list[str]:
    """The examples' ids; their row numbers where there is no such column.

    Raises:
        FeaturesError: an id is not a text, or is there twice.
    """
    if "id" not in table.column_names:
        return [str(row) for row in range(table.num_rows)]
    names = table["id"].to_pylist()
    for row, name in enumerate(names):
        if not isinstance(name, str):
            raise FeaturesError(f"row {row}: id is {name!r}: expected a text")
    if len(set(names)) < len(names):
        name, times = Counter(names).most_common(1)[0]
        raise FeaturesError(f"id {name!r} is there {times} times: each example needs its own")
    return names


def values_of(table: pa.Table, name: str) -> list[Any]:
    """The values of a column.

    Raises:
        FeaturesError: there is no such column.
    """
    if name not in table.column_names:
        raise FeaturesError(f"no column {name!r} among {table.column_names}: the task reads it")
    values: list[Any] = table[name].to_pylist()
    return values


def targets_of(table: pa.Table, name: str) -> list[Any]:
    """The values of a column of targets; None for each example where there is none, as in what a model is asked."""
    values: list[Any] = table[name].to_pylist() if name in table.column_names else [None] * table.num_rows
    return values


def texts_of(table: pa.Table, name: str) -> list[str]:
    """The texts of a column.

    Raises:
        FeaturesError: there is no such column, or a row of it is not a text.
    """
    texts = values_of(table, name)
    for example, text in zip(ids_of(table), texts, strict=True):
        if not isinstance(text, str):
            raise FeaturesError(f"example {example}: {name} is {text!r}: expected a text")
    return texts


def text_lists_of(table: pa.Table, name: str) -> list[list[str]]:
    """The lists of texts of a column, none of them empty.

    Raises:
        FeaturesError: there is no such column, or a row of it is not such a list.
    """
    rows = values_of(table, name)
    for example, texts in zip(ids_of(table), rows, strict=True):
        if not isinstance(texts, list):
            raise FeaturesError(f"example {example}: {name} is {texts!r}: expected a list of texts")
        if not texts:
            raise FeaturesError(f"example {example}: it has no {name}")
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise FeaturesError(f"example {example}: {name} {place} is {text!r}: expected a text")
    return rows


def class_targets(task: SequenceTask, table: pa.Table) -> tuple[int, list[Targets]]:
    """How many targets a sequence has, and those of each row.

    Raises:
        FeaturesError: a label is not one of the task's, or is not what the task's kind asks for.
    """
    width = len(task.labels) if task.kind == "multi" else 1
    order = {label: number for number, label in enumerate(task.labels)}
    values = targets_of(table, "label")
    names = ids_of(table)
    if task.kind == "regression":
        return width, [() if v is None else (number_of(name, v),) for name, v in zip(names, values, strict=True)]
    if task.kind == "single":
        return width, [
            () if v is None else (float(_number(name, v, order)),) for name, v in zip(names, values, strict=True)
        ]
    return width, [() if v is None else _many(name, v, order) for name, v in zip(names, values, strict=True)]


def number_of(name: str, value: Any) -> float:
    """A label that is a number.

    Raises:
        FeaturesError: it is not, or not a finite one.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise FeaturesError(
            f"example {name}: label is {value!r}: expected a finite number, or null where it is unknown"
        )
    return float(value)


def _number(name: str, label: Any, order: dict[str, int]) -> int:
    if not isinstance(label, str):
        raise FeaturesError(f"example {name}: label is {label!r}: expected a text, one of {list(order)}")
    if label not in order:
        raise FeaturesError(f"example {name}: label {label!r} is not one of {list(order)}")
    return order[label]


def _many(name: str, labels: Any, order: dict[str, int]) -> Targets:
    if not isinstance(labels, list):
        raise FeaturesError(f"example {name}: label is {labels!r}: expected a list of texts, some of {list(order)}")
    given = {_number(name, label, order) for label in labels}
    return [float(number in given) for number in range(len(order))]
