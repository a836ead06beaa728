"""A training run's metrics in MLflow, logged once each however often the run is resumed.

MLflow is a witness of training, not a part of it: while the server is away, metrics wait, and training goes on.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import requests
from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.metrics.base_metrics_monitor import BaseMetricsMonitor
from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from tasks.registry.server import PATIENCE_S, address, answers, client, insist

BATCH = 100
LARGEST_BATCH = 1000
"""Metrics that MLflow takes in one request."""
AWAY_S = 10.0
"""Between two looks whether a server that went away is back."""
SYSTEM_EVERY_S = 10.0
"""Between two samples of this machine's load."""


class TrackedRun:
    """One MLflow run for one training artifact, found again by the artifact's key when training is resumed.

    Metrics go in against the optimizer step (`train/loss`) and against the tokens seen (`train_by_tokens/loss`), each
    with the time at which it was measured, in batches. The step that was logged last is read back from MLflow at the
    start, because a resumed run repeats the steps since its checkpoint. `system/…` is the load of this machine.

    Raises:
        RegistryUnreachable: at its start or its end the server did not answer for `patience_s`.
    """

    def __init__(
        self,
        experiment: str,
        name: str,
        key: str,
        params: Mapping[str, Any],
        *,
        parent: str | None = None,
        patience_s: float = PATIENCE_S,
    ) -> None:
        """
        Args:
            parent: run that MLflow's page shows this one below.
        """
        self.what = f"metrics of {name}"
        self.patience_s = patience_s
        self.client = client()
        self.tags = {"artifact_key": key} | ({MLFLOW_PARENT_RUN_ID: parent} if parent else {})
        self.run_id = self._insist(lambda: self._open(experiment, name, key, params))
        self.logged_step = self._insist(lambda: {kind: self._last_step(kind) for kind in ("train", "eval")})
        self.system = SystemSamples(self._insist(self._system_samples))
        self.pending: list[Metric] = []
        self.away_until = 0.0

    def log(self, line: Mapping[str, Any]) -> None:
        """One line of metrics.jsonl; lines that MLflow already has are passed over. Never fails for the server's sake.

        Lines that a server did not take wait for the next batch, at last for `finish`.
        """
        kind, step = line["kind"], int(line["step"])
        if step <= self.logged_step.get(kind, math.inf):
            return
        self.logged_step[kind] = step
        at = int(1000 * line["time"])
        skip = {"kind", "step", "total_steps", "time"}
        numbers = {name: value for name, value in line.items() if isinstance(value, int | float) and name not in skip}
        measured = {name: float(value) for name, value in numbers.items()}
        self.pending += [Metric(f"{kind}/{name}", value, at, step) for name, value in measured.items()]
        tokens = measured.pop("tokens", None)
        if tokens is not None:
            self.pending += [
                Metric(f"{kind}_by_tokens/{name}", value, at, int(tokens)) for name, value in measured.items()
            ]
        self._send_when_full()

    def sample_system(self) -> None:
        """Note this machine's load, where the last note is `SYSTEM_EVERY_S` old. Never fails for the server's sake."""
        self.pending += self.system.due()
        self._send_when_full()

    def _send_when_full(self) -> None:
        if len(self.pending) >= BATCH and time.monotonic() >= self.away_until:
            self._try_to_flush()

    def finish(self, metrics: Iterable[Mapping[str, Any]], summary: Mapping[str, Any], pictures: list[Path]) -> None:
        """Complete the run: what it lacks of `metrics` (all lines of metrics.jsonl), pictures, summary, its state."""
        for line in metrics:
            self.log(line)
        self._insist(self._flush)
        for picture in pictures:
            self._insist(lambda picture=picture: self.client.log_artifact(self.run_id, str(picture), "plots"))
        self._insist(lambda: self.client.log_dict(self.run_id, json.loads(json.dumps(summary)), "summary.json"))
        self._insist(lambda: self.client.set_terminated(self.run_id))

    def fail(self) -> None:
        """Mark the run as failed, if the server answers: the cause of the failure must not wait for it."""
        if self._try_to_flush():
            with contextlib.suppress(MlflowException, requests.RequestException):
                self.client.set_terminated(self.run_id, status="FAILED")

    def _open(self, experiment: str, name: str, key: str, params: Mapping[str, Any]) -> str:
        found = self.client.get_experiment_by_name(experiment)
        experiment_id = found.experiment_id if found else self.client.create_experiment(experiment)
        runs = self.client.search_runs([experiment_id], f"tags.artifact_key = '{key}'", max_results=1)
        if runs:
            run_id = str(runs[0].info.run_id)
            self.client.update_run(run_id, status="RUNNING")
        else:
            run_id = str(self.client.create_run(experiment_id, run_name=name, tags=self.tags).info.run_id)
        if not runs or not runs[0].data.params:  # an attempt may have ended between the two requests
            flat = [Param(key, str(value)[:500]) for key, value in _flatten(params)]
            self.client.log_batch(run_id, params=flat[:100], tags=[RunTag("stage", name.split(" ")[0])])
        return run_id

    def _last_step(self, kind: str) -> int:
        history = self.client.get_metric_history(self.run_id, f"{kind}/loss")
        return max((metric.step for metric in history), default=-1)

    def _system_samples(self) -> int:
        """Samples that earlier attempts logged."""
        latest = self.client.get_run(self.run_id).data.metrics
        if SystemSamples.FIRST not in latest:
            return 0
        return 1 + max(metric.step for metric in self.client.get_metric_history(self.run_id, SystemSamples.FIRST))

    def _insist(self, step: Any) -> Any:
        return insist(step, what=self.what, timeout_s=self.patience_s)

    def _flush(self) -> None:
        while self.pending:
            self.client.log_batch(self.run_id, metrics=self.pending[:LARGEST_BATCH])
            self.pending = self.pending[LARGEST_BATCH:]

    def _try_to_flush(self) -> bool:
        try:
            if answers():
                self._flush()
                self.away_until = 0.0
                return True
        except (MlflowException, requests.RequestException) as error:
            print(f"{self.what}: {error}", file=sys.stderr, flush=True)
        if not self.away_until:
            print(f"{self.what} wait: MLflow at {address()} does not answer", file=sys.stderr, flush=True)
        self.away_until = time.monotonic() + AWAY_S
        return False


class SystemSamples:
    """CPU, memory, disk, network and GPU of this machine, by MLflow's own measures and under its names.

    Its monitor is not used as a whole: it gives up for good when the server does not answer once.
    """

    FIRST = "system/cpu_utilization_percentage"

    def __init__(self, number: int) -> None:
        self.number = number
        self.next_at = 0.0
        self.monitors: list[BaseMetricsMonitor] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        with contextlib.suppress(Exception):  # whatever it raises where there is no driver or no GPU
            self.monitors.append(GPUMonitor())
        self.monitors[0].collect_metrics()  # psutil counts the CPU's work since the call before; the first says 0
        self.monitors[0].clear_metrics()

    def due(self) -> list[Metric]:
        """One sample, or nothing where the last one is younger than `SYSTEM_EVERY_S`."""
        if time.monotonic() < self.next_at:
            return []
        self.next_at = time.monotonic() + SYSTEM_EVERY_S
        measured: dict[str, float] = {}
        for monitor in self.monitors:
            monitor.collect_metrics()
            measured |= monitor.aggregate_metrics()
            monitor.clear_metrics()
        at, step = int(1000 * time.time()), self.number
        self.number += 1
        return [Metric(f"system/{name}", float(value), at, step) for name, value in measured.items()]


def _flatten(params: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    flat: list[tuple[str, Any]] = []
    for key, value in params.items():
        name = f"{prefix}{key}"
        flat += _flatten(value, f"{name}.") if isinstance(value, Mapping) else [(name, value)]
    return flat
