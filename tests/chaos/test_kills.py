"""kill -9 in the middle of pretraining, then the same command: it continues, and the weights are bit-identical."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.interrupted import descendants, night, own_foundry, unpublished
from tests.nights import Foundry

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def foundry(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    with own_foundry(tmp_path_factory.mktemp("kills"), data_folder) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(foundry: Foundry) -> str:
    """Content hash of the weights of a run that nobody disturbs."""
    foundry.run(night(foundry))
    (manifest,) = foundry.manifests("pretrain")
    return str(manifest["content"])


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
    with unpublished(foundry, tmp_path) as run:
        flow = run.start()
        kill(foundry, psutil.Process(flow.pid))
        status = flow.wait(300)
        if kill is not kill_worker:
            assert status != 0
            assert not run.published.exists()
            foundry.run(night(foundry))
        log = (run.published / "driver.log").read_text(errors="replace") + run.said()
        assert run.content() == undisturbed, log[-4000:]
