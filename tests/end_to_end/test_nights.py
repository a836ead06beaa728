"""Two nights of a small site through real Prefect, MLflow and Ray servers, then a rollback: the story of the README."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import httpx
import pyarrow.parquet as pq
import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from infra.stack import Stack
from tests.nights import Foundry
from tests.sites import free_port, review_site

pytestmark = pytest.mark.timeout(1200)  # three nights, and the servers' start, fall to the first test
FILMS = 60


@dataclass
class Story:
    """What each command printed."""

    foundry: Foundry
    first: str
    again: str
    second: str
    requests_on_day_2: list[dict[str, object]]


@pytest.fixture(scope="module")
def story(stack: Stack, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Story:
    folder = tmp_path_factory.mktemp("nights")
    port = free_port()
    foundry = Foundry(folder / "home", f"http://127.0.0.1:{port}")
    with review_site(1, port, data_folder, folder / "day-1.log", FILMS):
        first = foundry.run(foundry.night("2002-10-04"))
        again = foundry.run(foundry.night("2002-10-04"))
    with review_site(2, port, data_folder, folder / "day-2.log", FILMS) as site:
        second = foundry.run(foundry.night("2002-10-05"))
        requests = site.requests()
    return Story(foundry, first, again, second, requests)


def flow_runs(stack: Stack) -> list[dict[str, object]]:
    body = {"flow_runs": {"name": {"like_": "small"}}, "sort": "EXPECTED_START_TIME_ASC"}
    return httpx.post(f"{stack.prefect_api_url}/flow_runs/filter", json=body).json()


def task_states(stack: Stack, flow_run_id: object) -> dict[str, str]:
    body = {"flow_runs": {"id": {"any_": [flow_run_id]}}, "limit": 100}
    runs = httpx.post(f"{stack.prefect_api_url}/task_runs/filter", json=body).json()
    return {run["name"].split()[0]: run["state_name"] for run in runs}


def test_the_first_night_ends_with_a_champion_and_a_report(story: Story) -> None:
    for part in (
        "PROMOTED",
        "small version 1",
        "@champion",
        "DOCUMENTS",
        "seen = kept + dropped",
        "naive bayes",
        "GATE",
    ):
        assert part in story.first, story.first


def test_the_same_night_again_is_found_in_every_stage(story: Story, stack: Stack) -> None:
    first, again, *_ = flow_runs(stack)
    assert set(task_states(stack, first["id"]).values()) == {"Completed"}
    states = task_states(stack, again["id"])
    assert len(states) == 18
    assert set(states.values()) == {"Cached"}, states
    assert "18 of them cached" in story.again


def test_stages_add_up_and_leave_lineage(story: Story) -> None:
    for stage in ("clean", "dedup", "split"):
        for manifest in story.foundry.manifests(stage):
            assert manifest["rows"]["seen"] == manifest["rows"]["kept"] + sum(manifest["dropped"].values())
    (clean, *_), (dedup, *_) = story.foundry.manifests("clean"), story.foundry.manifests("dedup")
    assert dedup["inputs"][0]["content"] == clean["content"]


def test_the_second_night_fetches_only_what_is_new_or_changed(story: Story) -> None:
    rows = story.foundry.manifests("scrape")[1]["rows"]
    assert min(rows["not_modified"], rows["new"], rows["changed"]) > 0, rows
    assert rows["fetched"] == rows["new"] + rows["changed"]
    with_body = [request for request in story.requests_on_day_2 if request["status"] == 200]
    assert len(with_body) < rows["fetched"] + 10  # robots.txt, the sitemap, retries


def test_the_second_night_continues_from_the_champion_and_is_judged_against_it(story: Story) -> None:
    first, second = story.foundry.manifests("plan")
    assert first["facts"]["champion"] is None
    assert second["facts"]["champion"] == "1"
    assert second["facts"]["start"] == f"pretrain/small/{story.foundry.manifests('pretrain')[0]['key']}"
    assert "regression against champion" in story.second
    assert "champion  " in story.second  # among the models


def test_documents_keep_their_side_of_the_split(story: Story) -> None:
    sides = []
    for path in sorted((story.foundry.home / "store" / "split").glob("small-*"), key=lambda p: p.stat().st_mtime):
        table = pq.read_table(path / "documents", columns=["id", "split", "kind"]).to_pylist()
        sides.append({row["id"]: row["split"] for row in table if row["kind"] != "page"})
    first, second = sides
    assert len(second) > len(first)
    assert not {name for name in first.keys() & second.keys() if first[name] != second[name]}


def test_rollback_brings_the_first_champion_back_and_history_says_why(story: Story) -> None:
    foundry = story.foundry
    assert "version 1" in foundry.run(foundry.command("rollback", "--model", "small", "--why", "night two was odd"))
    history = foundry.run(foundry.command("history", "--model", "small"))
    for part in ("promote", "retrain small 2002-10-04", "retrain small 2002-10-05", "rollback", "night two was odd"):
        assert part in history


def test_predict_answers_from_the_champion(story: Story) -> None:
    foundry = story.foundry
    said = foundry.run(foundry.command("predict", "--model", "small", "A neat trick, and a tempting bouquet."))
    assert "fresh" in said or "rotten" in said
    piped = foundry.run(foundry.command("predict", "--model", "small", "-"), text="A bore.\nA joy.\n")
    assert len([line for line in piped.splitlines() if "fresh" in line or "rotten" in line]) == 2


def test_transformers_loads_the_exported_folder(story: Story) -> None:
    folder = sorted((story.foundry.home / "store" / "train-task").glob("small-*/model"))[0]
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    assert set(model.config.id2label.values()) == {"fresh", "rotten"}
    tokens = AutoTokenizer.from_pretrained(folder)("A joy.", return_tensors="pt")
    assert model(**tokens).logits.shape == (1, 2)
