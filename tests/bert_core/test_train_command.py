"""`python -m bert_core.train` as a person at a terminal meets it: what is wrong with a recipe, without a traceback."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bert_core import train


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
    assert lines[0] == f"error: {recipe}: 6 fault(s)"
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
