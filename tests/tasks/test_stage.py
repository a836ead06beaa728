"""A stage as a Prefect task, on the real server: what its page shows, what is found again, what a failure leaves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from infra.stack import Stack

# In a process of its own, as Prefect reads its addresses once, when it is imported
FLOW = """
import json, os, sys
from pathlib import Path
from prefect import flow
from tasks import artifacts
from tasks.stage import progress, stage

@stage("count", code="tasks.plan")
def count(config, inputs, out):
    '''Count to config["to"].'''
    Path(os.environ["BERT_FOUNDRY_HOME"], "built").open("a").write("x")
    show = progress("counting words")
    for number in range(config["to"]):
        show(number, config["to"])
    show(config["to"], config["to"])
    (out.path / "numbers.txt").write_text(str(config["to"]))
    if config.get("fail"):
        raise ValueError("the thirteenth word is bad")
    out.rows = {"seen": config["to"], "kept": config["to"] - 1}
    out.drop("too long | odd")

@flow(name="counting", flow_run_name="counting {run}", persist_result=False)
def counting(run, config):
    return count("tiny", config, as_of="2002-10-04").model_dump()

print(json.dumps(counting(sys.argv[1], json.loads(sys.argv[2]))))
"""


class Counting:
    """Runs the flow against the suite's Prefect server, over a store."""

    def __init__(self, stack: Stack, home: Path, name: str) -> None:
        self.api, self.home, self.name, self.runs = stack.prefect_api_url, home, name, 0
        home.mkdir(exist_ok=True)

    def __call__(self, **config: Any) -> subprocess.CompletedProcess[str]:
        """Configs carry the test's name, for the server remembers what other tests did."""
        self.runs += 1
        return subprocess.run(
            [sys.executable, "-c", FLOW, self.run_name, json.dumps({"to": 5, "test": self.name, **config})],
            env={**os.environ, "BERT_FOUNDRY_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=120,
        )

    @property
    def run_name(self) -> str:
        return f"{self.name}-{self.home.name}-{self.runs}"

    def ref(self, **config: Any) -> dict[str, str]:
        done = self(**config)
        assert done.returncode == 0, done.stderr
        found: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
        return found

    def built(self) -> int:
        return len((self.home / "built").read_text())

    def task_run(self) -> dict[str, Any]:
        """Of the last run."""
        flows = {"flow_runs": {"name": {"any_": [f"counting {self.run_name}"]}}}
        (task,) = httpx.post(f"{self.api}/task_runs/filter", json=flows).json()
        return dict(task)

    def artifacts(self, task_run_id: str) -> dict[str, dict[str, Any]]:
        """What its page shows, by type."""
        body = {"artifacts": {"task_run_id": {"any_": [task_run_id]}}}
        return {each["type"]: each for each in httpx.post(f"{self.api}/artifacts/filter", json=body).json()}


@pytest.fixture
def counting(stack: Stack, tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Counting:
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    return Counting(stack, tmp_path / "one", request.node.name)


def test_done_then_cached_then_built_again_when_the_disk_lost_it(counting: Counting) -> None:
    first = counting.ref()
    done = counting.task_run()
    assert (done["state_name"], done["name"]) == ("Completed", "count tiny")
    shown = counting.artifacts(done["id"])
    assert shown["progress"]["description"].startswith("counting words")
    assert shown["progress"]["data"] == 100
    assert {"what": "dropped: too long | odd", "count": 1} in json.loads(shown["table"]["data"])
    assert first["content"][:16] in shown["markdown"]["data"]

    assert counting.ref() == first
    assert counting.task_run()["state_name"] == "Cached"
    assert counting.built() == 1

    for file in Path(first["path"]).iterdir():
        file.unlink()
    Path(first["path"]).rmdir()
    assert counting.ref() == first
    assert counting.task_run()["state_name"] == "Completed"
    assert counting.built() == 2


def test_another_store_on_the_same_server_gets_its_own_artifact(
    counting: Counting, stack: Stack, tmp_path: Path
) -> None:
    first = counting.ref()
    other = Counting(stack, tmp_path / "two", counting.name)
    second = other.ref()
    assert second["content"] == first["content"]
    assert Path(second["path"]).is_relative_to(other.home)
    assert counting.ref()["path"] == first["path"]  # the server's cache now remembers the other store's
    assert (counting.built(), other.built()) == (1, 1)


def test_a_body_that_raises_publishes_nothing_and_the_task_is_failed(counting: Counting) -> None:
    failed = counting(fail=True)
    assert failed.returncode == 1
    assert "the thirteenth word is bad" in failed.stderr
    assert counting.task_run()["state_name"] == "Failed"
    assert [path.suffix for path in (counting.home / "store" / "count").iterdir()] == [".partial"]
    assert not list((counting.home / "store").glob("**/manifest.json"))
