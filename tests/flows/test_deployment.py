"""The nightly run on a schedule, on the real Prefect server: created, updated, and run by a worker."""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import httpx
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from flows.deployments import POOL, create, run_environment, schedule, worker_command
from flows.recipe import load_recipe
from infra.services import free_port
from infra.stack import Stack
from tests.nights import RECIPE
from tests.sites import review_site

RUN_TIMEOUT_S = 400.0
END_STATES = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}


class Prefect:
    """The server's API, as a person with curl uses it."""

    def __init__(self, address: str) -> None:
        self.http = httpx.Client(base_url=address, timeout=30)

    def deployments(self, name: str) -> list[dict[str, Any]]:
        body = {"deployments": {"name": {"any_": [name]}}}
        return list(self.http.post("/deployments/filter", json=body).json())

    def start(self, deployment: dict[str, Any], **parameters: Any) -> str:
        answer = self.http.post(f"/deployments/{deployment['id']}/create_flow_run", json={"parameters": parameters})
        assert answer.is_success, answer.text
        return str(answer.json()["id"])

    def end(self, flow_run: str) -> dict[str, Any]:
        deadline = time.monotonic() + RUN_TIMEOUT_S
        while (run := self.http.get(f"/flow_runs/{flow_run}").json())["state_type"] not in END_STATES:
            assert time.monotonic() < deadline, run["state_name"]
            time.sleep(1)
        return dict(run)

    def logs(self, flow_run: str) -> str:
        body = {"logs": {"flow_run_id": {"any_": [flow_run]}}, "limit": 200}
        return "\n".join(line["message"] for line in self.http.post("/logs/filter", json=body).json())


@pytest.fixture
def prefect(stack: Stack) -> Prefect:
    return Prefect(stack.prefect_api_url)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    return tmp_path / "home"


def deploy(stack: Stack, overrides: list[str], *, cron: str = "0 3 * * *", timezone: str = "Europe/Berlin") -> None:
    recipe = load_recipe(str(RECIPE), overrides)
    parameters = {"recipe": recipe.model_dump(mode="json")}
    environment = run_environment(stack)
    # Prefect reads its environment when it is imported, which another test has done before the server was there.
    with temporary_settings({PREFECT_API_URL: stack.prefect_api_url}):
        asyncio.run(create(recipe.name, parameters, environment, cron=cron, timezone=timezone, active=False))


@pytest.fixture
def worker(stack: Stack, home: Path, tmp_path: Path) -> Iterator[Path]:
    """A worker that knows the Prefect server and nothing else, in a folder of its own; its log."""
    log = tmp_path / "worker.log"
    others = {"BERT_FOUNDRY_HOME", "BERT_FOUNDRY_STORE", "MLFLOW_TRACKING_URI", "RAY_ADDRESS"}
    environment = {name: value for name, value in os.environ.items() if name not in others}
    (tmp_path / "elsewhere").mkdir()
    with log.open("wb") as out:
        process = subprocess.Popen(
            worker_command(), cwd=tmp_path / "elsewhere", env=environment, stdout=out, stderr=subprocess.STDOUT
        )
    try:
        yield log
    finally:
        process.terminate()
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_worker_runs_the_night_that_the_api_asks_for(
    stack: Stack, prefect: Prefect, home: Path, data_folder: Path, tmp_path: Path, worker: Path
) -> None:
    port = free_port()
    host = f"127.0.0.1:{port}"
    where = [f'sources.site.seeds=["http://{host}/"]', f'sources.site.allow_private_hosts=["{host}"]']
    names = ['name="scheduled"', 'registry.model_name="scheduled"', 'registry.experiment="scheduled"']
    deploy(stack, [*where, *names])
    (deployment,) = prefect.deployments("scheduled")
    with review_site(1, port, data_folder, tmp_path / "site.log", 60):
        run = prefect.end(prefect.start(deployment, as_of="2002-10-04"))
    said = f"{prefect.logs(run['id'])[-6000:]}\n{worker.read_text()[-3000:]}"
    assert run["state_type"] == "COMPLETED", said
    assert run["name"] == "scheduled 2002-10-04"
    assert list((home / "store" / "promote").glob("scheduled-*/manifest.json")), said
    shown = {"artifacts": {"flow_run_id": {"any_": [run["id"]]}, "type": {"any_": ["markdown"]}}}
    assert "scheduled version 1" in prefect.http.post("/artifacts/filter", json=shown).text


@pytest.mark.slow
def test_a_second_deployment_of_a_name_updates_the_first(stack: Stack, prefect: Prefect, home: Path) -> None:
    deploy(stack, ['name="twice"'])
    (before,) = prefect.deployments("twice")
    assert [each["schedule"]["cron"] for each in before["schedules"]] == ["0 3 * * *"]
    deploy(stack, ['name="twice"', "pretrain.steps=7"], cron="30 4 * * 1-5", timezone="UTC")
    (after,) = prefect.deployments("twice")
    assert after["id"] == before["id"]
    assert [(each["schedule"]["cron"], each["schedule"]["timezone"]) for each in after["schedules"]] == [
        ("30 4 * * 1-5", "UTC")
    ]
    assert after["parameters"]["recipe"]["pretrain"]["steps"] == 7
    assert after["work_pool_name"] == POOL
    assert after["paused"]
    assert after["concurrency_options"]["collision_strategy"] == "CANCEL_NEW"
    assert after["job_variables"]["env"]["BERT_FOUNDRY_HOME"] == str(home)


@pytest.mark.parametrize(
    ("cron", "timezone"), [("every night", "UTC"), ("61 3 * * *", "UTC"), ("0 3 * * *", "Mars/Phobos"), ("", "UTC")]
)
def test_a_bad_schedule_is_told_with_both_values(cron: str, timezone: str) -> None:
    with pytest.raises(click.BadParameter) as caught:
        schedule(cron, timezone)
    assert repr(cron) in str(caught.value)
    assert repr(timezone) in str(caught.value)
