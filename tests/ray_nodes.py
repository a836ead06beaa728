"""A Ray of several nodes on this machine, each a process of its own that can be killed as a machine would be lost."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from infra import processes
from infra.processes import ProcessRecord
from infra.services import free_port

LOOPBACK = "127.0.0.1"
OBJECT_STORE_BYTES = 80_000_000
PATIENCE = float(os.environ.get("BERT_FOUNDRY_TEST_PATIENCE", "1"))
"""Factor of every time limit: more than 1 where other work has the cores."""
JOIN_TIMEOUT_S = 120.0 * PATIENCE
RAY = """
import sys
from ray._private import ray_constants, services
from ray.scripts import scripts
services.resolve_ip_for_localhost = lambda host: host
ray_constants.ENABLE_RAY_CLUSTER = True
sys.argv[0] = "ray"
scripts.main()
"""
"""The command `ray`, which joins no nodes over loopback: it turns 127.0.0.1 into the machine's own address, and then
every node listens on all of them; told not to (RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER), it refuses to join any."""
ENVIRONMENT = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
    "RAY_health_check_period_ms": "1000",  # a node that is gone is noticed within 8 s, not 15
    "RAY_health_check_failure_threshold": "8",
    "RAY_raylet_start_wait_time_s": str(int(JOIN_TIMEOUT_S)),  # of a node beside others on busy cores; by default 30
    "GLOO_SOCKET_IFNAME": "lo",
    "OMP_NUM_THREADS": "1",
}
NODES = """
import json, ray
ray.init(address="auto", log_to_driver=False, configure_logging=False)
print(json.dumps({node["NodeName"]: node["NodeID"] for node in ray.nodes() if node["Alive"]}))
"""


@dataclass
class RayNodes:
    """A head without CPUs, and nodes of one CPU each."""

    folder: Path
    port: int = field(default_factory=free_port)
    nodes: dict[str, ProcessRecord] = field(default_factory=dict)
    """By name: `head`, `node-1`, `node-2`, …"""
    started: int = 0

    @property
    def address(self) -> str:
        return f"{LOOPBACK}:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """Of a client; its Ray listens on loopback alone."""
        return {**os.environ, **ENVIRONMENT, "RAY_ADDRESS": self.address}

    def start_head(self) -> None:
        shutil.rmtree(self.temporary, ignore_errors=True)
        self._start(
            "head", "--head", "--port", str(self.port), "--num-cpus", "0", "--include-dashboard", "false",
            "--ray-client-server-port", str(free_port()),
        )  # fmt: skip
        self._wait_for("head")

    def add(self, count: int = 1) -> None:
        """Start nodes, and return when they have joined."""
        names = [f"node-{self.started + number}" for number in range(count)]
        for name in names:
            self._start(name, "--address", self.address, "--num-cpus", "1")
        for name in names:
            self._wait_for(name)

    def kill(self, name: str) -> None:
        """SIGKILL to the node's raylet and to all that runs on it, at once."""
        for pid in processes.members(self.nodes.pop(name)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def drain(self, name: str, grace_s: int) -> None:
        """The notice that clouds give before they take a machine away."""
        reason = ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "test"]
        command = ["-c", RAY, "drain-node", "--address", self.address, "--node-id", self._ids()[name], *reason]
        self._run([*command, "--deadline-remaining-seconds", str(grace_s)])

    def _ids(self) -> dict[str, str]:
        """Ray's ids of the living nodes, by name."""
        found: dict[str, str] = json.loads(self._run(["-c", NODES]).splitlines()[-1])
        return found

    def _run(self, arguments: list[str]) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=JOIN_TIMEOUT_S)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    @property
    def temporary(self) -> Path:
        """In /tmp: Ray makes sockets some 70 characters deeper, and a socket's path may have 107."""
        return Path("/tmp") / f"ray-nodes-{self.port}"

    def _start(self, name: str, *arguments: str) -> ProcessRecord:
        command = [sys.executable, "-c", RAY, "start", "--block", "--disable-usage-stats", *arguments]
        command += ["--node-ip-address", LOOPBACK]
        command += ["--object-store-memory", str(OBJECT_STORE_BYTES)]
        # Chosen here: a raylet waits 15 s for agents that choose, and dies, where busy cores give them no more.
        for port in ("metrics-export", "dashboard-agent-grpc", "dashboard-agent-listen", "runtime-env-agent"):
            command += [f"--{port}-port", str(free_port())]
        command += ["--min-worker-port", "0", "--max-worker-port", "0"]  # nodes share this machine's ports
        own = self.temporary / str(self.started)  # two that start together in one folder take the same names
        own.mkdir(parents=True, exist_ok=True)
        command += ["--temp-dir", str(own), "--node-name", name]
        record = processes.spawn(command, {**os.environ, **ENVIRONMENT}, self.folder / f"{name}.log")
        self.nodes[name] = record
        self.started += 1
        return record

    def _wait_for(self, name: str) -> None:
        log, deadline = self.folder / f"{name}.log", time.monotonic() + JOIN_TIMEOUT_S
        while "Ray runtime started" not in log.read_text(errors="replace"):
            assert time.monotonic() < deadline, processes.tail(log)
            time.sleep(0.2)

    def stop(self) -> None:
        for node in reversed(self.nodes.values()):
            processes.stop(node, 6.0)
        shutil.rmtree(self.temporary, ignore_errors=True)


@contextlib.contextmanager
def ray_nodes(folder: Path, count: int) -> Iterator[RayNodes]:
    """`count` nodes of one CPU, and their head."""
    found = RayNodes(folder)
    try:
        found.start_head()
        found.add(count)
        yield found
    finally:
        found.stop()


@dataclass
class Training:
    """One run of `tasks.ray_driver`, seen from outside."""

    work_dir: Path
    driver: subprocess.Popen[bytes]

    @classmethod
    def start(cls, nodes: RayNodes, config: dict[str, Any], work_dir: Path, *, poll_s: float, **more: Any) -> Training:
        """
        Args:
            poll_s: between two looks of Ray at its workers; a checkpoint is reported at one, so it sets a run's pace.
        """
        work_dir.mkdir(exist_ok=True)
        spec = {"config": config, "work_dir": str(work_dir), "ray_storage": str(nodes.folder), "mirror": None, **more}
        (work_dir / "spec.json").write_text(json.dumps(spec))
        environment = nodes.environment | {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": str(poll_s)}
        with (work_dir / "driver.log").open("ab") as log:
            command = [sys.executable, "-m", "tasks.ray_driver", str(work_dir / "spec.json")]
            driver = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=log, stderr=subprocess.STDOUT
            )
        return cls(work_dir, driver)

    @property
    def world_sizes(self) -> list[int]:
        """How many workers there were, from the first start to the last."""
        path = self.work_dir / "attempts.jsonl"
        return [json.loads(line)["world_size"] for line in path.read_text().splitlines()] if path.exists() else []

    @property
    def newest(self) -> int:
        """Step of the newest checkpoint."""
        return max((int(path.name[-8:]) for path in self.work_dir.glob("checkpoints/step-*")), default=0)

    def wait_for(self, what: str, condition: Any, timeout_s: float) -> None:
        timeout_s *= PATIENCE
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.driver.poll() is None, f"ended before {what}:\n{self.log()}"
            assert time.monotonic() < deadline, f"{what}: not within {timeout_s} s; {self.world_sizes}\n{self.log()}"
            time.sleep(0.1)

    def finish(self, timeout_s: float) -> dict[str, Any]:
        assert self.driver.wait(timeout_s * PATIENCE) == 0, self.log()
        summary: dict[str, Any] = json.loads((self.work_dir / "summary.json").read_text())
        return summary

    def log(self) -> str:
        return (self.work_dir / "driver.log").read_text(errors="replace")[-4000:]

    def end(self) -> None:
        if self.driver.poll() is None:
            assert self.driver.stdin is not None
            self.driver.stdin.close()
            self.driver.wait(20)
