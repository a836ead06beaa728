"""One trial of a search: train at a point of the space, measure on the validation side. Knows no Ray.

A trial has a folder, named by its point, and what lies there is all that a search knows of it:

    trial.json     its values, and when it began
    scores.jsonl   a line for each measurement on the validation side; one of an earlier attempt is not made again
    result.json    written last: finished, stopped (it fell behind) or failed, and why
    failure.json   what ended an attempt that may go better next time
    metrics.jsonl  and what else `bert_core.train.run` leaves, to continue from
"""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from torch import Tensor

from bert_core.build import build_data, build_model, export, run_length
from bert_core.checkpoint import open_checkpoint
from bert_core.config import Config, TrainConfig
from bert_core.files import write_json
from bert_core.journal import read_metrics
from bert_core.metrics import primary_metric, score
from bert_core.predict import open_model
from bert_core.train import run
from tasks.config.search import SearchConfig
from tasks.finetuning.space import Values, train_config, trial_key

SAVE_TIMEOUT_S = 600.0
POLL_S = 0.02
WORST = -1e30
"""Goodness of a measurement that is not a number: schedulers and samplers do not know what to do with NaN."""

Report = Callable[[dict[str, Any]], None]
"""Called with `share` (of the run) and `goodness` (higher is better); it may end the trial by raising SystemExit."""


class TrialError(RuntimeError):
    """A trial failed for a reason that would come again; the search goes on without it."""


class Job(Config):
    """What all trials of a search share."""

    base: TrainConfig
    search: SearchConfig
    validation: str
    """Parquet file of the side that trials are compared on."""
    work_dir: str

    def folder(self, values: Values) -> Path:
        return Path(self.work_dir) / "trials" / trial_key(values)

    def config(self, values: Values) -> TrainConfig:
        """What a trial trains: the recipe's, at its point, measured where ASHA asks and saved as often.

        Raises:
            ConfigError: the values do not go together.
        """
        config = train_config(self.base, values)
        rungs = self.search.rungs
        if not rungs:
            return config
        total = build_data(config, config.train_data, length=run_length(config)).total_steps
        first = max(1, math.ceil(rungs[0] * total))
        changes: dict[str, Any] = {"checkpoint_every": min(config.checkpoint_every, first)}
        if self.search.metric == "loss" and config.keep == "last" and config.patience is None:
            changes["eval_every"] = min(config.eval_every, first)  # otherwise more evaluations change what is shipped
        return config.model_copy(update=changes)


def run_trial(job: Job, values: Values, report: Report) -> None:
    """Carry a trial to its end, from wherever earlier attempts left it; reports come as if there had been one.

    Raises:
        TrialError: it failed, now or in an earlier attempt; result.json has the cause.
    """
    folder = job.folder(values)
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "trial.json").exists():
        write_json(folder / "trial.json", {"values": values, "started": time.time()})
    scorer = _Scorer(job, folder, report)
    for line in scorer.lines:
        report(line)
    if result := read_result(folder):
        if result["status"] == "failed":
            raise TrialError(result["reason"])
        return
    try:
        scorer.config = config = job.config(values)
        summary = run(config, work_dir=folder, report=scorer.follow)
        last = scorer.last(summary)
    except Exception as error:
        if not any(kind.__module__.startswith("bert_core.") for kind in type(error).__mro__):
            write_json(folder / "failure.json", {"reason": f"{type(error).__name__}: {error}"[:2000]})
            raise
        write_result(folder, "failed", reason=f"{type(error).__name__}: {error}")
        raise TrialError(str(error)) from error
    write_result(folder, "finished")
    report(last)


def read_result(folder: Path) -> dict[str, Any] | None:
    path = folder / "result.json"
    result: dict[str, Any] | None = json.loads(path.read_text("utf-8")) if path.exists() else None
    return result


def read_scores(folder: Path) -> list[dict[str, Any]]:
    return read_metrics(folder / "scores.jsonl")


def write_result(folder: Path, status: str, *, reason: str = "") -> None:
    """End a trial: nothing more happens in its folder."""
    write_json(folder / "result.json", {"status": status, "reason": reason, "ended": time.time()})


@dataclass
class _Scorer:
    """Measures a run at ASHA's rungs, out of its checkpoints, and at its end, as the model that it would ship."""

    job: Job
    folder: Path
    report: Report
    config: TrainConfig | None = None

    def __post_init__(self) -> None:
        path = self.folder / "scores.jsonl"
        self.lines = read_metrics(path)
        path.write_text("".join(json.dumps(line) + "\n" for line in self.lines), "utf-8")  # without a torn last line
        self.seconds = self.lines[-1]["seconds"] if self.lines else 0.0
        self.began = time.monotonic()
        self.eval_line: dict[str, Any] = {}

    def follow(self, line: dict[str, Any], saved: Path | None) -> None:
        """What the loop reports."""
        if line["kind"] == "eval":
            self.eval_line = line
        step, total = line["step"], line["total_steps"]
        rungs = [math.ceil(share * total) for share in self.job.search.rungs]
        reached = sum(step >= rung for rung in rungs)
        scored = self.lines[-1]["step"] if self.lines else 0
        if step == total or reached <= sum(scored >= rung for rung in rungs):
            return
        if self.job.search.metric == "loss" and line["kind"] == "eval":
            self._add(line, {"value": line["loss"]}, -line["loss"])
        elif self.job.search.metric == "primary" and saved is not None:
            with tempfile.TemporaryDirectory(prefix="trial-") as folder:
                self._export(saved, Path(folder) / "model")
                self._add(line, *self._asked(Path(folder) / "model"))

    def last(self, summary: dict[str, Any]) -> dict[str, Any]:
        """The line of the model that came out."""
        values, goodness = self._asked(self.folder / "model")
        if self.job.search.metric == "loss":
            assert self.config is not None
            is_best = self.config.keep == "best" and summary["best"]
            values["value"] = (summary["best"] if is_best else summary["eval_after"])["loss"]
            goodness = -values["value"]
        if self.lines and self.lines[-1]["share"] == 1:  # an attempt was killed before it wrote its result
            return self.lines[-1]
        where = {"step": summary["steps"], "total_steps": summary["steps"], "tokens": summary["tokens"]}
        return self._add(where, values, goodness, is_told=False)

    def _add(
        self, where: dict[str, Any], values: dict[str, float], goodness: float, *, is_told: bool = True
    ) -> dict[str, Any]:
        same_step = self.eval_line.get("step") == where["step"]
        line = {
            "kind": "eval",
            "time": round(time.time(), 3),
            **{name: where[name] for name in ("step", "total_steps", "tokens")},
            "share": where["step"] / where["total_steps"],
            "seconds": round(self.seconds + time.monotonic() - self.began, 3),
            **({"loss": self.eval_line["loss"]} if same_step else {}),
            **{name: value for name, value in values.items() if math.isfinite(value)},
            "goodness": goodness if math.isfinite(goodness) else WORST,
        }
        self.lines.append(line)
        with (self.folder / "scores.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        if is_told:
            self.report(line)
        return line

    def _asked(self, model: Path) -> tuple[dict[str, float], float]:
        """Metrics of the validation side, and the leading one so that higher is better."""
        gold, task = pq.read_table(self.job.validation), self.job.base.task
        assert task is not None
        scores = score(task, gold, open_model(model).answer(gold))
        name = primary_metric(task, scores.metrics)
        values = scores.values()  # without those that are not defined, such as a correlation with a constant
        sign = 1 if scores.metrics[name].higher_is_better else -1
        return {**values, "value": values.get(name, math.nan)}, sign * values.get(name, math.nan)

    def _export(self, saved: Path, folder: Path) -> None:
        """The model as it was at a checkpoint that is being written."""
        deadline = time.monotonic() + SAVE_TIMEOUT_S
        while not saved.is_dir():
            if time.monotonic() > deadline:
                raise TrialError(f"{saved}: the checkpoint was not written within {SAVE_TIMEOUT_S:.0f} s")
            time.sleep(POLL_S)
        found = open_checkpoint(saved)
        assert self.config is not None
        weights = {**(self._first_weights if self.config.method.chosen else {}), **found.tensors("model")}
        weights |= found.tensors("average") if found.has("average") else {}
        export(self.config, weights, folder)

    @cached_property
    def _first_weights(self) -> dict[str, Tensor]:
        """Before the first step: a checkpoint has not what never changes."""
        assert self.config is not None
        data = build_data(self.config, self.config.train_data)
        return dict(build_model(self.config, data).state_dict())
