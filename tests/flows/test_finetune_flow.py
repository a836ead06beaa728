"""The whole finetune flow on real servers, with a tiny model: from a CSV file to the registry, and again."""

from __future__ import annotations

import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import torch
from mlflow import MlflowClient
from transformers import BertConfig, BertModel

from bert_core.predict import Predictor
from bert_core.tokenizer import train_wordpiece
from infra.stack import Stack

ROOT = Path(__file__).parents[2]
GOOD, BAD = ("fine", "neat", "warm", "bright", "clever"), ("dull", "cold", "grim", "stale", "weak")
NEUTRAL = ("the", "film", "has", "a", "story", "and", "some", "people", "in", "it", "who", "talk", "of", "what", "they")
RECIPE = """
name = "tiny"
seeds = [1, 2]

[data]
train = "texts.csv"
slices = "source"
test_share = 0.25
cluster_threshold = 1.0
near_threshold = 1.0

[task]
type = "sequence"

[train]
init = "weights"
epochs = 6
batch = { samples = 16, row_length = 32 }

[train.optimizer]
lr = 3e-3

[augment]
methods = [{ type = "swap", copies = 1 }]

[baselines]
models = ["majority", "naive_bayes"]

[evaluate]
slices = ["source"]
bootstrap_samples = 200
learning_curve = [0.5]
explained = 2
latency_examples = 2

[[behaviour.tests]]
kind = "mft"
name = "plain-words"
templates = ["the film was {word} and {word}"]
words = { word = ["neat", "bright", "clever"] }
expected = "good"

[behaviour.robustness]

[gate]
minimum = { accuracy = 0.6 }
min_test_examples = 10
min_gain_over_baseline = -1.0
behaviour = { plain-words = 0.1 }

[registry]
model_name = "tiny"
experiment = "tiny"
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe, its labelled file, and a tiny encoder as transformers writes it."""
    home = tmp_path_factory.mktemp("finetune")
    draw = random.Random(0)
    rows = []
    for number in range(300):
        label, words = ("good", GOOD) if number % 2 else ("bad", BAD)
        text = [*draw.sample(NEUTRAL, 5), *draw.sample(words, 2), str(number)]
        draw.shuffle(text)
        rows.append((" ".join(text), label, draw.choice(["press", "forum"])))
    with (home / "texts.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text", "label", "source"), *rows])
    tokenizer = train_wordpiece([text for text, _, _ in rows] * 3, 300, 1, True)
    tokenizer.save(home / "weights")
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=tokenizer.vocab_size, max_position_embeddings=64, **shape)).save_pretrained(
        home / "weights"
    )
    (home / "tiny.toml").write_text(RECIPE)
    return home


def foundry(home: Path, *arguments: str, status: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "flows", *arguments],
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT), "BERT_FOUNDRY_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=290,
    )
    assert done.returncode == status, f"{done.stdout[-3000:]}\n{done.stderr[-6000:]}"
    return done.stdout + done.stderr


@pytest.mark.timeout(600)
def test_from_labelled_texts_to_a_champion_and_again(stack: Stack, home: Path) -> None:
    said = foundry(home, "finetune", "tiny.toml", "--as-of", "2026-11-01")
    assert "@champion" in said
    (page,) = (home / "store" / "gate").glob("tiny-*/report.html")
    html = page.read_text()
    for part in ("naive bayes", "source", "Behaviour", "Robustness", "Why it says so", "More labels"):
        assert part in html, part
    report = json.loads((page.parent / "report.json").read_text())
    assert report["models"]["model"]["runs"] == 2
    assert [point["examples"] for point in report["learning_curves"]["model"]] == sorted(
        point["examples"] for point in report["learning_curves"]["model"]
    )
    (augmented,) = (home / "store" / "augment").glob("tiny-*/train.parquet")
    (prepared,) = (home / "store" / "prepare").glob("tiny-*/train.parquet")
    assert pq.read_table(augmented).num_rows > pq.read_table(prepared).num_rows
    version = MlflowClient().get_model_version_by_alias("tiny", "champion")
    assert version.tags["prepare_content"]
    assert "test_accuracy" in MlflowClient().get_run(version.run_id).data.metrics
    again = foundry(home, "finetune", "tiny.toml", "--as-of", "2026-11-01")
    assert "Cached" in again
    assert len(list((home / "store" / "train-task").glob("tiny-*/manifest.json"))) == 3


@pytest.mark.timeout(300)
def test_the_champion_answers_is_measured_and_explained(stack: Stack, home: Path) -> None:
    answer = json.loads(foundry(home, "predict", "--model", "tiny", "--json", "the film has a clever neat story"))
    assert answer["label"] in ("good", "bad")
    assert sum(answer["probabilities"].values()) == pytest.approx(1)
    measured = foundry(home, "evaluate", "tiny.toml", "--side", "validation", "--output", "page.html")
    assert "accuracy" in measured
    assert "<html" in (home / "page.html").read_text()
    why = foundry(
        home, "explain", "--model", "tiny", "--method", "leave_one_out", "--output", "why.html", "a neat film"
    )
    assert "neat" in why
    assert "neat" in (home / "why.html").read_text()
    (folder, *_) = (home / "store" / "train-task").glob("tiny-*/model")
    assert Predictor(folder).predict(["a dull grim film"])[0].label in ("good", "bad")


def test_a_model_of_another_task_is_refused_by_name(home: Path) -> None:
    (home / "wrong.toml").write_text(RECIPE.replace('init = "weights"', 'init = "nowhere"'))
    assert "nowhere" in foundry(home, "check", "wrong.toml")
    assert "no section [data]" in foundry(home, "finetune", "film-reviews", status=1)
