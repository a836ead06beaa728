"""The command line as a newcomer meets it: help is quick and needs no server, and faults are explained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from flows.__main__ import Commands, cli
from tests.nights import RECIPE

COMMANDS = (
    *("up", "status", "down", "run", "corpus", "train", "finetune", "search", "evaluate", "explain"),
    *("trace", "forget", "deploy"),
    *("predict", "promote", "rollback", "history", "recipes", "check"),
)
HELP_TIMEOUT_S = 20.0
"""It takes one or two; twenty on two busy cores."""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def bert_foundry(home: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """The installed command, where no server is known."""
    own = {"PREFECT_API_URL": "", "MLFLOW_TRACKING_URI": "", "RAY_ADDRESS": "", "BERT_FOUNDRY_HOME": str(home)}
    return subprocess.run(
        [Path(sys.executable).parent / "bert-foundry", *arguments],
        env={**os.environ, **own, **variables},
        cwd=home.parent,
        capture_output=True,
        text=True,
        timeout=120,
    )


def explained(done: subprocess.CompletedProcess[str]) -> str:
    """What a fault's message says: it is no traceback."""
    assert done.returncode in (1, 2), done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    assert len(done.stderr.splitlines()) < 25, done.stderr
    return done.stderr


def test_the_commands_are_these() -> None:
    assert isinstance(cli, Commands)
    assert set(COMMANDS) == {*cli.lazy, *cli.commands}
    assert list(COMMANDS) == [*Commands.list_commands(cli, None)]  # type: ignore[arg-type]  # asks nothing of a context


def test_help_lists_every_command_with_a_line_about_it(home: Path) -> None:
    started = time.monotonic()
    done = bert_foundry(home, "--help")
    assert time.monotonic() - started < HELP_TIMEOUT_S
    lines = [line.split() for line in done.stdout.splitlines()]
    for command in COMMANDS:
        assert [line for line in lines if line[:1] == [command] and len(line) > 3], command
    assert not home.exists()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_needs_no_server_and_makes_nothing(home: Path, command: str) -> None:
    started = time.monotonic()
    done = bert_foundry(home, command, "--help")
    assert time.monotonic() - started < HELP_TIMEOUT_S
    assert done.returncode == 0, done.stderr
    assert f"bert-foundry {command}" in done.stdout
    assert done.stderr == ""
    assert not home.exists()


def test_an_unknown_command_or_option_is_wrong_usage(home: Path) -> None:
    assert "No such command 'runn'" in explained(bert_foundry(home, "runn"))
    assert "No such option" in explained(bert_foundry(home, "run", "--ablat"))


def test_recipes_are_listed_with_a_line_and_their_file(home: Path) -> None:
    said = bert_foundry(home, "recipes").stdout
    assert "film-reviews" in said
    for line in said.splitlines()[1::2]:
        assert Path(line.strip()).is_file()


def test_check_prints_the_recipe_with_overrides_and_defaults(home: Path) -> None:
    done = bert_foundry(home, "check", str(RECIPE), "pretrain.steps=7")
    resolved = json.loads(done.stdout)
    assert resolved["pretrain"]["steps"] == 7
    assert resolved["gate"]
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("check", "nowhere.toml"), ["nowhere.toml", "film-reviews"]),
        (("check", "film-reviews", "gate.min_class_f1=2"), ["gate.min_class_f1", "2", "less than or equal to 1"]),
        (("run", "film-reviews", "pretrain.stepz=2"), ["pretrain.stepz", "unknown key", "steps"]),
        (("run", "film-reviews", "pretrain.steps"), ["pretrain.steps"]),
        (("deploy", "nowhere"), ["nowhere", "film-reviews"]),
        (("predict",), ["TEXT"]),
        (("rollback",), ["--why"]),
        (("up", "--prefect-port", "80"), ["80", "1024"]),
    ],
)
def test_a_fault_is_explained_before_anything_starts(home: Path, arguments: tuple[str, ...], parts: list[str]) -> None:
    said = explained(bert_foundry(home, *arguments))
    assert not [part for part in parts if part not in said], said
    assert not (home / "stack" / "stack.json").exists()
