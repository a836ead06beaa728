"""Whether there is something to learn and something to answer, before seconds are spent on it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa

from bert_core.config import Task
from tasks.classical.job import ClassicalError
from tasks.classical.words import is_word, words

SIDES = ("train", "validation", "test")
COLUMNS = {
    "sequence": ("text", "label"),
    "pair": ("text", "text_b", "label"),
    "token": ("tokens", "tags"),
    "span": ("question", "context", "answers"),
    "choice": ("text", "choices", "label"),
    "embedding": ("text", "text_b", "label"),
    "seq2seq": ("text", "target"),
    "causal": ("text", "target"),
}
_SHOWN = 3


def checked(task: Task, sides: Mapping[str, pa.Table]) -> tuple[pa.Table, pa.Table, pa.Table, tuple[str, ...]]:
    """(train, validation, test, labels): the sides, whole and in their order, and the labels in the order of their ids.

    Raises:
        ClassicalError: a side or column is missing, a side is empty or has examples without a label, a training label
            is not one of the task's, there is one class only, tokens and tags differ in length, or no word to learn.
    """
    if missing := [name for name in SIDES if name not in sides]:
        raise ClassicalError(f"no side {missing}; found {sorted(sides)}, wanted {list(SIDES)}")
    for name in SIDES:
        _check(task, name, sides[name])
    train, validation, test = (sides[name] for name in SIDES)
    labels = _labels(task, train)
    if not any(is_word(token) for text in texts(task, train) for token in words(text)):
        raise ClassicalError(f"train: none of {len(train)} examples has a word: there is nothing to learn from")
    return train, validation, test, labels


def texts(task: Task, table: pa.Table) -> Iterable[str]:
    """Every text of `table`, one after the other."""
    for column in COLUMNS[task.type]:
        if column in ("label", "answers", "tags"):
            continue
        for value in table[column].to_pylist():
            yield value if isinstance(value, str) else " ".join(value)


def _check(task: Task, name: str, table: pa.Table) -> None:
    wanted = COLUMNS[task.type]
    if missing := [column for column in ("id", *wanted) if column not in table.column_names]:
        raise ClassicalError(
            f"{name}: no column {missing}; a {task.type} task has {['id', *wanted]}, found {table.column_names}"
        )
    if not len(table):
        raise ClassicalError(f"{name}: no examples; every side needs some")
    optional = ("label",) if task.type == "embedding" else ()
    for column in wanted:
        unlabelled = [
            i for i, value in zip(table["id"].to_pylist(), table[column].to_pylist(), strict=True)
            if value is None or (isinstance(value, float) and not math.isfinite(value))
        ]  # fmt: skip
        if unlabelled and column not in optional:
            raise ClassicalError(
                f"{name}: {len(unlabelled)} of {len(table)} examples have no {column} "
                f"({', '.join(unlabelled[:_SHOWN])}): label them, or leave them out"
            )
    if task.type == "token":
        _check_tags(name, table)
    if task.type == "choice":
        _check_choices(name, table)


def _check_tags(name: str, table: pa.Table) -> None:
    rows = zip(table["id"].to_pylist(), table["tokens"].to_pylist(), table["tags"].to_pylist(), strict=True)
    if wrong := [f"{i}: {len(tokens)} and {len(tags)}" for i, tokens, tags in rows if len(tokens) != len(tags)]:
        raise ClassicalError(f"{name}: {len(wrong)} examples differ in their number of tokens and tags ({wrong[0]})")


def _check_choices(name: str, table: pa.Table) -> None:
    rows = zip(table["id"].to_pylist(), table["choices"].to_pylist(), table["label"].to_pylist(), strict=True)
    if wrong := [f"{i}: {label} of {len(choices)}" for i, choices, label in rows if not 0 <= label < len(choices)]:
        raise ClassicalError(
            f"{name}: {len(wrong)} examples have a label that is no place among their choices ({wrong[0]})"
        )


def _labels(task: Task, train: pa.Table) -> tuple[str, ...]:
    if task.type not in ("sequence", "pair", "token") or getattr(task, "kind", "") == "regression":
        return ()
    column = train["tags" if task.type == "token" else "label"].to_pylist()
    single = task.type != "token" and getattr(task, "kind", "") == "single"
    found = Counter(column if single else (label for row in column for label in row))
    labels: Sequence[str] = getattr(task, "labels", ()) or sorted(found)
    if unknown := sorted(set(found) - set(labels)):
        raise ClassicalError(f"train: label(s) {unknown[:_SHOWN]} are not of the task; legal are {list(labels)}")
    fewest = 1 if getattr(task, "kind", "") == "multi" else 2
    if len(found) < fewest:
        raise ClassicalError(
            f"train: the only label is {list(found)}: nothing to tell it from; at least {fewest} are needed"
        )
    return tuple(labels)
