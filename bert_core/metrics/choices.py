"""Metrics of which of several texts fits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bert_core.intervals import EvaluationError, Floats
from bert_core.metrics.aligned import column
from bert_core.metrics.classes import LEAST_PROBABILITY
from bert_core.metrics.metric import AnyMetric, Metric, Scores, mean_of, scores


def choice_scores(gold: pa.Table, answers: pa.Table) -> Scores:
    """Accuracy and, with probabilities, log loss. `answers` are in the order of `gold`.

    Raises:
        EvaluationError: a choice that its example does not have; names it.
    """
    true = column(gold, "label", "gold table").to_pylist()
    said = column(answers, "choice", "answers").to_pylist()
    many = [len(held) for held in column(gold, "choices", "gold table").to_pylist()]
    for row, (right, chosen, count) in enumerate(zip(true, said, many, strict=True)):
        if not (0 <= right < count and 0 <= chosen < count):
            name = gold["id"][row].as_py()
            raise EvaluationError(f"{name!r} has {count} choices: its label is {right}, and {chosen} was chosen")
    rows = np.stack([np.equal(true, said), np.ones(len(true))], axis=1).astype(np.float64)
    found: list[AnyMetric] = [Metric("accuracy", rows, mean_of(0, 1))]
    if "probabilities" not in answers.column_names:
        return scores(found, {"log_loss": "the answers hold no probabilities"})
    given = choice_probabilities(gold, answers)
    losses = [-np.log(np.clip(p[right], LEAST_PROBABILITY, 1)) for p, right in zip(given, true, strict=True)]
    loss = np.stack([losses, np.ones(len(true))], axis=1)
    return scores([*found, Metric("log_loss", loss, mean_of(0, 1), higher_is_better=False, unit="")])


def choice_probabilities(gold: pa.Table, answers: pa.Table) -> list[Floats]:
    """For each example one of each of its choices, summing to 1.

    Raises:
        EvaluationError: an example has another number of them, or one that is no probability; names it.
    """
    many = [len(held) for held in column(gold, "choices", "gold table").to_pylist()]
    found = []
    for row, (given, count) in enumerate(
        zip(column(answers, "probabilities", "answers").to_pylist(), many, strict=True)
    ):
        each = np.array(given, dtype=np.float64)
        if len(each) != count or not np.isfinite(each).all() or each.min() < -1e-6 or each.sum() <= 0:
            name = gold["id"][row].as_py()
            raise EvaluationError(f"{name!r} has {count} choices and was given the probabilities {given}")
        found.append(np.clip(each, 0, None) / np.clip(each, 0, None).sum())
    return found
