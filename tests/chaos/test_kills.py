"""kill -9 in the middle of pretraining, then the same command: it continues, and the weights are bit-identical."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from infra import stack as stacks
from tests.nights import Foundry
from tests.sites import free_port, review_site

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]
NIGHT = "2002-10-04"
LONGER = ("pretrain.steps=60", "pretrain.checkpoint_every=5", "pretrain.batch.rows=64")


@pytest.fixture(scope="module")
def foundry(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    """A stack of its own, because Ray is killed here, and the site of day 1."""
    folder = tmp_path_factory.mktemp("kills")
    port = free_port()
    ports = {name: str(free_port()) for name in ("PREFECT", "MLFLOW", "RAY", "DASHBOARD")}
    own = {f"BERT_FOUNDRY_{name}_PORT": number for name, number in ports.items()}
    own |= dict.fromkeys(("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"), "")
    found = Foundry(folder / "home", f"http://127.0.0.1:{port}", own)
    with review_site(1, port, data_folder, folder / "site.log", 60):
        try:
            yield found
        finally:
            found.run(found.command("down"))


@pytest.fixture(scope="module")
def undisturbed(foundry: Foundry) -> str:
    """Content hash of the weights of a run that nobody disturbs."""
    foundry.run(foundry.night(NIGHT, *LONGER))
    (manifest,) = foundry.manifests("pretrain")
    return str(manifest["content"])


def descendants(foundry: Foundry, name: str) -> list[psutil.Process]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_HOME", str(foundry.home))
        for variable, value in foundry.environment.items():
            patch.setenv(variable, value)
        pids = stacks.current().pids()
    return [process for process in map(psutil.Process, pids) if name in " ".join(process.cmdline())]


def kill_flow(foundry: Foundry, flow: psutil.Process) -> None:
    flow.send_signal(signal.SIGKILL)


def kill_worker(foundry: Foundry, flow: psutil.Process) -> None:
    workers = descendants(foundry, "RayTrainWorker")
    assert len(workers) == 2
    workers[-1].send_signal(signal.SIGKILL)


def kill_ray(foundry: Foundry, flow: psutil.Process) -> None:
    for name in ("gcs_server", "raylet"):
        for process in descendants(foundry, f"/{name}"):
            process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("kill", [kill_flow, kill_worker, kill_ray])
def test_a_killed_run_continues_to_the_same_weights(
    foundry: Foundry, undisturbed: str, tmp_path: Path, kill: Callable[[Foundry, psutil.Process], None]
) -> None:
    published = foundry.home / "store" / "pretrain"
    (whole,) = published.glob("small-*")
    whole.rename(tmp_path / whole.name)  # as if this night had never been pretrained
    try:
        flow = foundry.start(foundry.night(NIGHT, *LONGER), tmp_path / "killed.log")
        partial = published / f"{whole.name}.partial"
        deadline = time.monotonic() + 240
        while not list(partial.glob("checkpoints/step-*")):
            assert flow.poll() is None, (tmp_path / "killed.log").read_text()[-4000:]
            assert time.monotonic() < deadline, "no checkpoint within 240 s"
            time.sleep(0.05)
        kill(foundry, psutil.Process(flow.pid))
        status = flow.wait(300)
        if kill is not kill_worker:
            assert status != 0
            assert not whole.exists()
            foundry.run(foundry.night(NIGHT, *LONGER))
        log = (whole / "driver.log").read_text(errors="replace") + (tmp_path / "killed.log").read_text(errors="replace")
        (manifest,) = foundry.manifests("pretrain")
        assert manifest["content"] == undisturbed, log[-4000:]
    finally:
        if not whole.exists():
            os.rename(tmp_path / whole.name, whole)
