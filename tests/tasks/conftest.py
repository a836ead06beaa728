"""A real MLflow server for the tests of this folder, and a tiny model to register."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests


@dataclass
class MlflowServer:
    """One server on a free port of loopback, SQLite in `folder`; it can be killed and started again at its address."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start, and return at once."""
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                    *("--backend-store-uri", f"sqlite:///{self.folder}/mlflow.db", "--workers", "1"),
                    *("--artifacts-destination", str(self.folder / "artifacts")),
                ],
                env=os.environ | {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, timeout_s: float = 120) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            assert self.process is not None
            assert self.process.poll() is None, (self.folder / "server.log").read_text()
            try:
                if requests.get(f"{self.address}/health", timeout=1).ok:
                    return
            except requests.RequestException:
                time.sleep(0.2)
        raise TimeoutError((self.folder / "server.log").read_text())

    def kill(self) -> None:
        """SIGKILL to the server and its worker: the process group that this object started."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def running_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), free_port())
    server.begin()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture
def mlflow_server(
    running_mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowServer]:
    """The session's server, and an empty home for the promotion log; tests use model names of their own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running_mlflow.address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    yield running_mlflow
    if running_mlflow.process is None:  # a test killed it and did not come to start it again
        running_mlflow.begin()
        running_mlflow.wait()
