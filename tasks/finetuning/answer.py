"""What a model says of the validation and test sides, and what asking it costs."""

from __future__ import annotations

import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bert_core.config import Config
from bert_core.predict import Generator, Predictor, open_model
from tasks.artifacts import Draft
from tasks.finetuning.prepare import side
from tasks.registry import versions
from tasks.stage import stage


class AnswerSpec(Config):
    model_name: str = ""
    version: str | None = None
    """A registered version to ask instead of a training's model."""
    latency_examples: int


@stage("answer", code="tasks.finetuning.answer")
def answer(config: AnswerSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Ask a fine-tuned model, or the champion, about every example of the validation and test sides."""
    prepared, trained = inputs
    folder = trained / "model" if config.version is None else champion_folder(config.model_name, config.version)
    predictor = open_model(folder)
    for name in ("validation", "test"):
        table = side(prepared, name)
        started = time.perf_counter()
        pq.write_table(predictor.answer(table), out.path / f"{name}.parquet")
        seconds = time.perf_counter() - started
        out.rows[name] = table.num_rows
    out.facts |= {
        "parameters": sum(parameter.numel() for parameter in predictor.model.parameters()),
        "size_mb": round((folder / "model.safetensors").stat().st_size / 1e6, 1),
        "latency_ms": round(latency_ms(predictor, side(prepared, "test")[: config.latency_examples]), 2),
        "ms_per_example": round(1000 * seconds / table.num_rows, 3),
    }


def champion_folder(model_name: str, version: str) -> Path:
    return versions.download(versions.get(model_name, version))


def latency_ms(predictor: Predictor | Generator, table: pa.Table) -> float:
    """Median milliseconds of one example at a time, on one thread."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        predictor.answer(table[:3])
        timings = []
        for row in range(table.num_rows):
            started = time.perf_counter()
            predictor.answer(table[row : row + 1])
            timings.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return 1000 * statistics.median(timings)
