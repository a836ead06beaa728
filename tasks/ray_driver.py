"""Launches one training run on Ray Train, in a process of its own: `python -m tasks.ray_driver spec.json`.

A process of its own because a Ray driver whose cluster dies takes its process with it; a flow must outlive that to say
what happened. It ends when its standard input closes, so a flow that is killed leaves no training behind.

Ray's own checkpoint manager is not used: its snapshot file is overwritten in place, and a torn one stops every later
resume. Workers continue from the newest checkpoint in the run's folder that verifies (`bert_core.checkpoint`), both
when Ray restarts them, with as many of them as the cluster then has room for, and when the flow is run again.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import filelock
import ray
import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from bert_core.config import TrainConfig
from bert_core.files import write_json
from bert_core.memory import keep_freed_memory
from bert_core.train import run

FAILURES = 3
"""Failures without a checkpoint between them, after which a run ends."""
LOCK_WAIT_S = 120
POLL_S = "0.2"
"""Ray's controller takes one report a poll from a worker, which waits for it; by default, 2 s for each."""
NOTICE_POLL_S = "2"
"""Between two looks for a notice of preemption, which clouds give 30 to 120 s ahead."""
START_TIMEOUT_S = "30"
"""Ray may place workers on a node that is gone already; it tries again after this time. Its default is 60 s."""
RESIZE_CHECK_S = 60.0
"""Between two looks whether an elastic run may have more workers. A change costs a restart of some 20 s."""
COLLECTIVE_GRACE_S = 60
"""A rank that hangs is named (runtime.hang_timeout_s) before the others' collectives give up waiting for it."""


def train_worker(spec: dict[str, Any]) -> None:
    """Runs on every Ray Train worker."""
    config = TrainConfig.model_validate(spec["config"])
    work_dir = Path(spec["work_dir"])
    keep_freed_memory()
    torch.set_num_threads(threads := spec.get("threads") or _threads())
    # The workers of a driver that was killed may live for some seconds more: two runs must not write into one folder.
    lock = filelock.FileLock(work_dir / "lock", timeout=LOCK_WAIT_S)
    context = ray.train.get_context()
    if context.get_world_rank() == 0:
        lock.acquire()
        with (work_dir / "attempts.jsonl").open("a") as file:
            attempt = {"time": round(time.time(), 3), "world_size": context.get_world_size(), "threads": threads}
            file.write(json.dumps(attempt) + "\n")
    try:
        notice = PreemptionNotice() if spec["watch_preemption"] else None
        run(config, work_dir=work_dir, report=_report, preempted=notice, mirror=spec["mirror"])
    finally:
        lock.release()


class PreemptionNotice:
    """Whether a node of this run is about to be taken away, True once for each node; all ranks call it together."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def __call__(self) -> bool:
        info = ray.train.get_preemption_info()
        new = set(info.preempted_node_ids) - self.known if info else set()
        self.known |= new
        return bool(new)


class Restarts(UserCallback):
    """Ends a run whose next attempt would end like this one, and leaves the cause in `failure.json`.

    An error of ours (a loss that is not a number, a damaged shard) comes again from the same checkpoint. Any other may
    be the machine's, and Ray starts the workers again, unless no checkpoint was written since the failures before.
    """

    def __init__(self, work_dir: Path) -> None:
        self.work_dir = work_dir
        self.newest = ""
        self.failures = 0

    def after_exception(self, run_context: Any, worker_exceptions: Mapping[int, Exception]) -> None:
        if any(_is_preemption(error) for error in worker_exceptions.values()):
            return  # told again at each poll until the node is gone; Ray has an account of its own for it
        errors = {rank: getattr(error, "_base_exc", error) for rank, error in worker_exceptions.items()}
        own = {rank: error for rank, error in errors.items() if type(error).__module__.startswith("bert_core.")}
        newest = max((path.name for path in (self.work_dir / "checkpoints").glob("step-*")), default="")
        self.failures = self.failures + 1 if newest == self.newest else 1
        self.newest = newest
        if own or self.failures > FAILURES:
            rank, error = next(iter((own or errors).items()))
            cause = {"rank": rank, "kind": type(error).__name__, "message": str(error), "ours": bool(own)}
            write_json(self.work_dir / "failure.json", cause)
            raise RuntimeError(f"rank {rank}: {cause['kind']}: {error}")


def _is_preemption(error: Exception) -> bool:
    death = getattr(error, "health_check_failure", error)  # Ray wraps the death of a worker in its failed health check
    return bool(getattr(death, "preempted", False))


def _threads() -> int:
    """Cores of this worker's node, as Ray counts them there, shared among the workers on it."""
    here = ray.get_runtime_context().get_node_id()
    counted = next((node["Resources"].get("CPU", 1) for node in ray.nodes() if node["NodeID"] == here), 1)
    cores = min(int(counted), len(os.sched_getaffinity(0)))
    return max(1, cores // ray.train.get_context().get_local_world_size())


def _report(line: dict[str, Any], checkpoint: Path | None) -> None:
    """Tell Ray of what is rare only: a report holds all workers until it is taken, and metrics.jsonl has every line."""
    if line["kind"] == "train":
        return
    metrics = line if checkpoint is None else {**line, "checkpoint": checkpoint.name}
    ray.train.report(metrics)


def launch(spec: dict[str, Any]) -> None:
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", POLL_S)  # Ray passes these on to its controller
    os.environ.setdefault("RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S", NOTICE_POLL_S)
    os.environ.setdefault("RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S", START_TIMEOUT_S)
    loopback = os.environ.get("RAY_ADDRESS", "127.").startswith(("127.", "localhost"))
    join_or_start()
    alone = loopback and sum(node["Alive"] for node in ray.nodes()) == 1
    if alone:  # nobody preempts one's own machine, and the watcher takes 100 MB
        os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    spec["watch_preemption"] = os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "1") == "1"
    workers = spec["workers"] if isinstance(spec["workers"], int) else tuple(spec["workers"])
    on_gpu = ray.cluster_resources().get("GPU", 0) >= (workers if isinstance(workers, int) else workers[0])
    environment = {"MALLOC_ARENA_MAX": "2"} | ({"GLOO_SOCKET_IFNAME": "lo"} if loopback else {})
    hang_timeout_s = spec["config"]["runtime"]["hang_timeout_s"]
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=spec,
        torch_config=TorchConfig(
            backend="cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout_s=int(hang_timeout_s) + COLLECTIVE_GRACE_S
        ),
        scaling_config=ScalingConfig(  # type: ignore[call-arg]  # Ray types the old configs
            num_workers=workers,  # type: ignore[arg-type]
            use_gpu=on_gpu,
            resources_per_worker={"CPU": 1} | ({"GPU": 1} if on_gpu else {}),
            elastic_resize_monitor_interval_s=spec.get("resize_check_s", RESIZE_CHECK_S),
        ),
        run_config=RunConfig(  # type: ignore[call-arg]
            name=f"{spec['config']['name']}-{int(time.time())}",
            storage_path=spec["ray_storage"],
            failure_config=FailureConfig(max_failures=-1),  # `Restarts` says when it is enough
            callbacks=[Restarts(Path(spec["work_dir"]))],  # type: ignore[list-item]
            worker_runtime_env={"env_vars": environment},
        ),
    )
    trainer.fit()


def join_or_start() -> None:
    """The cluster that `RAY_ADDRESS` names, or one of our own for this job alone."""
    if address := os.environ.get("RAY_ADDRESS"):
        ray.init(address=address, log_to_driver=False, configure_logging=False)
        return
    # Ray's 15 lets its own processes interrupt training whenever they like: 14% slower than torchrun where training
    # has both of two cores, 7% to 10% with 0 (benchmarks/ray_overhead.py).
    os.environ.setdefault("RAY_worker_niceness", "0")
    ray.init(include_dashboard=False, log_to_driver=False, configure_logging=False)


def end_with_parent() -> None:
    """End this process when its standard input closes: whoever started it is gone, or wants it to end."""
    while os.read(sys.stdin.fileno(), 1024):  # sys.stdin's own lock would abort the interpreter as it ends
        pass
    os._exit(1)


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    launch(json.loads(Path(sys.argv[1]).read_text()))
    os._exit(0)  # Ray's shutdown of a driver waits for seconds, for nothing: all is on disk


if __name__ == "__main__":
    main()
