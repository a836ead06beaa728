"""Labelled data small enough to see through."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from tasks.config.classical import ClassicalConfig

SMALL: dict[str, Any] = {
    "dimensions": 16, "filters": 16, "hidden_size": 16, "min_count": 1, "batch_size": 16, "learning_rate": 0.01,
    "epochs": 12, "dropout": 0.2, "vector_epochs": 2,
}  # fmt: skip


def small(**settings: Any) -> ClassicalConfig:
    """Networks that learn a toy task in a second."""
    return ClassicalConfig(**{**SMALL, **settings})


def sides(
    rows: Callable[[np.random.Generator, int], Iterable[Mapping[str, Any]]], train: int, held_out: int
) -> dict[str, pa.Table]:
    """`rows(rng, n)` for each side, under ids that are unique over all; columns keep the type that train has."""
    rng = np.random.default_rng(7)
    found: dict[str, pa.Table] = {}
    for name, size in (("train", train), ("validation", held_out), ("test", held_out)):
        table = [{"id": f"{name}-{i}", **row} for i, row in enumerate(rows(rng, size))]
        schema = found["train"].schema if found else None
        found[name] = pa.Table.from_pylist(table, schema=schema)
    return found


GOOD = ("tempting", "witty", "moving", "tender", "superb")
BAD = ("dull", "tedious", "clumsy", "shrill", "stale")
COMMON = ("film", "a", "the", "plot", "actor", "scene", "story")


def opinions(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """One word tells."""
    for _ in range(size):
        label = ("bad", "good")[int(rng.random() < 0.6)]
        word = rng.choice(GOOD if label == "good" else BAD)
        yield {"text": " ".join([*rng.choice(COMMON, 3), word, *rng.choice(COMMON, 2)]), "label": label}


def orders(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    """The same words for either label: which of two names comes first tells."""
    for _ in range(size):
        first = bool(rng.random() < 0.5)
        names = ("ann", "bob") if first else ("bob", "ann")
        words = [
            *rng.choice(COMMON, rng.integers(0, 4)),
            names[0],
            "beats",
            names[1],
            *rng.choice(COMMON, rng.integers(0, 4)),
        ]
        yield {"text": " ".join(words), "label": "ann" if first else "bob"}


def chinese_like(rng: np.random.Generator, size: int) -> Iterable[dict[str, Any]]:
    for _ in range(size):
        good = bool(rng.random() < 0.5)
        yield {
            "text": "这本书" + "".join(rng.choice(list("天地人山水火"), 6)) + ("很好看" if good else "不好看"),
            "label": str(good),
        }


def share_right(gold: pa.Table, answers: pa.Table, column: str = "label") -> float:
    """Accuracy, rows joined by id."""
    given = dict(zip(answers["id"].to_pylist(), answers[column].to_pylist(), strict=True))
    assert len(given) == len(gold)
    return float(
        np.mean([given[i] == label for i, label in zip(gold["id"].to_pylist(), gold["label"].to_pylist(), strict=True)])
    )
