"""`python -m bert_core.train` as a person at a terminal meets it: what is wrong with a recipe, without a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bert_core import train
from tests.tiny_corpus import write_corpus

RECIPE = """
name = "laptop"
steps = 2
objective = {{ type = "mlm" }}
batch = {{ rows = 2, row_length = 64 }}
train_data = "{folder}/train"
tokenizer = "{folder}/tokenizer"
model = {{ vocab_size = {words}, hidden_size = 16, num_layers = 1, num_heads = 2, intermediate_size = 16 }}
optimizer = {{ lr = 1e-3 }}
"""


def refused(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> str:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    with pytest.raises(SystemExit) as stopped:
        train.main()
    assert isinstance(stopped.value.code, str), "printed to stderr, with exit status 1"
    return stopped.value.code


def test_every_fault_of_a_recipe_is_named_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = tmp_path / "run.toml"
    recipe.write_text('name = "x"\nstep = 3\n[optimizer]\nlr = -1\n')
    lines = refused(monkeypatch, recipe, "--out", tmp_path / "run").splitlines()
    assert lines[0] == f"error: {recipe}: 5 fault(s)"  # that it has no objective is told once its keys are right
    assert "  optimizer.lr = -1: Input should be greater than 0" in lines
    assert "  train_data: required, and not given" in lines
    assert any(line.startswith("  step = 3: ") for line in lines)
    assert not (tmp_path / "run").exists()


def test_a_recipe_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    recipe = tmp_path / "none.toml"
    assert refused(monkeypatch, recipe, "--out", tmp_path / "run") == f"error: {recipe}: no such recipe"


def test_an_error_that_is_not_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["train", str(tmp_path), "--out", str(tmp_path / "run")])
    with pytest.raises(OSError, match="Is a directory"):
        train.main()


def test_a_recipe_alone_trains_into_a_folder_of_its_name(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    words = write_corpus(corpus, 20).vocab_size
    recipe = tmp_path / "run.toml"
    recipe.write_text(RECIPE.format(folder=corpus, words=words))
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "bert_core.train", str(recipe)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": root}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "step 2/2" in done.stdout
    assert (tmp_path / "runs/laptop/model/model.safetensors").exists()
