"""Killed anywhere and run again, a run ends with the bits of one that was not: weights, optimizer, order, journal."""

from __future__ import annotations

import json
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bert_core.checkpoint import newest_valid
from bert_core.config import TrainConfig
from bert_core.journal import read_metrics, read_order
from tests.bert_core.forked_ranks import Kill, finish, kill_after, start
from tests.bert_core.test_train import config, corpus

__all__ = ["corpus"]  # the fixture

STEPS = 16

CHANCES = {"time", "tokens_per_second", "seconds_left", "mfu", "peak_memory_mb"}
"""Fields of journal lines that differ between equal runs."""


@pytest.fixture(scope="module")
def asked(corpus: Path) -> TrainConfig:
    """Two epochs, two phases, evaluations and saves at steps of their own, averaged weights, the best ones shipped."""
    return config(
        corpus,
        "mlm",
        steps=STEPS,
        batch={"rows": 4, "phases": [{"row_length": 24, "share": 0.5}, {"row_length": 32, "share": 0.5}]},
        eval_every=4,
        checkpoint_every=3,
        keep="best",
        optimizer={"lr": 3e-3, "ema_decay": 0.9},
        runtime={"log_order": True, "micro_rows": 1},
    )


@pytest.fixture(scope="module")
def whole(asked: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """The uninterrupted run of a world size."""
    runs: dict[int, Path] = {}

    def run(world: int) -> Path:
        if world not in runs:
            runs[world] = tmp_path_factory.mktemp(f"whole-{world}") / "run"
            assert finish(start(world, asked, runs[world])) == [0] * world
        return runs[world]

    return run


def beats(run: Path) -> list[tuple[int, str]]:
    return [(step, stage) for step, stage in json.loads((run / "beats-0").read_text())]


def outcome(run: Path) -> dict[str, Any]:
    newest, faults = newest_valid(run / "checkpoints")
    assert newest is not None
    assert not faults
    files = {file.name: file.read_bytes() for file in newest.path.glob("*.safetensors")}
    assert files.keys() == {"model.safetensors", "optimizer.safetensors", "average.safetensors"}
    lines = read_metrics(run / "metrics.jsonl")
    return {
        "step": newest.step,
        **files,
        "shipped": (run / "model" / "model.safetensors").read_bytes(),
        "order": read_order(run),
        "journal": [{key: line[key] for key in line.keys() - CHANCES} for line in lines],
        "kept": sorted(path.name for path in (run / "checkpoints").iterdir()),
    }


def killed_and_continued(
    asked: TrainConfig, whole: Path, folder: Path, kill: Kill, world: int = 1, lose_disk: bool = False
) -> None:
    mirror = folder / "mirror" if kill.point == "upload" else None
    codes = finish(start(world, asked, folder / "run", mirror=mirror, kill=kill))
    expected = signal.SIGXFSZ if kill.point == "write" else signal.SIGKILL
    assert codes[kill.rank] == -expected, f"not killed: {codes}"
    if lose_disk:
        shutil.rmtree(folder / "run" / "checkpoints")
    assert finish(start(world, asked, folder / "run", mirror=mirror)) == [0] * world
    same(folder / "run", whole)
    if mirror:
        assert sorted(path.name for path in mirror.iterdir()) == outcome(whole)["kept"]


def same(run: Path, whole: Path) -> None:
    ours, theirs = outcome(run), outcome(whole)
    assert [name for name in theirs if ours[name] != theirs[name]] == []


def test_the_run_crosses_every_kind_of_boundary(asked: TrainConfig, whole: Callable[[int], Path]) -> None:
    run = whole(1)
    seen = beats(run)
    assert {stage for _, stage in seen} >= {"evaluate", "save", "data", "forward", "reduce", "optimizer"}
    assert [step for step, _ in read_order(run)] == list(range(STEPS))
    assert seen.count((8, "forward")) == 4  # micro batches
    assert json.loads((run / "summary.json").read_text())["epochs"] > 1.1


@pytest.mark.parametrize(
    ("kill", "lose_disk"),
    [(Kill("beat", 30), False), (Kill("fsync", 12), False), (Kill("write", 40), False), (Kill("upload", 10), True)],
    ids=lambda value: value.point if isinstance(value, Kill) else "",
)
def test_killed_once(
    asked: TrainConfig, whole: Callable[[int], Path], tmp_path: Path, kill: Kill, lose_disk: bool
) -> None:
    killed_and_continued(asked, whole(1), tmp_path, kill, lose_disk=lose_disk)


def test_one_rank_of_two_killed(asked: TrainConfig, whole: Callable[[int], Path], tmp_path: Path) -> None:
    killed_and_continued(asked, whole(2), tmp_path, Kill("beat", 37, rank=1), world=2)


def random_points() -> list[tuple[Kill, int, bool]]:
    """22 of them: (where, world size, whether the disk is lost too)."""
    dice = random.Random(4)
    return [
        *((Kill("beat", dice.randrange(2, 70)), 1, False) for _ in range(8)),
        *((Kill("fsync", dice.randrange(2, 35)), 1, False) for _ in range(4)),
        *((Kill("write", dice.randrange(2, 55)), 1, False) for _ in range(2)),
        *((Kill("upload", dice.randrange(1, 18)), 1, bool(n % 2)) for n in range(4)),
        *((Kill("beat", dice.randrange(2, 60), rank=1), 2, False) for _ in range(3)),
        (Kill("fsync", dice.randrange(2, 35)), 2, False),
    ]


@pytest.mark.chaos
@pytest.mark.parametrize(("kill", "world", "lose_disk"), random_points(), ids=str)
def test_killed_at_a_random_point(
    asked: TrainConfig, whole: Callable[[int], Path], tmp_path: Path, kill: Kill, world: int, lose_disk: bool
) -> None:
    killed_and_continued(asked, whole(world), tmp_path, kill, world, lose_disk)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_at_random_times(
    asked: TrainConfig, whole: Callable[[int], Path], tmp_path: Path, seed: int
) -> None:
    dice = random.Random(seed)
    kills = 0
    for _ in range(60):
        (process,) = start(1, asked, tmp_path)
        kill_after(process, dice.uniform(0.2, 1.0) * (1 + kills / 10))  # later and later, so that it ends at last
        if process.exitcode == 0:
            break
        kills += 1
    assert process.exitcode == 0
    assert kills
    same(tmp_path, whole(1))


@pytest.mark.chaos
@pytest.mark.timeout(1200)  # 30 kills of 4 to 14 s
def test_killed_at_every_beat_of_two_steps(asked: TrainConfig, whole: Callable[[int], Path], tmp_path: Path) -> None:
    """Micro batch, evaluation, save, phase (8), epoch (within 12): N + M is N, resume, M at every beat of 8 and 12."""
    run = whole(1)
    for number, (step, _) in enumerate(beats(run), 1):
        if step in (8, 12):
            killed_and_continued(asked, run, tmp_path / str(number), Kill("beat", number))
