"""Answers tables, one builder for each form; what each column means is the evaluation's contract.

Shapes: N examples, K labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]


def of_classes(table: pa.Table, probabilities: Floats, labels: Sequence[str]) -> pa.Table:
    """The most probable label of each example, the earlier of equals.

    Args:
        probabilities: (N, K), rows in the order of `table`, columns in that of `labels`.
    """
    return _table(
        table,
        label=pa.array([labels[i] for i in probabilities.argmax(axis=1).tolist()], pa.string()),
        probabilities=_rows(list(probabilities)),
    )


def of_labels(table: pa.Table, probabilities: Floats, labels: Sequence[str], threshold: float) -> pa.Table:
    """Every label whose probability, of (N, K), reaches `threshold`."""
    found = [[labels[i] for i in np.flatnonzero(row >= threshold).tolist()] for row in probabilities]
    return _table(table, labels=pa.array(found, pa.list_(pa.string())), probabilities=_rows(list(probabilities)))


def of_numbers(table: pa.Table, values: Floats) -> pa.Table:
    """A number for each example: (N,)."""
    return _table(table, value=pa.array(values.astype(np.float64)))


def of_tags(table: pa.Table, tags: Sequence[Sequence[str]], confidences: Sequence[Sequence[float]]) -> pa.Table:
    return _table(
        table, tags=pa.array([list(row) for row in tags], pa.list_(pa.string())), confidences=_rows(confidences)
    )


def of_spans(table: pa.Table, answers: Sequence[str], scores: Sequence[float]) -> pa.Table:
    return _table(table, answer=pa.array(answers, pa.string()), score=pa.array(scores, pa.float64()))


def of_choices(table: pa.Table, probabilities: Sequence[Floats]) -> pa.Table:
    """The most probable choice of each example, the earlier of equals; examples differ in how many they have."""
    chosen = [int(np.argmax(row)) for row in probabilities]
    return _table(table, choice=pa.array(chosen, pa.int64()), probabilities=_rows(probabilities))


def of_similarities(table: pa.Table, similarities: Floats, ranks: Sequence[int | None]) -> pa.Table:
    return _table(table, similarity=pa.array(similarities.astype(np.float64)), rank=pa.array(ranks, pa.int64()))


def of_texts(table: pa.Table, outputs: Sequence[str]) -> pa.Table:
    return _table(table, output=pa.array(outputs, pa.string()))


def of_continuations(
    table: pa.Table, outputs: Sequence[str], log_likelihoods: Sequence[float], num_tokens: Sequence[int]
) -> pa.Table:
    """Texts that go on; the natural log of the target's probability; the target's tokens."""
    return _table(
        table,
        output=pa.array(outputs, pa.string()),
        log_likelihood=pa.array(log_likelihoods, pa.float64()),
        num_tokens=pa.array(num_tokens, pa.int64()),
    )


def _rows(values: Sequence[Sequence[float]] | Sequence[Floats]) -> pa.Array:
    return pa.array([np.asarray(row, dtype=np.float32) for row in values], pa.list_(pa.float32()))


def _table(gold: pa.Table, **columns: pa.Array) -> pa.Table:
    return pa.table({"id": gold["id"].combine_chunks(), **columns})
