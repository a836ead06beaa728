"""Small labelled files, and how they are loaded."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bert_core.config import SequenceTask, Task
from tasks.config.data import DataConfig
from tasks.labelled import LabelledData, load_dataset


def jsonl(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def sentence(number: int) -> str:
    """Texts of which no two are similar."""
    return " ".join(f"{word}{number * 7919 % 10007}" for word in ("film", "plot", "cast", "score", "light", "cut"))


def reviews(count: int, labels: Sequence[str] = ("fresh", "rotten"), first: int = 0) -> list[dict[str, Any]]:
    return [{"text": sentence(first + i), "label": labels[i % len(labels)]} for i in range(count)]


def three_sides(home: Path, train: Sequence[Mapping[str, Any]], rest: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Files train.jsonl, validation.jsonl and test.jsonl, as arguments of DataConfig. `rest` is both of the latter."""
    for side, rows in (("train", train), ("validation", rest), ("test", rest)):
        jsonl(home / f"{side}.jsonl", rows)
    return {**{side: f"{side}.jsonl" for side in ("train", "validation", "test")}, "duplicates": "keep"}


def loaded(home: Path, task: Task | None = None, seed: int = 1, **config: Any) -> LabelledData:
    data = load_dataset(DataConfig(**config), task or SequenceTask(), home=home, seed=seed)
    check_accounts(data)
    return data


def check_accounts(data: LabelledData) -> None:
    """kept + dropped = seen, in every file and in all; each dropped one is among the rejects."""
    kept = sum(table.num_rows for table in data.sides.values())
    assert sum(each.seen for each in data.accounts.values()) == kept + data.rejects.num_rows
    for file, account in data.accounts.items():
        assert account.seen == account.kept + account.dropped.total()
        reasons = [row["reason"] for row in data.rejects.to_pylist() if row["file"] == file]
        assert sorted(account.dropped.elements()) == sorted(reasons)
    ids = [id for table in data.sides.values() for id in table["id"].to_pylist()]
    assert len(set(ids)) == len(ids)
    assert type(data.report).model_validate_json(data.report.model_dump_json()) == data.report


def dropped(data: LabelledData) -> dict[str, int]:
    """By reason, over all files."""
    found: dict[str, int] = {}
    for account in data.accounts.values():
        for reason, count in account.dropped.items():
            found[reason] = found.get(reason, 0) + count
    return found
