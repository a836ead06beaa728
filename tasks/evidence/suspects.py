"""Labels that are probably wrong, by confident learning (Northcutt et al., 2021, arXiv:1911.00068).

A class's threshold is the mean confidence in it over the examples that carry it. An example is a suspect if its own
label's confidence is below that label's threshold while another class's is at or above that class's. Probabilities must
be of models that have not seen the example in training: else they say what they were told.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bert_core.config import PairTask, SequenceTask, Task
from bert_core.intervals import Floats
from bert_core.metrics.aligned import aligned, ids_of, probability_rows
from bert_core.metrics.metric import Ints
from tasks.evidence.examples import main_text
from tasks.evidence.schema import Suspect, Suspects

SHOWN = 20
PAIRS = 8


def suspects(side: str, task: Task, gold: pa.Table, runs: Sequence[pa.Table], shown: int = SHOWN) -> Suspects | None:
    """Suspects among a side's labels from the mean probabilities of out-of-sample answers; None: not of this task.

    Raises:
        EvaluationError: answers that do not fit the examples.
    """
    if not isinstance(task, SequenceTask | PairTask) or task.kind != "single":
        return None
    tables = [aligned(gold, one) for one in runs]
    if any("probabilities" not in one.column_names for one in tables):
        return None
    probabilities = np.mean([probability_rows(one, len(task.labels)) for one in tables], axis=0)
    given = ids_of(gold["label"].to_pylist(), task.labels, gold, "gold table")
    suggested = suggested_labels(given, probabilities)
    rows = np.flatnonzero(suggested >= 0)
    margin = probabilities[rows, suggested[rows]] - probabilities[rows, given[rows]]
    ordered = rows[np.argsort(-margin, kind="stable")]

    def one(row: int) -> Suspect:
        example = {name: gold[name][row].as_py() for name in gold.column_names}
        return Suspect(
            id=example["id"],
            text=main_text(task, example),
            given=task.labels[given[row]],
            suggested=task.labels[suggested[row]],
            confidence_given=float(probabilities[row, given[row]]),
            confidence_suggested=float(probabilities[row, suggested[row]]),
        )

    pairs = Counter((task.labels[given[row]], task.labels[suggested[row]]) for row in rows)
    return Suspects(
        side=side,
        examples=len(gold),
        found=len(rows),
        shown=tuple(one(int(row)) for row in ordered[:shown]),
        by_pair=tuple((a, b, count) for (a, b), count in pairs.most_common(PAIRS)),
    )


def suggested_labels(given: Ints, probabilities: Floats) -> Ints:
    """(N,): the class that each example more likely is, or -1; `given` (N,), `probabilities` (N, K)."""
    k = probabilities.shape[1]
    held = np.array([(given == label).sum() for label in range(k)])
    totals = np.array([probabilities[given == label, label].sum() for label in range(k)])
    thresholds = np.where(held > 0, totals / np.maximum(held, 1), np.inf)
    rows = np.arange(len(given))
    above = probabilities >= thresholds
    above[rows, given] = False
    best = np.where(above, probabilities, -1.0).argmax(axis=1)
    is_suspect = above.any(axis=1) & (probabilities[rows, given] < thresholds[given])
    is_suspect &= probabilities[rows, best] > probabilities[rows, given]
    return np.where(is_suspect, best, -1)
