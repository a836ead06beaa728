"""Whether a model's confidence can be believed, and what one number fitted on the validation side mends.

Expected calibration error: answers ordered by confidence, cut into bins of equally many; the mean distance of a bin's
confidence from its accuracy. Temperature scaling: every log-odds divided by one number (Guo et al., 2017,
arXiv:1706.04599).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bert_core.config import ChoiceTask, PairTask, SequenceTask, Task, TokenTask
from bert_core.intervals import Floats
from bert_core.metrics import Metric, Scores
from bert_core.metrics.aligned import aligned, ids_of, probability_rows
from bert_core.metrics.choices import choice_probabilities
from bert_core.metrics.labels import label_matrix
from bert_core.metrics.metric import Ints, ratio
from bert_core.metrics.significance import binomial_interval
from tasks.evidence.draw import Draw
from tasks.evidence.schema import CANDIDATE, Calibration, ReliabilityBin

BINS = 10
LEAST = 1e-12


@dataclass(frozen=True)
class Confidences:
    """U answers with a confidence: of N examples, or of their tokens or labels."""

    of: str
    example: Ints
    """(U,): the example that each belongs to."""
    distributions: list[Floats] | None
    """What each possible answer was given, for each of U; None: only that of what was said is known."""
    right: Ints
    """(U,): the place of the right answer in its distribution."""
    said_confidence: Floats
    is_right: Floats

    def scaled(self, temperature: float) -> Confidences:
        if self.distributions is None:
            return self
        softer = [_softened(one, temperature) for one in self.distributions]
        said = np.array([float(one.max()) for one in softer])
        return Confidences(self.of, self.example, softer, self.right, said, self.is_right)

    def nll(self) -> float | None:
        if self.distributions is None:
            return None
        given = [one[right] for one, right in zip(self.distributions, self.right, strict=True)]
        return float(-np.log(np.clip(given, LEAST, 1)).mean())


def confidences(task: Task, gold: pa.Table, answers: pa.Table) -> Confidences | None:
    """None: the task's answers, or these, have no confidence. `answers` are in the order of `gold`."""
    if isinstance(task, TokenTask):
        return _of_tokens(gold, answers) if "confidences" in answers.column_names else None
    if "probabilities" not in answers.column_names:
        return None
    if isinstance(task, ChoiceTask):
        given = choice_probabilities(gold, answers)
        right = np.array(gold["label"].to_pylist(), dtype=np.int64)
        return _of_distributions("examples", np.arange(len(right)), given, right)
    if not isinstance(task, SequenceTask | PairTask) or task.kind == "regression":
        return None
    table = probability_rows(answers, len(task.labels))
    if task.kind == "multi":
        true = label_matrix(gold, "label", task.labels, "gold table").astype(np.int64)
        pairs = np.stack([1 - table, table], axis=-1).reshape(-1, 2)
        return _of_distributions("labels", np.repeat(np.arange(len(true)), true.shape[1]), list(pairs), true.ravel())
    right = ids_of(gold["label"].to_pylist(), task.labels, gold, "gold table")
    whole = table / np.maximum(table.sum(axis=1, keepdims=True), LEAST)
    return _of_distributions("examples", np.arange(len(right)), list(whole), right)


def calibration(
    task: Task,
    gold: pa.Table,
    runs: Sequence[pa.Table],
    validation: tuple[pa.Table, Sequence[pa.Table]] | None,
    draw: Draw,
) -> Calibration | None:
    """Of the candidate's runs on the test side, in the order of `gold`; None where answers have no confidence.

    Args:
        validation: gold table and each run's answers, in the same order of runs, to fit temperatures on.
    """
    found = [confidences(task, gold, answers) for answers in runs]
    held = [one for one in found if one is not None]
    if not held or len(held) < len(found):
        return None
    metrics = [Scores({"ece": ece_metric(one, len(gold))}) for one in held]
    temperatures = _temperatures(task, validation, len(held))
    scaled = [one.scaled(t) for one, t in zip(held, temperatures, strict=True)] if temperatures else None
    return Calibration(
        of=held[0].of,
        ece=draw.of({CANDIDATE: metrics}).interval(CANDIDATE, "ece"),
        bins=_bins(held),
        mean_confidence=_mean(float(one.said_confidence.mean()) for one in held),
        accuracy=_mean(float(one.is_right.mean()) for one in held),
        nll=_mean_known([one.nll() for one in held]),
        temperature=_mean(temperatures) if temperatures else None,
        scaled_ece=_mean(ece(one) for one in scaled) if scaled else None,
        scaled_nll=_mean_known([one.nll() for one in scaled]) if scaled else None,
    )


def ece(held: Confidences, bins: int = BINS) -> float:
    """Expected calibration error over `bins` of equally many answers."""
    metric = ece_metric(held, int(held.example.max()) + 1, bins)
    return float(metric.reduce(metric.statistics.sum(axis=0)))


def ece_metric(held: Confidences, examples: int, bins: int = BINS) -> Metric:
    """The same as a metric of sums: the bins stay those of the whole set, so that it can be resampled."""
    place = _bin_of(held.said_confidence, bins)
    rows = np.zeros((examples, bins + 1))
    np.add.at(rows, (held.example, place), held.said_confidence - held.is_right)
    np.add.at(rows, (held.example, np.full(len(place), bins)), 1.0)

    def reduce(sums: Floats) -> Floats:
        return ratio(np.abs(sums[..., :bins]).sum(axis=-1), sums[..., bins])

    return Metric("ece", rows, reduce, higher_is_better=False)


def temperature(held: Confidences) -> float:
    """The number in [0.05, 20] that makes the right answers most likely; 1 where distributions are not known."""
    if held.distributions is None:
        return 1.0
    logs = [np.log(np.clip(one, LEAST, 1)) for one in held.distributions]
    width = max(len(one) for one in logs)
    padded = np.full((len(logs), width), -np.inf)
    for row, one in enumerate(logs):
        padded[row, : len(one)] = one
    rows = np.arange(len(logs))

    def nll(log_temperature: float) -> float:
        scaled = padded / np.exp(log_temperature)
        top = scaled.max(axis=1, keepdims=True)
        total = np.log(np.exp(scaled - top).sum(axis=1)) + top[:, 0]
        return float((total - scaled[rows, held.right]).mean())

    return float(np.exp(_least(nll, np.log(0.05), np.log(20.0))))


def _least(of: Callable[[float], float], low: float, high: float) -> float:
    """Golden-section search: the likelihood has one peak in 1 / temperature, and so in its logarithm."""
    golden = (np.sqrt(5) - 1) / 2
    for _ in range(60):
        left, right = high - golden * (high - low), low + golden * (high - low)
        if of(left) < of(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def _temperatures(task: Task, validation: tuple[pa.Table, Sequence[pa.Table]] | None, runs: int) -> list[float] | None:
    if validation is None or len(validation[1]) != runs:
        return None
    gold = validation[0]
    held = [confidences(task, gold, aligned(gold, answers)) for answers in validation[1]]
    return [temperature(one) for one in held if one] if all(one and one.distributions for one in held) else None


def _bins(held: Sequence[Confidences]) -> tuple[ReliabilityBin, ...]:
    """Answers of all runs together; runs answer the same questions, so intervals count those of one."""
    sure = np.concatenate([one.said_confidence for one in held])
    right = np.concatenate([one.is_right for one in held])
    place = _bin_of(sure, BINS)
    found = []
    for number in np.unique(place):
        inside = place == number
        accuracy, count = float(right[inside].mean()), int(inside.sum())
        each = max(1, round(count / len(held)))
        low, high = binomial_interval(accuracy * each, each)
        found.append(
            ReliabilityBin(confidence=float(sure[inside].mean()), accuracy=accuracy, low=low, high=high, answers=count)
        )
    return tuple(found)


def _bin_of(values: Floats, bins: int) -> Ints:
    """Bins of equally many; equal values share one, so there can be fewer."""
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf"))
    return np.searchsorted(edges, values, side="left").astype(np.int64)


def _of_distributions(of: str, example: Ints, given: list[Floats], right: Ints) -> Confidences:
    said = np.array([int(one.argmax()) for one in given])
    sure = np.array([float(one.max()) for one in given])
    return Confidences(of, example, given, right, sure, (said == right).astype(np.float64))


def _of_tokens(gold: pa.Table, answers: pa.Table) -> Confidences:
    example, sure, right = [], [], []
    rows = zip(gold["tags"].to_pylist(), answers["tags"].to_pylist(), answers["confidences"].to_pylist(), strict=True)
    for row, (true, said, each) in enumerate(rows):
        example += [row] * len(true)
        sure += each
        right += [a == b for a, b in zip(true, said, strict=True)]
    none = np.zeros(len(example), np.int64)
    return Confidences(
        "tokens", np.array(example, np.int64), None, none, np.array(sure, np.float64), np.array(right, np.float64)
    )


def _softened(distribution: Floats, by: float) -> Floats:
    logs = np.log(np.clip(distribution, LEAST, 1)) / by
    odds = np.exp(logs - logs.max())
    return odds / odds.sum()


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def _mean_known(values: Sequence[float | None]) -> float | None:
    known = [one for one in values if one is not None]
    return float(np.mean(known)) if known and len(known) == len(values) else None
