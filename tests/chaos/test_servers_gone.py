"""kill -9 of the MLflow or the Prefect server in the middle of pretraining: nothing is lost or half-published."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interrupted import members, night, own_foundry, unpublished
from tests.nights import Foundry

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(1800)]
TIMEOUT_S = 500.0
"""Some seconds on idle cores; a client's patience with a server is two minutes."""


@pytest.fixture(scope="module")
def foundry(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Foundry]:
    with own_foundry(tmp_path_factory.mktemp("servers"), data_folder) as found:
        yield found


@pytest.fixture(scope="module")
def undisturbed(foundry: Foundry) -> str:
    """Content hash of the weights of a run that nobody disturbs."""
    foundry.run(night(foundry), timeout_s=TIMEOUT_S)
    (manifest,) = foundry.manifests("pretrain")
    return str(manifest["content"])


def kill(foundry: Foundry, service: str) -> None:
    for process in members(foundry, service):
        process.send_signal(signal.SIGKILL)


def address(foundry: Foundry, service: str) -> str:
    return f"127.0.0.1:{foundry.environment[f'BERT_FOUNDRY_{service.upper()}_PORT']}"


@pytest.mark.parametrize("service", ["mlflow", "prefect"])
def test_training_goes_on_while_a_server_is_away_and_ends_when_it_is_back(
    foundry: Foundry, undisturbed: str, tmp_path: Path, service: str
) -> None:
    with unpublished(foundry, tmp_path) as run:
        flow = run.start()
        kill(foundry, service)
        foundry.run(foundry.command("up"), timeout_s=TIMEOUT_S)
        assert flow.wait(TIMEOUT_S) == 0, run.said()[-4000:]
        assert run.content() == undisturbed


@pytest.mark.parametrize("service", ["mlflow", "prefect"])
def test_a_server_that_stays_away_is_explained_and_the_same_command_continues(
    foundry: Foundry, undisturbed: str, tmp_path: Path, service: str
) -> None:
    with unpublished(foundry, tmp_path) as run:
        flow = run.start()
        kill(foundry, service)
        assert flow.wait(TIMEOUT_S) == 1, run.said()[-4000:]
        explanation = run.said()[run.said().rindex("error: ") :]
        assert len(explanation.splitlines()) < 5, explanation
        for part in (address(foundry, service), "`bert-foundry up`", "same command"):
            assert part in explanation
        assert run.published.exists() == (run.published / "manifest.json").exists()
        trained = (run.partial / "summary.json").exists() or run.published.exists()
        assert trained, "the steps were all taken before anybody gave up"
        foundry.run(night(foundry), timeout_s=TIMEOUT_S)
        assert run.content() == undisturbed
