"""Texts for a person to label, as JSON Lines: written with empty labels, read back with what was filled in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from bert_core.config import SequenceTask
from tasks.selection.opinions import SelectionError

_FIELDS = ("id", "text", "text_b")


@dataclass(frozen=True)
class Labelled:
    """`table`: canonical, the texts that have a label now; `open_ids`: those that still have none."""

    table: pa.Table
    open_ids: tuple[str, ...]


def write_sheet(path: str | Path, task: SequenceTask, texts: pa.Table, ids: Sequence[str]) -> None:
    """One line a text, in the order of `ids`: id, text, text_b, what labels are legal, and an empty label to fill in.

    The label is "" for kind single, [] for multi (which is filled in as a list), null for regression.

    Raises:
        SelectionError: an id that is not among the texts.
    """
    rows = {row["id"]: row for row in texts.to_pylist()}
    if unknown := [id for id in ids if id not in rows]:
        raise SelectionError(f"{len(unknown)} ids are not among the {len(rows)} texts, the first being {unknown[0]!r}")
    empty: Any = {"single": "", "multi": [], "regression": None}[task.kind]
    legal = {"legal": list(task.labels)} if task.labels else {}
    lines = [{name: rows[id][name] for name in _FIELDS if name in rows[id]} | legal | {"label": empty} for id in ids]
    Path(path).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def read_sheet(path: str | Path, task: SequenceTask) -> Labelled:
    """What a person filled in; "", [] and null are not labelled. Blank lines are skipped.

    Raises:
        SelectionError: a line that is not JSON or lacks its id or text, an id twice, or a label that is not legal; the
            message names the line.
    """
    done: list[dict[str, Any]] = []
    still_open: list[str] = []
    seen: set[str] = set()
    for number, line in enumerate(Path(path).read_text("utf-8-sig").splitlines(), 1):
        if not line.strip():
            continue
        row = _row(line, f"{path}, line {number}")
        if row["id"] in seen:
            raise SelectionError(f"{path}, line {number}: the id {row['id']!r} came before")
        seen.add(row["id"])
        label = _label(row.get("label"), task, f"{path}, line {number}")
        if label is None:
            still_open.append(row["id"])
        else:
            done.append({name: row[name] for name in _FIELDS if name in row} | {"label": label})
    kinds = {"single": pa.string(), "multi": pa.list_(pa.string()), "regression": pa.float64()}
    texts = _FIELDS if task.type == "pair" else _FIELDS[:2]
    schema = pa.schema([*((name, pa.string()) for name in texts), ("label", kinds[task.kind])])
    return Labelled(pa.Table.from_pylist(done, schema=schema), tuple(still_open))


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise SelectionError(f"{where}: not JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not isinstance(row.get("text"), str):
        raise SelectionError(f"{where}: {line[:60]!r}: expected an object with id, text and label")
    return row


def _label(value: Any, task: SequenceTask, where: str) -> str | list[str] | float | None:
    """None where nothing was filled in."""
    if value is None or value == "" or value == []:
        return None
    if task.kind == "regression":
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise SelectionError(f"{where}: label {value!r}: expected a number, or null")
        return float(value)
    names = value if task.kind == "multi" else [value]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SelectionError(f"{where}: label {value!r}: expected {'a list' if task.kind == 'multi' else 'a string'}")
    names = [name.strip() for name in names]
    if task.labels and (wrong := [name for name in names if name not in task.labels]):
        raise SelectionError(f"{where}: label {wrong[0]!r} is not one of {list(task.labels)}")
    return names if task.kind == "multi" else names[0] or None
