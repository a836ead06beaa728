"""Metrics of one class for each example, and of counts by class in general.

K classes. All of them follow from three counts a class: examples that are it, that were called it, and both: 3K figures
an example instead of the K * K cells of a confusion matrix.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bert_core.intervals import Floats
from bert_core.metrics.aligned import column, ids_of, probability_rows
from bert_core.metrics.metric import AnyMetric, Ints, Metric, RankMetric, Reduce, Scores, mean_of, ratio, scores
from bert_core.metrics.ranks import auroc

LEAST_PROBABILITY = float(np.finfo(np.float64).eps)  # as scikit-learn's log_loss has it


def class_scores(gold: pa.Table, answers: pa.Table, labels: tuple[str, ...]) -> Scores:
    """Metrics of kind "single"; with probabilities also log loss, Brier score and, for two classes, AUROC.

    The second label of two is the positive one of AUROC. `answers` are in the order of `gold`.
    """
    true = ids_of(column(gold, "label", "gold table").to_pylist(), labels, gold, "gold table")
    said = ids_of(column(answers, "label", "answers").to_pylist(), labels, answers, "answers")
    counts = class_counts(true, said, len(labels))
    found: list[AnyMetric] = [
        Metric("accuracy", counts, accuracy),
        Metric("macro_f1", counts, macro_f1),
        Metric("balanced_accuracy", counts, balanced_accuracy),
        Metric("mcc", counts, matthews, unit=""),
        *per_class(counts, labels),
    ]
    left_out = {}
    if "probabilities" in answers.column_names:
        found += _of_probabilities(true, probability_rows(answers, len(labels)))
    else:
        left_out = dict.fromkeys(("log_loss", "brier", "auroc"), "the answers hold no probabilities")
    return scores(found, left_out)


def class_counts(true: Ints, said: Ints, classes: int) -> Floats:
    """(N, 3K): is it, was called it, both; each 0 or 1."""
    is_it, called = np.eye(classes)[true], np.eye(classes)[said]
    return np.concatenate([is_it, called, is_it * called], axis=1)


def per_class(counts: Floats, labels: Sequence[str]) -> list[AnyMetric]:
    """Precision, recall and F1 of each class; a ratio whose denominator is 0 is 0."""
    k = len(labels)

    def of(numerator: int, denominator: int) -> Reduce:
        return lambda sums: ratio(sums[..., numerator], sums[..., denominator])

    def f1_of(i: int) -> Reduce:
        return lambda sums: ratio(2 * sums[..., 2 * k + i], sums[..., i] + sums[..., k + i])

    found: list[AnyMetric] = []
    for i, label in enumerate(labels):
        found.append(Metric("precision", counts, of(2 * k + i, k + i), label=label))
        found.append(Metric("recall", counts, of(2 * k + i, i), label=label))
        found.append(Metric("f1", counts, f1_of(i), label=label))
    return found


def accuracy(sums: Floats) -> Floats:
    true, _, both = _thirds(sums)
    return ratio(both.sum(-1), true.sum(-1), empty=np.nan)


def micro_f1(sums: Floats) -> Floats:
    true, said, both = _thirds(sums)
    return ratio(2 * both.sum(-1), true.sum(-1) + said.sum(-1))


def micro_precision(sums: Floats) -> Floats:
    _, said, both = _thirds(sums)
    return ratio(both.sum(-1), said.sum(-1))


def micro_recall(sums: Floats) -> Floats:
    true, _, both = _thirds(sums)
    return ratio(both.sum(-1), true.sum(-1))


def macro_f1(sums: Floats) -> Floats:
    """Mean over the classes that occur, as an example's or as an answer: scikit-learn's and seqeval's default."""
    true, said, both = _thirds(sums)
    present = (true + said) > 0
    return ratio(ratio(2 * both, true + said).sum(-1), present.sum(-1))


def balanced_accuracy(sums: Floats) -> Floats:
    """Mean recall of the classes that examples have."""
    true, _, both = _thirds(sums)
    return ratio(ratio(both, true).sum(-1), (true > 0).sum(-1), empty=np.nan)


def matthews(sums: Floats) -> Floats:
    """Gorodkin's R_K, which is Matthews' coefficient for two classes; 0 where one class is all that is or is said."""
    true, said, both = _thirds(sums)
    total, hits = true.sum(-1), both.sum(-1)
    covariance = hits * total - (true * said).sum(-1)
    spread = (total**2 - (said**2).sum(-1)) * (total**2 - (true**2).sum(-1))
    return ratio(covariance, np.sqrt(np.maximum(spread, 0.0)))


def log_loss(true: Ints, probabilities: Floats) -> Floats:
    """(N,) of one class for each example: minus the log of what its class was given."""
    whole = probabilities / np.maximum(probabilities.sum(axis=1, keepdims=True), LEAST_PROBABILITY)
    given = whole[np.arange(len(true)), true]
    return -np.log(np.clip(given, LEAST_PROBABILITY, 1.0))


def _of_probabilities(true: Ints, probabilities: Floats) -> list[AnyMetric]:
    k = probabilities.shape[1]
    squares = ((probabilities - np.eye(k)[true]) ** 2).sum(axis=1)
    brier = squares / 2 if k == 2 else squares  # as scikit-learn: for two classes, of the positive one alone
    proper = np.stack([log_loss(true, probabilities), brier, np.ones(len(true))], axis=1)
    found: list[AnyMetric] = [
        Metric("log_loss", proper, mean_of(0, 2), higher_is_better=False, unit=""),
        Metric("brier", proper, mean_of(1, 2), higher_is_better=False, unit=""),
    ]
    if k == 2:
        found.append(RankMetric("auroc", np.stack([probabilities[:, 1], true == 1], axis=1).astype(np.float64), auroc))
    return found


def _thirds(sums: Floats) -> tuple[Floats, Floats, Floats]:
    k = sums.shape[-1] // 3
    return sums[..., :k], sums[..., k : 2 * k], sums[..., 2 * k :]
