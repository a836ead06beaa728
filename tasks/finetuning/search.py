"""Hyper-parameter search: trials on Ray Tune, shown as they go, each kept in MLflow below the search.

While it goes on, its folder in the store holds Tune's state, the trials' folders, and how long it took so far.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_table_artifact
from pydantic import SerializerFunctionWrapHandler, model_serializer

from bert_core.metrics import primary_metric
from tasks.artifacts import ArtifactRef, Draft, verify
from tasks.config.search import Range, SearchConfig
from tasks.finetuning.search_drive import drive
from tasks.finetuning.search_follow import Follower, clear
from tasks.finetuning.train import TaskTrainSpec, train_config
from tasks.finetuning.trial import Job
from tasks.finetuning.trials import BROKEN, OPEN, Trial, best, read_trials, rows, write_outcome
from tasks.stage import artifact_key, progress, stage
from tasks.tracking import TrackedRun
from tasks.train import CARRYING_OUT

PASSING = ("tune", "job.json", "spent.json")
"""What a search needs only while it is under way."""


class SearchError(RuntimeError):
    """No trial came to a measurement; the message has the first one's cause."""


class SearchSpec(TaskTrainSpec):
    """What decides which trials there are, and what they find."""

    search: SearchConfig

    @model_serializer(mode="wrap")
    def _identity(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        identity = dump(self)
        passing = {"train": CARRYING_OUT, "search": {"concurrent"}}
        return {
            name: {key: each for key, each in value.items() if key not in passing[name]} if name in passing else value
            for name, value in identity.items()
        }


@stage("search", code="tasks.finetuning.trial", resume=True)
def search(config: SearchSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Try the settings of the space on the validation side, and keep what is best; interrupted, it continues."""
    prepared, features, start = inputs
    for source in filter(None, inputs):
        verify(source)
    job = _job(config, prepared, features, start, out.path)
    metric = metric_name(config)
    key = out.path.name.removesuffix(".partial")
    about = TrackedRun(config.experiment, f"search {config.name}", key, config.search.model_dump(mode="json"))
    follower = Follower(config, job, key, about.run_id, metric, progress(f"search {config.name}"))
    try:
        is_done = drive(job, config.search.minutes, follower.look)
    except BaseException:
        follower.fail()
        about.fail()
        raise
    finally:  # whatever ends it, what is known by now is written down
        trials = read_trials(out.path)
        write_outcome(out.path, trials, metric, log_keys(config.search))
    chosen = best(trials)
    if chosen is None:
        cause = next((trial.reason for trial in trials if trial.reason), "the time was up before the first measurement")
        raise SearchError(f"no trial of {len(trials)} was measured: {cause} (whole log: {out.path / 'driver.log'})")
    follower.finish()
    pictures = [out.path / "trials.png"]
    facts = {**_facts(config, trials, chosen, metric), "is_complete": is_done}
    about.finish([], facts, pictures)
    _show(config, trials, metric)
    _keep(out, trials)
    out.facts |= facts | {"mlflow_run": about.run_id}


def metric_name(config: SearchSpec) -> str:
    """Of what trials are compared by."""
    return "loss" if config.search.metric == "loss" else primary_metric(config.task)


def log_keys(search: SearchConfig) -> list[str]:
    return [key for key, dimension in search.space.items() if isinstance(dimension, Range) and dimension.log]


def _job(
    config: SearchSpec, prepared: ArtifactRef, features: ArtifactRef, start: ArtifactRef | None, work_dir: Path
) -> Job:
    return Job(
        base=train_config(config, features, start),
        search=config.search,
        validation=str(prepared / "validation.parquet"),
        work_dir=str(work_dir),
    )


def _facts(config: SearchSpec, trials: Sequence[Trial], chosen: Trial, metric: str) -> dict[str, Any]:
    return {
        "best": chosen.values,
        "metric": metric,
        "value": chosen.value,
        "best_trial": chosen.number,
        "algorithm": config.search.algorithm,
        "seconds_in_trials": round(sum(trial.seconds for trial in trials), 1),
    }


def _show(config: SearchSpec, trials: Sequence[Trial], metric: str) -> None:
    """On the task's page in Prefect."""
    table = [{name: str(value) for name, value in row.items()} for row in rows(trials, metric)]
    create_table_artifact(
        table, key=artifact_key(f"{config.name}-trials"), description=f"{len(trials)} trials of {config.name}"
    )
    print(f"search {config.name}: {len(trials)} trials", file=sys.stderr, flush=True)


def _keep(out: Draft, trials: Sequence[Trial]) -> None:
    """Leave what tells of the search; of the trials their measurements."""
    for name in PASSING:
        path = out.path / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    for trial in trials:
        clear(out.path / "trials" / trial.key)  # a stopped trial's last checkpoint may have come after the first time
        if trial.status == BROKEN:
            out.drop(f"failed: {trial.reason.partition(':')[0]}")
        elif trial.status == OPEN:
            out.drop("out of time")
    out.rows = {"trials": len(trials)}
    out.rows |= {status: sum(trial.status == status for trial in trials) for status in ("finished", "stopped")}
    files = (file.relative_to(out.path).as_posix() for file in out.path.rglob("*") if file.is_file())
    out.volatile |= {file for file in files if file != "best.json"}
