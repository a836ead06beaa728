"""Metrics of any number of labels for each example."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bert_core.intervals import EvaluationError, Floats
from bert_core.metrics.aligned import column, probability_rows
from bert_core.metrics.classes import macro_f1, micro_f1, micro_precision, micro_recall, per_class
from bert_core.metrics.metric import AnyMetric, Metric, RankMetric, Scores, mean_of, scores
from bert_core.metrics.ranks import average_precision


def label_scores(gold: pa.Table, answers: pa.Table, labels: tuple[str, ...]) -> Scores:
    """Metrics of kind "multi". `answers` are in the order of `gold`; K labels."""
    true = label_matrix(gold, "label", labels, "gold table")
    said = label_matrix(answers, "labels", labels, "answers")
    counts = np.concatenate([true, said, true * said], axis=1)  # (N, 3K)
    whole = np.stack([(true == said).all(axis=1), (true == said).mean(axis=1), np.ones(len(true))], axis=1)
    found: list[AnyMetric] = [
        Metric("micro_f1", counts, micro_f1),
        Metric("macro_f1", counts, macro_f1),
        Metric("micro_precision", counts, micro_precision),
        Metric("micro_recall", counts, micro_recall),
        Metric("subset_accuracy", whole, mean_of(0, 2)),
        Metric("label_accuracy", whole, mean_of(1, 2)),
        *per_class(counts, labels),
    ]
    if "probabilities" not in answers.column_names:
        return scores(found, {"mean_average_precision": "the answers hold no probabilities"})
    columns = np.concatenate([probability_rows(answers, len(labels)), true], axis=1)
    found.append(RankMetric("mean_average_precision", columns, _mean_average_precision))
    return scores(found)


def label_matrix(table: pa.Table, name: str, labels: tuple[str, ...], which: str) -> Floats:
    """(N, K): 1 where the example has the label.

    Raises:
        EvaluationError: a label is none of the task's; names the example.
    """
    order = {label: place for place, label in enumerate(labels)}
    found = np.zeros((table.num_rows, len(labels)))
    for row, held in enumerate(column(table, name, which).to_pylist()):
        for label in held:
            if label not in order:
                raise EvaluationError(
                    f"{which}: label {label!r} of {table['id'][row].as_py()!r} is not one of the task's: {list(labels)}"
                )
            found[row, order[label]] = 1.0
    return found


def _mean_average_precision(columns: Floats, weights: Floats) -> Floats:
    """Over the labels that any example of the sample has."""
    k = columns.shape[1] // 2
    each = np.stack([average_precision(columns[:, [i, k + i]], weights) for i in range(k)], axis=1)  # (S, K)
    known = np.isfinite(each)
    return np.where(known.any(axis=1), np.where(known, each, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1), np.nan)
