"""Every model on the same test documents: metrics with intervals, pictures, size and latency."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from bert_core.config import Config
from bert_core.files import write_json
from bert_core.predict import Predictor
from tasks.artifacts import Draft
from tasks.config import EvaluateConfig
from tasks.plan import champion_version
from tasks.registry import versions
from tasks.stage import stage
from tasks.text import plots
from tasks.text.comparison import compare_models
from tasks.text.documents import read_documents
from tasks.text.predictions import (
    Predictions,
    join_predictions,
    labelled_side,
    most_probable,
    predictions_table,
    read_predictions,
    write_predictions,
)

LATENCY_TEXTS = 50
COLUMNS = ["id", "text", "label", "split"]


class EvaluateSpec(Config):
    evaluate: EvaluateConfig
    labels: tuple[str, ...]
    model_name: str
    ablations: tuple[str, ...] = ()
    """Names of the further fine-tunings among the inputs, in their order."""


@stage("evaluate", code="tasks.evaluate")
def evaluate(config: EvaluateSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Predict the test side with BERT, the baselines and the champion, and compare them pairwise."""
    documents, classical, classifier, plan, *ablations = inputs
    test = labelled_side(read_documents(documents, COLUMNS, labelled=True), "test")
    folders = {"bert": classifier / "model"}
    if version := champion_version(plan):
        folders["champion"] = versions.download(versions.get(config.model_name, version))
    folders |= {name: ref / "model" for name, ref in zip(config.ablations, ablations, strict=True)}
    neural = {name: _predict(folder, test, config.labels) for name, folder in folders.items()}
    ids, truth = test["id"].to_pylist(), test["label"].to_pylist()
    table = join_predictions(
        read_predictions(classical / "predictions.parquet"), predictions_table(ids, truth, config.labels, neural)
    )
    write_predictions(table, out.path / "predictions.parquet")
    out.rows = {"test": table.num_rows}
    out.facts |= _measure(config, table, out.path) | {
        "size_mb": round((folders["bert"] / "model.safetensors").stat().st_size / 1e6, 1),
        "latency_ms": round(_latency_ms(folders["bert"], test["text"].to_pylist()[:LATENCY_TEXTS]), 2),
    }


def _predict(folder: Path, test: pa.Table, labels: Sequence[str]) -> Predictions:
    answers = Predictor(folder).predict(test["text"].to_pylist())
    rows = [[answer.probabilities[label] for label in labels] for answer in answers]
    return most_probable(test["id"].to_pylist(), np.array(rows, dtype=np.float32), labels)


def _measure(config: EvaluateSpec, table: pa.Table, folder: Path) -> dict[str, Any]:
    """Every model's report, BERT's lead over each other, and their pictures: written to `folder`, and returned."""
    settings = config.evaluate
    comparison = compare_models(
        table,
        config.labels,
        samples=settings.bootstrap_samples,
        confidence=settings.confidence,
        seed=settings.seed,
    )
    facts = {"comparison": comparison.model_dump(mode="json")}
    write_json(folder / "report.json", facts)
    plots.confusion_matrix(comparison.reports["bert"], folder / "confusion.png")
    plots.model_comparison(comparison.reports, folder / "models.png")
    return facts


def _latency_ms(folder: Path, texts: Sequence[str]) -> float:
    """Median milliseconds of one text at a time, on one thread."""
    predictor = Predictor(folder)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predictor.predict(texts[:3])
        timings = []
        for text in texts:
            started = time.perf_counter()
            predictor.predict([text])
            timings.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(timings)
