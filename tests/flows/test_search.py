"""A search over a real recipe: trials on Ray Tune, killed and continued, and the recipe that comes out of it."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from mlflow import MlflowClient

from bert_core.config import TrainConfig
from bert_core.metrics import primary_metric, score
from bert_core.predict import Predictor
from bert_core.train import run as train_alone
from flows.finetune_recipe import load_finetune_recipe
from infra.stack import Stack
from tasks.finetuning.trial import read_scores
from tasks.finetuning.trials import read_outcome

ROOT = Path(__file__).parents[2]
RECIPE = """# Which of two moods a line is in.
name = "moods"
seeds = [13]                      # one is enough here

[data]
train = "data/moods.csv"

[task]
type = "sequence"

[train]
model = { hidden_size = 32, num_layers = 1, num_heads = 2, intermediate_size = 32, max_positions = 32 }
tokenizer = { type = "wordpiece", vocab_size = 300, min_frequency = 1 }
epochs = 4                        # passes
batch = { samples = 8, row_length = 32 }
eval_every = 1000

# how far a step goes
[train.optimizer]
lr = 1e-4                         # too low

[registry]
model_name = "moods"
experiment = "moods"

# what is tried
[search]
algorithm = "asha"
trials = 4
reduction_factor = 2
grace_share = 0.25
minutes = 10

[search.space]
"train.optimizer.lr" = [1e-6, 1e-5, 3e-3, 1e-2]
"train.batch.samples" = [4, 8]
"""
GOOD, BAD = ["bright", "merry", "golden", "lovely", "sweet"], ["grim", "sour", "bleak", "rotten", "harsh"]
THINGS = ["window", "river", "garden", "table", "letter", "kitchen", "winter", "candle", "stair", "mirror", "orchard"]


def write_home(folder: Path, rows: int = 240) -> Path:
    """A home folder with one labelled file, and the recipe beside it."""
    chance = random.Random(1)
    lines = {
        " ".join([*chance.sample(THINGS, 4), *chance.sample(words, 3), *chance.sample(THINGS, 3)]): label
        for row in range(rows)
        for label, words in [(("good", GOOD), ("bad", BAD))[row % 2]]
    }
    home = folder / "home"
    (home / "data").mkdir(parents=True)
    text = "".join(f"{line},{label}\n" for line, label in lines.items())
    (home / "data" / "moods.csv").write_text(f"text,label\n{text}")
    (folder / "moods.toml").write_text(RECIPE)
    return home


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flows", "search", "moods.toml", "--as-of", "2026-01-01", *arguments]


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "BERT_FOUNDRY_HOME": str(home)}


def search(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        command(*arguments), cwd=folder, env=environment(folder / "home"), capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done


def found(home: Path) -> tuple[Path, dict[str, Any]]:
    """The folder and the facts of the one search that was published."""
    (manifest,) = (home / "store" / "search").glob("moods-*/manifest.json")
    return manifest.parent, json.loads(manifest.read_text())


def start(folder: Path, log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    with log.open("wb") as out:
        return subprocess.Popen(
            command(*arguments), cwd=folder, env=environment(folder / "home"), stdout=out, stderr=out
        )


def wait_for(what: str, home: Path, process: subprocess.Popen[bytes], log: Path) -> list[Path]:
    """Files of trials of the search that is under way, as soon as there is one."""
    deadline = time.monotonic() + 200
    while not (there := list((home / "store" / "search").glob(f"moods-*.partial/trials/*/{what}"))):
        assert process.poll() is None, log.read_text()[-5000:]
        assert time.monotonic() < deadline, f"no {what}: {log.read_text()[-5000:]}"
        time.sleep(0.05)
    return there


def alone(home: Path, best: Path, folder: Path) -> float:
    """The validation accuracy of the recipe's training, without any of what a search is made of."""
    recipe = load_finetune_recipe(str(best))
    (prepared,) = (home / "store" / "prepare").glob("moods-*")
    (features,) = (home / "store" / "features").glob("moods-*")
    facts = json.loads((features / "manifest.json").read_text())["facts"]
    task = json.loads((prepared / "manifest.json").read_text())["facts"]["task"]
    assert recipe.train.model is not None
    train_alone(
        TrainConfig(
            name="alone",
            seed=13,
            model=recipe.train.model.for_tokenizer(**facts["vocabulary"]),
            task=task,
            train_data=str(features / "train"),
            eval_data=str(features / "validation"),
            tokenizer=str(features / "tokenizer"),
            optimizer=recipe.train.optimizer,
            batch=recipe.train.batch,
            epochs=recipe.train.epochs,
        ),
        work_dir=folder,
        report=lambda line, saved: None,
    )
    gold, predictor = pq.read_table(prepared / "validation.parquet"), Predictor(folder / "model")
    values = score(predictor.task, gold, predictor.answer(gold)).values()
    assert primary_metric(predictor.task, values) == "accuracy"
    return values["accuracy"]


def test_a_search_is_stopped_and_continues_to_a_recipe_of_the_best(stack: Stack, tmp_path: Path) -> None:
    home, log, best = write_home(tmp_path), tmp_path / "stopped.log", tmp_path / "moods-best.toml"
    process = start(tmp_path, log)
    (first,) = (path.parent for path in wait_for("result.json", home, process, log))
    result = (first / "result.json").read_text()
    process.send_signal(signal.SIGINT)
    assert process.wait(120) == 130, log.read_text()[-5000:]
    said = log.read_text()
    assert "Best: trial 1, accuracy" in said
    assert "the same command continues" in said
    assert "[search" not in best.read_text()

    said = search(tmp_path).stdout
    folder, manifest = found(home)
    trials, metric = read_outcome(folder)
    assert (len(trials), metric, manifest["facts"]["is_complete"]) == (4, "accuracy", True)
    assert (folder / "trials" / first.name / "result.json").read_text() == result  # it did not run again
    assert {trial.status for trial in trials} == {"finished", "stopped"}
    assert all(trial.share < 0.6 for trial in trials if trial.status == "stopped")
    chosen = manifest["facts"]["best"]
    assert chosen["train.optimizer.lr"] >= 3e-3  # the others are too low to learn anything
    assert f"accuracy {manifest['facts']['value']:.4f}" in said
    assert pq.read_table(folder / "trials.parquet").num_rows == 4
    assert (folder / "trials.png").exists()
    assert not list(folder.rglob("*.safetensors"))

    text, before = best.read_text(), tomllib.loads(RECIPE)
    assert "batch = { samples" in text
    assert "# one is enough here" in text
    after = tomllib.loads(text)
    before["train"]["optimizer"]["lr"] = chosen["train.optimizer.lr"]
    before["train"]["batch"]["samples"] = chosen["train.batch.samples"]
    del before["search"]
    assert after == before
    assert alone(home, best, tmp_path / "alone") == pytest.approx(manifest["facts"]["value"])

    client = MlflowClient()
    parent = client.get_run(manifest["facts"]["mlflow_run"])
    below = client.search_runs(
        [parent.info.experiment_id], f"tags.mlflow.parentRunId = '{parent.info.run_id}'", max_results=10
    )
    assert {run.info.status for run in below} == {"FINISHED"}
    told = {(run.data.params["train.batch.samples"], run.data.params["train.optimizer.lr"]) for run in below}
    assert told == {tuple(str(trial.values[key]) for key in sorted(trial.values)) for trial in trials}
    measured = sorted(run.data.metrics["eval/accuracy"] for run in below)
    assert measured == pytest.approx(sorted(trial.value for trial in trials if trial.value is not None))
    assert all("train/loss" in run.data.metrics for run in below)
    pages = httpx.post(f"{os.environ['PREFECT_API_URL']}/artifacts/latest/filter", json={}).json()
    assert {"table", "progress"} <= {page["type"] for page in pages if "moods" in (page["key"] or "")}


@pytest.mark.chaos
@pytest.mark.timeout(900)
def test_a_search_that_is_killed_continues_where_it_was(stack: Stack, tmp_path: Path) -> None:
    home, log = write_home(tmp_path), tmp_path / "killed.log"
    changes = ("search.sampling='bayes'", "search.trials=6", "search.seed=3", "train.epochs=8")
    kept: dict[str, str] = {}
    for count in (1, 2, 3):
        process = start(tmp_path, log, *changes)
        while True:  # killed within a trial: one more is done, and another has been measured since
            done = {path.parent.name: path.read_text() for path in wait_for("result.json", home, process, log)}
            going = [path for path in wait_for("scores.jsonl", home, process, log) if path.parent.name not in done]
            if len(done) >= count and any(path.read_text() for path in going):
                break
            assert process.poll() is None, log.read_text()[-5000:]
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert all(done[name] == text for name, text in kept.items())
        kept = done
    search(tmp_path, *changes)
    folder, _ = found(home)
    for name, text in kept.items():
        assert (folder / "trials" / name / "result.json").read_text() == text
    trials, _ = read_outcome(folder)
    assert len(trials) == 6  # a sampler comes back to some points, which are then not run again, nor counted
    assert {trial.status for trial in trials} <= {"finished", "stopped"}
    spent = {trial.key: read_scores(folder / "trials" / trial.key) for trial in trials}
    assert all([line["step"] for line in lines] == sorted({line["step"] for line in lines}) for lines in spent.values())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_time_that_is_up_ends_a_search_with_what_is_best(stack: Stack, tmp_path: Path) -> None:
    home = write_home(tmp_path)
    said = search(
        tmp_path, "search.algorithm='bayes'", "search.minutes=0.5", "search.trials=500",
        'search.space={"train.optimizer.lr" = {low = 1e-5, high = 1e-2, log = true}, "train.epochs" = [1, 2, 3]}',
    ).stdout  # fmt: skip
    _, manifest = found(home)
    facts = manifest["facts"]
    assert 1 <= manifest["rows"]["trials"] < 500
    assert not facts["is_complete"]
    assert manifest["seconds"] < 110
    assert "Best: trial" in said
    assert 1e-5 <= facts["best"]["train.optimizer.lr"] <= 1e-2
