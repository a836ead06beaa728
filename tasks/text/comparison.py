"""All models on the same test documents: each one's report, and the candidate's lead over each of the others."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
from pydantic import BaseModel, ConfigDict

from bert_core.evaluate import EvalReport, Interval, classification_report, paired_bootstrap
from tasks.text.predictions import correct, model_names


class Comparison(BaseModel):
    """Evidence for a report and a gate. `model_dump_json` and `model_validate_json` round-trip it."""

    model_config = ConfigDict(frozen=True)

    candidate: str
    reports: dict[str, EvalReport]
    """By model, in the order of the table's columns."""
    leads: dict[str, Interval]
    """By other model: the candidate's accuracy minus that model's, from a paired bootstrap."""


def compare_models(
    predictions: pa.Table,
    classes: Sequence[str],
    *,
    candidate: str = "bert",
    samples: int = 2_000,
    confidence: float = 0.95,
    seed: int = 7,
) -> Comparison:
    """A report of every model in a table of predictions; equal tables and seeds give equal comparisons.

    Raises:
        PredictionsError: the table has no model named `candidate`.
        EvaluationError: no documents, or labels that are not among `classes`.
    """
    ours = correct(predictions, candidate)
    labels, names = predictions["label"].to_pylist(), model_names(predictions)
    return Comparison(
        candidate=candidate,
        reports={
            name: classification_report(
                labels, predictions[name].to_pylist(), classes, samples=samples, confidence=confidence, seed=seed
            )
            for name in names
        },
        leads={
            name: paired_bootstrap(ours, correct(predictions, name), samples=samples, confidence=confidence, seed=seed)
            for name in names
            if name != candidate
        },
    )
