"""Our side: `bert_core.train.run` in this process, without Ray, with Trainer's settings or a variant's."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import torch
from finetuning.sets import BenchmarkSet, Prepared
from finetuning.variants import merged, variant

from bert_core import hf, train
from bert_core import tokenizer as tokenizers
from bert_core.config import SpanTask, TrainConfig, validate
from bert_core.features import encode, write_features
from bert_core.memory import keep_freed_memory, peak_bytes
from bert_core.no_answer import best_no_answer_threshold
from bert_core.predict import Predictor, open_model

NEVER = 10**9


class Clock:
    """Runs from the end of a run's set-up to its last step: the wall clock of the loop, loading batches included."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0
        self._set_up = train.TrainingRun.set_up

    def set_up(self, *arguments: Any) -> Any:
        this = self._set_up(*arguments)
        self.started = time.perf_counter()
        return this

    def report(self, line: dict[str, Any], _: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == line["total_steps"]:
            self.ended = time.perf_counter()

    @property
    def seconds(self) -> float:
        return self.ended - self.started


def prepare_process(threads: int) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(threads)
    keep_freed_memory()  # as `python -m bert_core.train` and the flows' trainers do


def config(
    chosen: BenchmarkSet,
    prepared: Prepared,
    *,
    seed: int,
    precision: str,
    name: str,
    features: Path,
    weights: Path | None = None,
) -> TrainConfig:
    """Trainer's budget, optimizer and schedule, with the changes of the variant `name`.

    Args:
        weights: to start from instead of the set's.

    Raises:
        ConfigError: the variant has settings that this core has not, or that do not fit the task.
    """
    how, init = variant(name), weights or prepared.weights
    plain: dict[str, Any] = {
        "name": "bench",
        "seed": seed,
        "init": None if init is None else str(init),
        "model": None if prepared.model is None else prepared.model.model_dump(mode="json"),
        "task": prepared.task.model_dump(mode="json"),
        "tokenizer": str(prepared.tokenizer),
        "train_data": str(features),
        "optimizer": {
            "lr": chosen.lr * how.lr_factor,
            "warmup_share": chosen.warmup_share,
            "weight_decay": chosen.weight_decay,
            "clip_norm": chosen.clip_norm,
        },
        "batch": {"samples": chosen.batch, "row_length": chosen.row_length},
        "epochs": chosen.epochs,
        "precision": precision,
        "eval_every": NEVER,
        "checkpoint_every": NEVER,
        "log_every": NEVER,
    }
    return validate(TrainConfig, merged(plain, how.changes), source=f"{chosen.name}, {name}")


def fit(
    chosen: BenchmarkSet,
    prepared: Prepared,
    *,
    seed: int,
    precision: str,
    name: str,
    out: Path,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Train, and write the model's folder to `out`.

    Returns:
        what `trainer_side.fit` does; whole_s here includes the last checkpoint, which `train.run` always writes.
    """
    started = time.perf_counter()
    tokenizer = tokenizers.load(prepared.tokenizer)
    features = encode(prepared.task, prepared.side("train"), tokenizer, chosen.row_length)
    clock = Clock()
    with tempfile.TemporaryDirectory(prefix="bench-ours-") as folder:
        write_features(features, Path(folder) / "features")
        tokenized = time.perf_counter()
        settings = config(
            chosen,
            prepared,
            seed=seed,
            precision=precision,
            name=name,
            features=Path(folder) / "features",
            weights=weights,
        )
        with patch.object(train.TrainingRun, "set_up", clock.set_up):
            summary = train.run(settings, work_dir=Path(folder) / "run", report=clock.report)
        whole = time.perf_counter() - tokenized
        shutil.move(Path(folder) / "run/model", out)
    return {
        "seconds": clock.seconds,
        "whole_s": whole,
        "tokenize_s": tokenized - started,
        "steps": summary["steps"],
        "rows": features.num_sequences,
        "peak_bytes": peak_bytes(),
        "trained_parameters": summary.get("trained_parameters", summary["parameters"]),
        "precision": summary["precision"],
        "padding_share": summary["padding_share"],
    }


def answers(folder: Path, prepared: Prepared) -> tuple[pa.Table, float]:
    """What the model in `folder`, whoever wrote it, says of the test side; and the seconds that it took.

    From which score on a question has no answer is chosen on the validation side, where the training side has such
    questions, and written to the folder.
    """
    tuned = hf.read_task(folder)
    if tuned is not None and isinstance(tuned.task, SpanTask) and tuned.task.no_answer == "yes":
        validation = prepared.side("validation")
        threshold = best_no_answer_threshold(validation, Predictor(folder).answer(validation))
        task = tuned.task.model_copy(update={"no_answer_threshold": threshold})
        hf.write_task(tuned.model_copy(update={"task": task}), folder)
    model, test = open_model(folder), prepared.side("test")
    started = time.perf_counter()
    return model.answer(test), time.perf_counter() - started
