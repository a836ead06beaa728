"""One training config, without Ray, Prefect and MLflow, and with all of them: the same weights, byte for byte."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from mlflow import MlflowClient

from bert_core.config import ConfigError, TrainConfig
from flows.__main__ import cli
from flows.recipe import PretrainRecipe, Recipe, load_recipe, load_runnable
from infra.stack import Stack
from tasks.artifacts import ArtifactError
from tasks.config import PretrainConfig
from tasks.train_as_given import TrainSpec, train_as_given
from tests.tiny_corpus import write_corpus

ROOT = Path(__file__).parents[2]
RUN = """
name = "as-given"
steps = 8
train_data = "train"
eval_data = "validation"
tokenizer = "tokenizer"
checkpoint_every = 4
log_every = 2
batch = { tokens = 256, phases = [{ row_length = 32, share = 0.5 }, { row_length = 64, share = 0.5 }] }
objective = { type = "mlm", unit = "word" }
optimizer = { type = "muon", schedule = "wsd" }
model = { family = "modernbert", hidden_size = 16, num_layers = 2, num_heads = 2, intermediate_size = 16 }
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A config and what it names, by paths from here."""
    tokenizer = write_corpus(tmp_path, 40)
    shape = RUN.replace("family", f"vocab_size = {tokenizer.vocab_size}, family")
    (tmp_path / "run.toml").write_text(shape)
    return tmp_path


def run(command: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout


def test_the_same_file_gives_the_same_weights_with_and_without_ray(stack: Stack, folder: Path) -> None:
    run(["bert_core.train", "run.toml", "--out", "alone"], folder)
    said = run(["flows", "train", "run.toml", "--workers", "1"], folder, BERT_FOUNDRY_HOME=str(folder / "home"))
    (manifest_path,) = (folder / "home" / "store" / "train").glob("as-given-*/manifest.json")
    model = manifest_path.parent / "model"
    assert str(model) in said
    alone = {file.name: file.read_bytes() for file in (folder / "alone" / "model").iterdir()}
    assert {file.name: file.read_bytes() for file in model.iterdir()} == alone
    assert "model.safetensors" in alone
    facts = json.loads(manifest_path.read_text())["facts"]
    assert (facts["steps"], facts["world_sizes"]) == (8, [1])
    tracked = MlflowClient().get_run(facts["mlflow_run"])
    assert tracked.info.status == "FINISHED"
    assert {"train/loss", "train_by_tokens/loss", "eval/loss", "system/cpu_utilization_percentage"} <= set(
        tracked.data.metrics
    )
    assert [each.path for each in MlflowClient().list_artifacts(tracked.info.run_id, "plots")] == ["plots/curves.png"]
    pages = httpx.post(f"{os.environ['PREFECT_API_URL']}/artifacts/latest/filter", json={}).json()
    assert [page for page in pages if page["type"] == "progress" and page["key"] == "as-given-steps"]


RECIPE = """
name = "to-weights"

[sources.prose]
type = "files"
paths = ["prose/*.txt"]

[clean]
languages = []
min_language_score = 0.0

[encode]
tokenizer = { type = "wordpiece", vocab_size = 300, min_frequency = 1 }

[pretrain]
workers = [1, 2]
steps = 6
batch = { tokens = 256, phases = [{ row_length = 32, share = 0.5 }, { row_length = 64, share = 0.5 }] }
model = { family = "modernbert", hidden_size = 16, num_layers = 2, num_heads = 2, intermediate_size = 16 }
optimizer = { type = "muon", schedule = "wsd" }
"""


@pytest.mark.slow
def test_a_recipe_that_ends_with_pretraining_ends_with_weights(stack: Stack, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "prose").mkdir(parents=True)
    chance = random.Random(1)
    for number in range(60):
        words = ["".join(chance.choices("aeioubdgklmnrst", k=chance.randrange(2, 9))) for _ in range(48)]
        sentences = (" ".join(words[start : start + 8]).capitalize() + "." for start in range(0, 48, 8))
        (home / "prose" / f"{number}.txt").write_text(" ".join(sentences))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    said = run(["flows", "run", "recipe.toml", "--as-of", "2026-01-01"], tmp_path, BERT_FOUNDRY_HOME=str(home))
    assert "pretrain" in said
    (manifest,) = (home / "store" / "pretrain").glob("to-weights-*/manifest.json")
    assert (manifest.parent / "model" / "model.safetensors").exists()
    assert json.loads(manifest.read_text())["facts"]["world_sizes"] == [2]


def spec(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> TrainSpec:
    import tomllib

    monkeypatch.chdir(folder)
    config = TrainConfig.model_validate(tomllib.loads((folder / "run.toml").read_text()) | changes)
    return TrainSpec.of(config, experiment="as-given", workers=changes.pop("workers", 1), mirror=None)


def test_a_run_is_named_by_what_its_folders_hold(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def key(**changes: Any) -> str:
        return train_as_given.key(spec(folder, monkeypatch, **changes), [])

    first = key()
    (folder / "train").rename(folder / "moved")
    assert key(train_data="moved") == first
    assert key(train_data="moved", runtime={"micro_rows": 1}, checkpoint_every=2) == first
    assert key(train_data="validation") != first
    assert key(train_data="moved", steps=9) != first
    with pytest.raises(ArtifactError, match=r"train_data = .*/train: no shards\.json"):
        key()


@pytest.mark.parametrize("text", ["0", "3-1", "some", "1-"])
def test_a_number_of_workers_that_is_none_is_refused(folder: Path, text: str) -> None:
    done = CliRunner().invoke(cli, ["train", str(folder / "run.toml"), "--workers", text])
    assert done.exit_code == 2
    assert f"--workers {text!r}" in done.output


def test_how_far_a_recipe_goes_is_read_from_its_sections() -> None:
    assert isinstance(load_runnable("pretrain-modern"), PretrainRecipe)
    assert isinstance(load_runnable("film-reviews"), Recipe)
    with pytest.raises(ConfigError, match="train: required, and not given"):
        load_runnable("debian-docs")
    with pytest.raises(ConfigError, match="train: required, and not given"):
        load_recipe("pretrain-modern")


def test_an_objective_without_a_type_is_masked_words() -> None:
    steps: dict[str, Any] = {"steps": 1, "batch": {"rows": 1}, "model": {"size": "tiny"}}
    assert PretrainConfig.model_validate(steps | {"objective": {"nsp": True}}).objective.type == "mlm"
    assert PretrainConfig.model_validate(steps | {"objective": {"type": "causal"}}).objective.type == "causal"
