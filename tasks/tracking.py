"""A training run's metrics in MLflow, logged once each however often the run is resumed."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.tracking import MlflowClient

BATCH = 50


class TrackedRun:
    """One MLflow run for one training artifact, found again by the artifact's key when training is resumed.

    Metrics go in against the optimizer step, in batches. The step that was logged last is read back from MLflow at the
    start, because a resumed run repeats the steps since its checkpoint.
    """

    def __init__(self, experiment: str, name: str, key: str, params: Mapping[str, Any]) -> None:
        self.client = MlflowClient()
        found = self.client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else self.client.create_experiment(experiment)
        runs = self.client.search_runs([experiment_id], f"tags.artifact_key = '{key}'", max_results=1)
        if runs:
            self.run_id = runs[0].info.run_id
            self.client.update_run(self.run_id, status="RUNNING")
        else:
            run = self.client.create_run(experiment_id, run_name=name, tags={"artifact_key": key})
            self.run_id = run.info.run_id
            flat = [Param(key, str(value)[:500]) for key, value in _flatten(params)]
            self.client.log_batch(self.run_id, params=flat[:100], tags=[RunTag("stage", name.split(" ")[0])])
        self.logged_step = {
            kind: max(
                (metric.step for metric in self.client.get_metric_history(self.run_id, f"{kind}/loss")), default=-1
            )
            for kind in ("train", "eval")
        }
        self.pending: list[Metric] = []

    def log(self, line: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl; lines that MLflow already has are passed over."""
        kind, step = line["kind"], int(line["step"])
        if step <= self.logged_step.get(kind, math.inf):
            return
        self.logged_step[kind] = step
        at = int(1000 * line["time"])
        skip = {"kind", "step", "total_steps", "time"}
        self.pending += [
            Metric(f"{kind}/{name}", float(value), at, step) for name, value in line.items() if name not in skip
        ]
        if len(self.pending) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self.pending:
            self.client.log_batch(self.run_id, metrics=self.pending)
            self.pending = []

    def finish(self, summary: Mapping[str, Any], pictures: list[Path]) -> None:
        self.flush()
        for picture in pictures:
            self.client.log_artifact(self.run_id, str(picture), "plots")
        self.client.log_dict(self.run_id, json.loads(json.dumps(summary)), "summary.json")
        self.client.set_terminated(self.run_id)

    def fail(self) -> None:
        self.flush()
        self.client.set_terminated(self.run_id, status="FAILED")


def _flatten(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in params.items():
        name = f"{prefix}{key}"
        flat += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat
