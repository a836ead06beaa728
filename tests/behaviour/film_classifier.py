"""Real models that answer in the canonical form: one of words, trained on film reviews, and some of our own making."""

from __future__ import annotations

import bz2
import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from bert_core.config import SequenceTask

LABELS = ("fresh", "rotten")
TASK = SequenceTask(labels=LABELS)


def film_reviews(data_folder: Path, every: int = 12) -> pa.Table:
    """Canonical table of distinct reviews."""
    with bz2.open(data_folder / "film-reviews" / "rotten_tomatoes_corpus_full.csv.bz2", "rt", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["category"] != "plot"][::every]
    texts = dict.fromkeys((row["text"], row["category"]) for row in rows)
    ids = [f"r{i}" for i in range(len(texts))]
    return pa.table({"id": ids, "text": [text for text, _ in texts], "label": [label for _, label in texts]})


def classifier(train: pa.Table, **options: Any) -> Callable[[pa.Table], pa.Table]:
    """A logistic regression on words, as `answer`; case is kept, so that it matters."""
    model = make_pipeline(CountVectorizer(lowercase=False, **options), LogisticRegression(C=1.0, max_iter=500))
    model.fit(train["text"].to_pylist(), train["label"].to_pylist())
    assert tuple(model.classes_) == LABELS

    def answer(table: pa.Table) -> pa.Table:
        return answers(table, model.predict_proba(table["text"].to_pylist())[:, 0])

    return answer


def answers(table: pa.Table, fresh: Any) -> pa.Table:
    """Canonical answers, given the probability of "fresh"; in another order than the table's."""
    chances = np.asarray(fresh, dtype=np.float64).reshape(-1)
    said = pa.table(
        {
            "id": table["id"],
            "label": pa.array([LABELS[0] if p >= 0.5 else LABELS[1] for p in chances], pa.string()),
            "probabilities": pa.array([[p, 1 - p] for p in chances], pa.list_(pa.float32())),
        }
    )
    return said.take(pa.array(range(table.num_rows - 1, -1, -1), pa.int64()))


def by_rule(rule: Callable[[str], float]) -> Callable[[pa.Table], pa.Table]:
    """A model that says "fresh" with the probability that `rule` gives a text."""
    return lambda table: answers(table, [rule(text) for text in table["text"].to_pylist()])


def right(gold: pa.Table, said: pa.Table) -> list[float]:
    """Per example, in the order of `gold`."""
    labels = dict(zip(said["id"].to_pylist(), said["label"].to_pylist(), strict=True))
    return [
        float(labels[id] == label) for id, label in zip(gold["id"].to_pylist(), gold["label"].to_pylist(), strict=True)
    ]
