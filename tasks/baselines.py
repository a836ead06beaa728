"""Classical models that BERT must beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.config import BaselinesConfig
from tasks.stage import stage
from tasks.text.baselines import fit_baselines
from tasks.text.documents import read_documents
from tasks.text.predictions import labelled_side, predictions_table, write_predictions


class BaselinesSpec(Config):
    baselines: BaselinesConfig
    labels: tuple[str, ...]
    seed: int


@stage("baselines", code="tasks.text.baselines")
def baselines(config: BaselinesSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Majority, naive Bayes and TF-IDF with logistic regression, fitted on train, chosen on validation."""
    (documents,) = inputs
    table = read_documents(documents, ["id", "text", "label", "split"], labelled=True)
    models = fit_baselines(config.baselines, table, config.labels, config.seed)
    test = labelled_side(table, "test")
    predictions = predictions_table(test["id"].to_pylist(), test["label"].to_pylist(), config.labels, models)
    write_predictions(predictions, out.path / "predictions.parquet")
    out.rows = {"test": test.num_rows}
    out.facts |= {f"{name} {fact}": value for name, model in models.items() for fact, value in model.facts.items()}
