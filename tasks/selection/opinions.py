"""What several models say of the same texts, as one array."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class SelectionError(ValueError):
    """Answers from which nothing can be chosen; the message shows the offending value and what is legal."""


def opinions(ids: Sequence[str], answers: Sequence[pa.Table], temperature: float = 1.0) -> Floats:
    """(S, N, K): probabilities by each of S models for the N texts `ids`, in their order.

    Args:
        answers: canonical answers of kind single, one table a model; columns id and probabilities.
        temperature: each probability is raised to 1 / this, and all to a sum of 1: temperature scaling (Guo et al.,
            2017, arXiv:1706.04599), which for a softmax is to divide its logits.

    Raises:
        SelectionError: no answers, a text without one, a repeated id, or what is not a probability.
    """
    if not answers:
        raise SelectionError("no answers: hand in one table for each seed")
    arrays = [_of_model(ids, table, number) for number, table in enumerate(answers)]
    sizes = {array.shape[1] for array in arrays}
    if len(sizes) > 1:
        raise SelectionError(f"the models answer with {sorted(sizes)} classes: they are not of one task")
    probabilities = np.stack(arrays)
    if temperature != 1.0:
        probabilities = np.maximum(probabilities, np.finfo(np.float32).tiny) ** (1 / temperature)
        probabilities /= probabilities.sum(axis=-1, keepdims=True)
    return probabilities


def _of_model(ids: Sequence[str], table: pa.Table, number: int) -> Floats:
    if missing := {"id", "probabilities"} - set(table.column_names):
        raise SelectionError(f"answers {number} lack columns {sorted(missing)}; they have {table.column_names}")
    places = {id: place for place, id in enumerate(table["id"].to_pylist())}
    if len(places) != table.num_rows:
        raise SelectionError(f"answers {number} hold an id twice: {table.num_rows} rows, {len(places)} ids")
    lost = [id for id in ids if id not in places]
    if lost:
        raise SelectionError(f"answers {number} say nothing of {len(lost)} texts, the first being {lost[0]!r}")
    rows = table["probabilities"].to_pylist()
    try:
        array = np.array([rows[places[id]] for id in ids], dtype=np.float64).reshape(len(ids), -1)
    except (TypeError, ValueError):
        raise SelectionError(f"answers {number}: probabilities are missing or not of one length") from None
    if not (np.isfinite(array).all() and (array >= 0).all() and np.allclose(array.sum(axis=1), 1, atol=1e-3)):
        worst = next(i for i, row in enumerate(array) if not (row >= 0).all() or abs(row.sum() - 1) > 1e-3)
        raise SelectionError(
            f"answers {number}, id {ids[worst]!r}: {array[worst].tolist()} are not probabilities that sum to 1"
        )
    return array / np.maximum(array.sum(axis=1, keepdims=True), 1e-12)
