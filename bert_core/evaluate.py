"""Classification metrics with bootstrap confidence intervals, and the report that carries them.

Shapes: N examples, K classes, S bootstrap samples. In a confusion matrix, rows are true and columns predicted labels.

A metric of a confusion matrix needs only its cells. To draw N examples with replacement is to draw the cells from a
multinomial distribution, so a bootstrap costs S draws of K * K numbers whatever N is: no loop, and no (S, N) array.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MAX_CELLS_AT_ONCE = 4_000_000  # 32 MB of int64


class EvaluationError(ValueError):
    """Predictions or labels from which no honest figure follows; the message shows the offending value."""


@dataclass(frozen=True)
class Interval:
    """A figure and its percentile bootstrap interval (Efron, 1979)."""

    estimate: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.estimate:.3f} [{self.low:.3f}, {self.high:.3f}]"


class ClassScores(BaseModel):
    """How one class fared against the rest."""

    model_config = ConfigDict(frozen=True)

    precision: Interval
    recall: Interval
    f1: Interval
    support: int
    """Examples whose true label is this class."""
    predicted: int
    """Examples that were given this class."""


class EvalReport(BaseModel):
    """All metrics of one model on one set of examples. `model_dump_json` and `model_validate_json` round-trip it.

    A ratio of which the denominator is zero counts as 0, as in scikit-learn's `zero_division=0`.
    """

    model_config = ConfigDict(frozen=True)

    examples: int
    classes: tuple[str, ...]
    accuracy: Interval
    macro_f1: Interval
    per_class: dict[str, ClassScores]
    confusion: tuple[tuple[int, ...], ...]
    """(K, K): confusion[i][j] examples of class i were called class j."""
    confidence: float
    bootstrap_samples: int
    seed: int


def bootstrap(values: ArrayLike, *, samples: int = 2_000, confidence: float = 0.95, seed: int = 0) -> Interval:
    """The mean of `values` (N,) with its percentile bootstrap interval; equal arguments give equal intervals.

    Raises:
        EvaluationError: `values` is empty, not one-dimensional, or not finite.
    """
    checked = _finite(values, "values")
    _check_bootstrap(samples, confidence)
    levels, counts = np.unique(checked, return_counts=True)  # (U,)
    drawn = np.concatenate([chunk @ levels for chunk in _resample(counts, samples, seed)]) / checked.size  # (S,)
    return _interval(float(checked.mean()), drawn, confidence)


def paired_bootstrap(
    correct_a: ArrayLike, correct_b: ArrayLike, *, samples: int = 2_000, confidence: float = 0.95, seed: int = 0
) -> Interval:
    """Accuracy of model A minus that of model B on the same examples, with its interval.

    Both are (N,), in the same order: True where that model was right. Resampling examples, not models, keeps what the
    two have in common (hard examples) out of the interval (Koehn, 2004).

    Raises:
        EvaluationError: different lengths, empty, or not finite.
    """
    a, b = _finite(correct_a, "correct_a"), _finite(correct_b, "correct_b")
    if a.size != b.size:
        raise EvaluationError(
            f"paired_bootstrap compares the same examples: correct_a has {a.size}, correct_b {b.size}"
        )
    return bootstrap(a - b, samples=samples, confidence=confidence, seed=seed)


def classification_report(
    labels_true: Sequence[str],
    labels_pred: Sequence[str],
    classes: Sequence[str],
    *,
    samples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> EvalReport:
    """Accuracy, macro F1, and precision, recall and F1 of each class, each with its bootstrap interval.

    Raises:
        EvaluationError: no examples, different lengths, a label that is not in `classes`, or classes that repeat.
    """
    _check_bootstrap(samples, confidence)
    confusion = confusion_matrix(labels_true, labels_pred, classes)
    order = np.argsort(np.array(classes))  # cells are drawn in this order, so that no interval depends on the caller's
    cells = confusion[np.ix_(order, order)]
    resampled = [chunk.reshape(-1, *cells.shape) for chunk in _resample(cells.ravel(), samples, seed)]
    scores = _metrics(np.concatenate([cells[None], *resampled]))  # (1 + S, ...): as observed, then as drawn
    place = np.argsort(order)

    def interval(column: Floats) -> Interval:
        return _interval(float(column[0]), column[1:], confidence)

    per_class = {
        name: ClassScores(
            precision=interval(scores["precision"][:, place[i]]),
            recall=interval(scores["recall"][:, place[i]]),
            f1=interval(scores["f1"][:, place[i]]),
            support=int(confusion[i].sum()),
            predicted=int(confusion[:, i].sum()),
        )
        for i, name in enumerate(classes)
    }
    return EvalReport(
        examples=int(confusion.sum()),
        classes=tuple(classes),
        accuracy=interval(scores["accuracy"]),
        macro_f1=interval(scores["macro_f1"]),
        per_class=per_class,
        confusion=tuple(tuple(int(cell) for cell in row) for row in confusion),
        confidence=confidence,
        bootstrap_samples=samples,
        seed=seed,
    )


def confusion_matrix(labels_true: Sequence[str], labels_pred: Sequence[str], classes: Sequence[str]) -> Ints:
    """(K, K) counts: rows true, columns predicted, both in the order of `classes`.

    Raises:
        EvaluationError: as `classification_report`.
    """
    if len(set(classes)) != len(classes) or not classes:
        raise EvaluationError(f"classes must be distinct and at least one, got {list(classes)!r}")
    if len(labels_true) != len(labels_pred):
        raise EvaluationError(f"{len(labels_true)} true labels and {len(labels_pred)} predicted ones: not the same set")
    if not len(labels_true):
        raise EvaluationError("no examples to evaluate")
    cells = _ids(labels_true, classes, "true") * len(classes) + _ids(labels_pred, classes, "predicted")
    return np.bincount(cells, minlength=len(classes) ** 2).reshape(len(classes), len(classes)).astype(np.int64)


def _metrics(confusion: Ints) -> dict[str, Floats]:
    """Every metric of (S, K, K) confusion matrices: accuracy and macro_f1 (S,), the others (S, K)."""
    hits = np.diagonal(confusion, axis1=1, axis2=2).astype(np.float64)
    true, predicted = confusion.sum(axis=2), confusion.sum(axis=1)
    f1 = _ratio(2 * hits, true + predicted)
    return {
        "accuracy": _ratio(hits.sum(axis=1), confusion.sum(axis=(1, 2))),
        "precision": _ratio(hits, predicted),
        "recall": _ratio(hits, true),
        "f1": f1,
        "macro_f1": f1.mean(axis=1),
    }


def _ratio(numerator: Floats, denominator: Ints) -> Floats:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def _resample(counts: Ints, samples: int, seed: int) -> Iterator[Ints]:
    """How often each of U distinct outcomes, seen `counts` times, appears in each of S bootstrap samples.

    Yields (s, U) parts of bounded size, S rows in all.
    """
    rng = np.random.default_rng(seed)
    total = int(counts.sum())
    step = max(1, MAX_CELLS_AT_ONCE // counts.size)
    for start in range(0, samples, step):
        yield rng.multinomial(total, counts / total, size=min(step, samples - start))


def _interval(estimate: float, drawn: Floats, confidence: float) -> Interval:
    low, high = np.quantile(drawn, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))


def _ids(labels: Sequence[str], classes: Sequence[str], which: str) -> Ints:
    order = {name: i for i, name in enumerate(classes)}
    for position, label in enumerate(labels):
        if label not in order:
            raise EvaluationError(f"{which} label {label!r} of example {position} is not one of {list(classes)!r}")
    return np.array([order[label] for label in labels], dtype=np.int64)


def _finite(values: ArrayLike, name: str) -> Floats:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or not array.size:
        raise EvaluationError(f"{name} must be one-dimensional and not empty, got shape {array.shape}")
    if not np.isfinite(array).all():
        position = int(np.flatnonzero(~np.isfinite(array))[0])
        raise EvaluationError(f"{name}[{position}] is {array[position]}: every value must be finite")
    return array


def _check_bootstrap(samples: int, confidence: float) -> None:
    if samples < 1 or not 0 < confidence < 1:
        raise EvaluationError(f"samples must be at least 1 and confidence in (0, 1), got {samples} and {confidence}")
