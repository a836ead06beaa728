"""What each model said of each test document: one Parquet table that every comparison reads.

Columns: `document_id`, `label` (the true one), and for each model `<model>` (its label) and `<model>/<class>` (its
probability of each class). Shapes: N documents, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

KEYS = ("document_id", "label")


class PredictionsError(ValueError):
    """Predictions that do not belong to the same documents, or are not probabilities."""


@dataclass(frozen=True)
class Predictions:
    """One model's answers."""

    document_ids: tuple[str, ...]
    labels: tuple[str, ...]
    probabilities: NDArray[np.float32]
    """(N, K), columns in the order of the classes."""
    facts: dict[str, float] = field(default_factory=dict)
    """What the model's fit wants remembered, such as a chosen hyper-parameter."""


def most_probable(
    document_ids: Sequence[str],
    probabilities: NDArray[np.floating],
    classes: Sequence[str],
    facts: Mapping[str, float] | None = None,
) -> Predictions:
    """Predictions that give each document its most probable class; the earlier class wins a tie."""
    if probabilities.shape != (len(document_ids), len(classes)):
        expected = (len(document_ids), len(classes))
        raise PredictionsError(
            f"probabilities have shape {probabilities.shape}, expected (documents, classes) {expected}"
        )
    labels = tuple(classes[i] for i in probabilities.argmax(axis=1))
    return Predictions(tuple(document_ids), labels, probabilities.astype(np.float32), dict(facts or {}))


def predictions_table(
    document_ids: Sequence[str], labels: Sequence[str], classes: Sequence[str], models: Mapping[str, Predictions]
) -> pa.Table:
    """The table of `models` on the documents given, in their order, whatever order each model answered in.

    Raises:
        PredictionsError: a document repeats, or a model misses one, adds one, or gives what is not a probability.
    """
    if len(set(document_ids)) != len(document_ids) or len(document_ids) != len(labels):
        raise PredictionsError(
            f"{len(document_ids)} document ids ({len(set(document_ids))} distinct) for {len(labels)} labels: "
            "each document needs one id of its own and one label"
        )
    columns = {"document_id": pa.array(document_ids, pa.string()), "label": pa.array(labels, pa.string())}
    for name, predictions in models.items():
        if "/" in name or name in KEYS:
            raise PredictionsError(f"model name {name!r}: must not contain '/' nor be one of {list(KEYS)}")
        columns |= _columns(name, predictions, document_ids, classes)
    return pa.table(columns)


def join_predictions(*tables: pa.Table) -> pa.Table:
    """All models of `tables` side by side, in the first table's order of documents.

    Raises:
        PredictionsError: the tables are of different documents or labels, or name the same model twice.
    """
    joined, *others = tables
    for other in others:
        order = _order(other["document_id"].to_pylist(), joined["document_id"].to_pylist(), "the second table")
        aligned = other.take(pa.array(order))
        if aligned["label"] != joined["label"]:
            raise PredictionsError("the tables disagree on the documents' true labels: they are of different test sets")
        repeated = sorted(set(model_names(joined)) & set(model_names(other)))
        if repeated:
            raise PredictionsError(f"model(s) {repeated} are in both tables")
        for name in aligned.column_names[len(KEYS) :]:
            joined = joined.append_column(name, aligned[name])
    return joined


def labelled_side(documents: pa.Table, side: str) -> pa.Table:
    """The rows of `documents` (columns label and split among them) that have a label and are on `side` of the split."""
    return documents.filter((pc.field("split") == side) & pc.field("label").is_valid())


def write_predictions(table: pa.Table, path: Path) -> None:
    pq.write_table(table, path)


def read_predictions(path: Path) -> pa.Table:
    """The table at `path`.

    Raises:
        PredictionsError: it is not a table of predictions.
    """
    table = pq.read_table(path)
    if tuple(table.column_names[: len(KEYS)]) != KEYS:
        raise PredictionsError(f"{path}: expected columns {list(KEYS)} first, found {table.column_names}")
    return table


def model_names(table: pa.Table) -> list[str]:
    return [name for name in table.column_names if name not in KEYS and "/" not in name]


def correct(table: pa.Table, model: str) -> NDArray[np.bool_]:
    """(N,): where `model` gave the true label."""
    if model not in model_names(table):
        raise PredictionsError(f"no predictions of {model!r}; this table has {model_names(table)}")
    return np.array(table[model].to_pylist()) == np.array(table["label"].to_pylist())


def probabilities(table: pa.Table, model: str, classes: Sequence[str]) -> NDArray[np.float32]:
    """(N, K): `model`'s probability of each of `classes`."""
    missing = [name for name in classes if f"{model}/{name}" not in table.column_names]
    if missing:
        raise PredictionsError(f"no probability of {missing} by {model!r}; columns are {table.column_names}")
    return np.stack([table[f"{model}/{name}"].to_numpy() for name in classes], axis=1)


def _columns(
    model: str, predictions: Predictions, document_ids: Sequence[str], classes: Sequence[str]
) -> dict[str, pa.Array]:
    values = predictions.probabilities
    if values.shape != (len(predictions.document_ids), len(classes)) or len(predictions.labels) != len(values):
        raise PredictionsError(f"{model}: probabilities of shape {values.shape} for {len(classes)} classes")
    if not np.isfinite(values).all() or values.min() < 0 or not np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise PredictionsError(f"{model}: probabilities must be finite, not negative, and sum to 1 for each document")
    unknown = sorted(set(predictions.labels) - set(classes))
    if unknown:
        raise PredictionsError(f"{model}: predicted {unknown}, which are not among the classes {list(classes)}")
    order = _order(predictions.document_ids, document_ids, model)
    columns = {model: pa.array([predictions.labels[i] for i in order], pa.string())}
    return columns | {
        f"{model}/{name}": pa.array(values[order, i].astype(np.float32)) for i, name in enumerate(classes)
    }


def _order(found: Sequence[str], wanted: Sequence[str], source: str) -> list[int]:
    """Where each wanted id is in `found`; the two must hold the same ids."""
    places = {document: i for i, document in enumerate(found)}
    if len(places) != len(found) or places.keys() != set(wanted):
        lost, extra = set(wanted) - places.keys(), places.keys() - set(wanted)
        raise PredictionsError(
            f"{source}: {len(found)} predictions for {len(wanted)} documents; "
            f"{len(lost)} missing {sorted(lost)[:3]}, {len(extra)} unexpected {sorted(extra)[:3]}"
        )
    return [places[document] for document in wanted]
