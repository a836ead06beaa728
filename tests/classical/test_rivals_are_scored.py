"""Baselines answer in the form that models answer in: what scores those scores these, and finds the same figures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    Generation,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    TokenTask,
)
from bert_core.metrics.score import score
from tasks.classical import fit, legal
from tests.classical.toys import opinions, small

ANSWERS = [{"text": "witty", "start": 2}]
GENERATION = Generation(max_new_tokens=5)
TASKS: list[tuple[Any, dict[str, Any], str]] = [
    (SequenceTask(labels=("bad", "good")), {}, "accuracy"),
    (SequenceTask(kind="multi", labels=("a", "bad", "good")), {"label": lambda i, x: ["a", x][i % 2 :]}, "micro_f1"),
    (SequenceTask(kind="regression"), {"label": lambda i, label: float(label == "good") + i % 3}, ""),
    (PairTask(labels=("bad", "good")), {"text_b": "it was a film"}, "accuracy"),
    (TokenTask(labels=("O", "B-X")), {"tokens": ["a", "film"], "tags": ["O", "B-X"]}, "entity_f1"),
    (SpanTask(), {"question": "Which film?", "context": "A witty film. It was dull.", "answers": ANSWERS}, "f1"),
    (ChoiceTask(), {"choices": ["a film", "a plot"], "label": lambda i, _: i % 2}, "accuracy"),
    (EmbeddingTask(), {"text_b": lambda i, label: f"{label} {i}", "label": lambda i, _: 1.0 + i % 2}, "spearman"),
    (Seq2SeqTask(), {"target": "ein Film"}, ""),
    (CausalTask(generation=GENERATION), {"target": "a film"}, ""),
]  # fmt: skip


@pytest.mark.parametrize(("task", "columns", "metric"), TASKS, ids=lambda value: getattr(value, "type", None))
def test_every_baseline_of_every_type(task: Any, columns: dict[str, Any], metric: str) -> None:
    data = {}
    for place, name in enumerate(("train", "validation", "test")):
        rows = []
        for i, row in enumerate(opinions(np.random.default_rng(place), 16)):
            more = {c: value(i, row["label"]) if callable(value) else value for c, value in columns.items()}
            rows.append({"id": f"{name}-{i}", **row, **more})
        data[name] = pa.Table.from_pylist(rows)
    rivals = fit(small(epochs=1), task, data, seed=1)
    assert {*rivals, *rivals.skipped} == set(legal(task))
    assert not rivals.skipped
    for rival in rivals.values():
        for side, answers in (("test", rival.answers), ("validation", rival.validation)):
            found = score(task, data[side], answers)
            if metric and side == "validation":
                assert np.isclose(found.values()[metric], rival.facts[f"validation_{metric}"])
