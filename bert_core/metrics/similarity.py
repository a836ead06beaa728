"""Metrics of embeddings: does similarity order pairs as people do, and is the right partner found."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from bert_core.intervals import EvaluationError
from bert_core.metrics.aligned import column, numbers
from bert_core.metrics.metric import AnyMetric, Metric, RankMetric, Scores, mean_of, scores
from bert_core.metrics.ranks import spearman

RECALL_AT = (1, 5, 10)


def similarity_scores(gold: pa.Table, answers: pa.Table) -> Scores:
    """Spearman's correlation of similarity and label where there are labels; recall at 1, 5 and 10 and the mean
    reciprocal rank where the answers have ranks. `answers` are in the order of `gold`.

    Raises:
        EvaluationError: there is neither, or a rank below 0.
    """
    found: list[AnyMetric] = []
    left_out: dict[str, str] = {}
    similarity = numbers(answers, "similarity", "answers")
    label = gold["label"].to_numpy().astype(np.float64) if "label" in gold.column_names else np.full(len(gold), np.nan)
    scored = np.isfinite(label)
    if scored.any():
        columns = np.stack([similarity, np.where(scored, label, 0), scored], axis=1)
        found.append(RankMetric("spearman", columns, _where_scored, unit=""))
    else:
        left_out["spearman"] = "no example has a label"
    rank = column_or_nan(answers, "rank")
    ranked = np.isfinite(rank)
    if (rank[ranked] < 0).any():
        raise EvaluationError(f"answers: rank is {rank[ranked].min():.0f}; the best is 0")
    if ranked.any():
        at = [(rank < k) & ranked for k in RECALL_AT]
        rows = np.stack([*at, np.where(ranked, 1 / (1 + np.where(ranked, rank, 0)), 0), ranked], axis=1).astype(float)
        last = rows.shape[1] - 1
        found += [Metric(f"recall_at_{k}", rows, mean_of(i, last)) for i, k in enumerate(RECALL_AT)]
        found.append(Metric("mrr", rows, mean_of(last - 1, last)))
    else:
        left_out |= dict.fromkeys([*(f"recall_at_{k}" for k in RECALL_AT), "mrr"], "no answer has a rank")
    if not found:
        raise EvaluationError("embeddings are judged by labels or by ranks, and no example has either")
    return scores(found, left_out)


def column_or_nan(table: pa.Table, name: str) -> np.ndarray:
    """(N,), NaN for null, and for a column that is not there."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column(table, "id", "answers")
    return np.array([np.nan if one is None else float(one) for one in table[name].to_pylist()])


def _where_scored(columns: np.ndarray, weights: np.ndarray) -> np.ndarray:
    rows = columns[:, 2] > 0
    drawn = weights[:, rows]
    if not rows.any():
        return np.full(len(weights), np.nan)
    empty = drawn.sum(axis=1) == 0
    drawn = np.where(empty[:, None], 1.0, drawn)
    return np.where(empty, np.nan, spearman(columns[rows, :2], drawn))
