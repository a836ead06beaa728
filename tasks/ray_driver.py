"""Launches one training run on Ray Train, in a process of its own: `python -m tasks.ray_driver spec.json`.

A process of its own because a Ray driver whose cluster dies takes its process with it; a flow must outlive that to say
what happened. It ends when its standard input closes, so a flow that is killed leaves no training behind.

Ray's own checkpoint manager is not used: its snapshot file is overwritten in place, and a torn one stops every later
resume. Workers continue from the newest checkpoint in the run's folder that verifies (`bert_core.checkpoint`), both
when Ray restarts them and when the flow is run again.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import filelock
import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from bert_core.config import TrainConfig
from bert_core.train import run

WORKER_RESTARTS = 3
LOCK_WAIT_S = 120
POLL_S = "0.2"
"""Ray's controller takes one report a poll from a worker, which waits for it; by default, 2 s for each."""


def train_worker(spec: dict[str, Any]) -> None:
    """Runs on every Ray Train worker."""
    config = TrainConfig.model_validate(spec["config"])
    work_dir = Path(spec["work_dir"])
    torch.set_num_threads(spec["threads"])
    # The workers of a driver that was killed may live for some seconds more: two runs must not write into one folder.
    lock = filelock.FileLock(work_dir / "lock", timeout=LOCK_WAIT_S)
    rank = ray.train.get_context().get_world_rank()
    if rank == 0:
        lock.acquire()
    try:
        run(config, work_dir=work_dir, report=_report)
    finally:
        lock.release()


def _report(line: dict[str, Any], checkpoint: Path | None) -> None:
    """Tell Ray of what is rare only: a report holds all workers until it is taken, and metrics.jsonl has every line."""
    if line["kind"] == "train":
        return
    metrics = line if checkpoint is None else {**line, "checkpoint": checkpoint.name}
    ray.train.report(metrics)


def launch(spec: dict[str, Any]) -> None:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_S)  # Ray passes it on to its controller
    loopback = os.environ.get("RAY_ADDRESS", "127.").startswith(("127.", "localhost"))
    if loopback:  # nobody preempts one's own machine, and the watcher takes 100 MB
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    ray.init(address=os.environ.get("RAY_ADDRESS"), log_to_driver=False, configure_logging=False)
    environment = {"MALLOC_ARENA_MAX": "2"} | ({"GLOO_SOCKET_IFNAME": "lo"} if loopback else {})
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=spec,
        torch_config=TorchConfig(backend="gloo", timeout_s=600),
        scaling_config=ScalingConfig(num_workers=spec["workers"], resources_per_worker={"CPU": 1}),
        run_config=RunConfig(
            name=f"{spec['config']['name']}-{int(time.time())}",
            storage_path=spec["ray_storage"],
            failure_config=FailureConfig(max_failures=WORKER_RESTARTS),
            worker_runtime_env={"env_vars": environment},  # type: ignore[call-arg]  # Ray types the old RunConfig
        ),
    )
    trainer.fit()


def _end_with_parent() -> None:
    sys.stdin.buffer.read()
    os._exit(1)


def main() -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    launch(json.loads(Path(sys.argv[1]).read_text()))
    os._exit(0)  # Ray's shutdown of a driver waits for seconds, for nothing: all is on disk


if __name__ == "__main__":
    main()
