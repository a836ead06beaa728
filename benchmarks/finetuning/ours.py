"""Our side: `bert_core.train.run` in this process, without Ray, with Trainer's settings or a variant's, from the same
weights, also where these are random."""

from __future__ import annotations

import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pyarrow as pa
import torch
from finetuning.examples import ExamplesConfig, auxiliary_examples, make
from finetuning.sets import BenchmarkSet, Prepared
from finetuning.variants import merged, variant

from bert_core import hf, train
from bert_core import tokenizer as tokenizers
from bert_core.config import MethodConfig, SpanTask, TrainConfig, validate
from bert_core.features import Features, encode, write_features
from bert_core.memory import keep_freed_memory, peak_bytes
from bert_core.methods.cloze import encode_for
from bert_core.no_answer import best_no_answer_threshold
from bert_core.predict import Predictor, open_model

NEVER = 10**9


class Clock:
    """Runs from the end of a run's set-up to its last step: the wall clock of the loop, loading batches and evaluating
    included."""

    def __init__(self) -> None:
        self.started = self.ended = 0.0
        self._set_up = train.TrainingRun.set_up

    def set_up(self, *arguments: Any) -> Any:
        this = self._set_up(*arguments)
        self.started = time.perf_counter()
        return this

    def report(self, line: dict[str, Any], _: Path | None) -> None:
        if line["kind"] in ("train", "eval"):  # the last of them; one that is stopped early has no last step
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
    steps: int | None = None,
    validation: Path | None = None,
    eval_every: int = NEVER,
    auxiliary: Sequence[Mapping[str, Any]] = (),
) -> TrainConfig:
    """Trainer's budget, optimizer and schedule, with the changes of the variant `name`.

    Args:
        weights: to start from instead of the set's.
        steps: instead of Trainer's.
        validation: features of the validation side, for a variant that watches their loss every `eval_every` steps.
        auxiliary: keys of `AuxiliaryTask`.

    Raises:
        ConfigError: the variant has settings that this core has not, or that do not fit the task.
    """
    how, init = variant(name), weights or prepared.weights
    examples = prepared.side("train").num_rows
    epochs = steps_of(chosen, examples, how.epochs_factor) * chosen.batch / examples
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
        **({"epochs": epochs} if steps is None else {"steps": steps}),
        "auxiliary": list(auxiliary),
        "eval_data": None if validation is None else str(validation),
        "precision": precision,
        "eval_every": eval_every,
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
    masked_model: Path | None = None,
) -> dict[str, Any]:
    """Train, and write the model's folder to `out`.

    Args:
        masked_model: with a masked-word head, for a variant that substitutes words.

    Returns:
        what `trainer_side.fit` does; whole_s here includes the last checkpoint, which `train.run` always writes.
        seconds, steps and rows are of the last training; seconds and whole_s also count what it took to label its
        examples, such as a teacher's training. `examples` has figures of these.
    """
    how = variant(name)
    asked = validate(ExamplesConfig, how.examples, source=name)
    train_side = prepared.side("train")
    with tempfile.TemporaryDirectory(prefix="bench-ours-") as temporary:
        folder = Path(temporary)
        if prepared.weights is None:
            from finetuning.trainer_models import first_weights  # transformers is in no other measured process of ours

            weights = first_weights(prepared, seed, folder / "first")
            prepared = replace(prepared, model=None)
        learn = partial(_learn, chosen, prepared, seed=seed, precision=precision, name=name, weights=weights)
        if not asked.changes_training:
            return learn(asked, train_side, folder / "plain", out)
        steps = steps_of(chosen, train_side.num_rows, how.epochs_factor)  # those of the plain run

        def teach(table: pa.Table, model: Path) -> float:
            work = model.with_name(f"{model.name}-work")
            alone = ExamplesConfig(validation=asked.validation)
            return float(learn(alone, table, work, model, steps=steps)["seconds"])

        made = make(
            asked, chosen, prepared, seed=seed, teach=teach, folder=folder / "teachers", masked_model=masked_model
        )
        figures = learn(asked, made.table, folder / "last", out, steps=steps)
    for clock in ("seconds", "whole_s"):
        figures[clock] += made.seconds
    return figures | {"examples": {**made.facts, **figures.get("examples", {})}}


def steps_of(chosen: BenchmarkSet, examples: int, epochs_factor: float = 1.0) -> int:
    """As many as Trainer makes, whose every epoch ends with a batch that is not full; all of ours are."""
    return math.ceil(chosen.epochs * epochs_factor * math.ceil(examples / chosen.batch))


def _learn(
    chosen: BenchmarkSet,
    prepared: Prepared,
    asked: ExamplesConfig,
    table: pa.Table,
    folder: Path,
    out: Path,
    *,
    seed: int,
    precision: str,
    name: str,
    weights: Path | None,
    steps: int | None = None,
) -> dict[str, Any]:
    """One training on `table`, in `folder`.

    Args:
        asked: its validation and auxiliary alone.
    """
    started = time.perf_counter()
    features, more, facts = _tokenized(chosen, prepared, asked, table, folder, name)
    tokenized = time.perf_counter()
    settings = config(
        chosen,
        prepared,
        seed=seed,
        precision=precision,
        name=name,
        features=folder / "features",
        weights=weights,
        steps=steps,
        **more,
    )
    clock = Clock()
    with patch.object(train.TrainingRun, "set_up", clock.set_up):
        summary = train.run(settings, work_dir=folder / "run", report=clock.report)
    whole = time.perf_counter() - tokenized
    shutil.move(folder / "run/model", out)
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
    } | ({"examples": facts} if facts else {})


def _tokenized(
    chosen: BenchmarkSet, prepared: Prepared, asked: ExamplesConfig, table: pa.Table, folder: Path, name: str
) -> tuple[Features, dict[str, Any], dict[str, Any]]:
    """The features of `table`, written to `folder` with all others that are asked for; the arguments of `config` that
    name these; and their figures."""
    tokenizer = tokenizers.load(prepared.tokenizer)
    method = validate(MethodConfig, variant(name).changes.get("method", {}), source=name)
    features = encode_for(method, prepared.task, table, tokenizer, chosen.row_length)
    write_features(features, folder / "features")
    more: dict[str, Any] = {}
    facts: dict[str, Any] = {}
    if asked.validation:
        held_out = encode_for(method, prepared.task, prepared.side("validation"), tokenizer, chosen.row_length)
        write_features(held_out, folder / "validation")
        every = math.ceil(features.num_sequences / chosen.batch)
        more |= {"validation": folder / "validation", "eval_every": every}
        facts["watched"] = held_out.num_examples
    if asked.auxiliary is not None:
        other, examples, numbers = auxiliary_examples(asked.auxiliary, prepared)
        facts |= numbers
        write_features(encode(other.task, examples, tokenizer, chosen.row_length), folder / "auxiliary")
        about = {"task": other.task.model_dump(mode="json"), "train_data": str(folder / "auxiliary")}
        more["auxiliary"] = [{"name": asked.auxiliary.set, "weight": asked.auxiliary.weight, **about}]
    return features, more, facts


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
