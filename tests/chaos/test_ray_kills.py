"""kill -9 of a rank, of the driver, of a whole node, at random moments: the same bits as an undisturbed run.

With Ray alone, so that a kill costs half a minute; `test_kills` does the same to a whole night.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from bert_core import checkpoint
from bert_core.config import TrainConfig
from bert_core.journal import read_metrics, read_order
from infra import processes
from tests.ray_nodes import PATIENCE, RayNodes, Training, ray_nodes
from tests.tiny_corpus import tiny_run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600 * PATIENCE)]
STEPS = 150
TIMEOUT_S = 180.0
"""For what takes 20 s on idle cores."""
Kill = Callable[[RayNodes, Training, random.Random], None]
SEED = int(os.environ.get("BERT_FOUNDRY_KILL_SEED", "4"))


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    with ray_nodes(tmp_path_factory.mktemp("nodes"), 2) as found:
        yield found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    return tiny_run(
        tmp_path_factory.mktemp("corpus"),
        100,
        name="killed",
        objective={"type": "mlm", "nsp": True},
        batch={"tokens": 256, "phases": [{"row_length": 32, "share": 0.5}, {"row_length": 64, "share": 0.5}]},
        optimizer={"lr": 1e-3, "ema_decay": 0.9},
        steps=STEPS,
        eval_every=40,
        checkpoint_every=10,
        log_every=1,
    )


def start(nodes: RayNodes, config: TrainConfig, work_dir: Path) -> Training:
    return Training.start(nodes, config.model_dump(mode="json"), work_dir, workers=2, poll_s=0.2)


def outcome(work_dir: Path) -> tuple[dict[str, bytes], list[tuple[int, list[int]]]]:
    """All tensors of the last checkpoint (model, optimizer, average), by name, and the samples of every step."""
    last = checkpoint.open_checkpoint(work_dir / "checkpoints" / checkpoint.step_name(STEPS))
    groups = {name: last.tensors(name) for name in ("model", "optimizer", "average")}
    tensors = {
        f"{group}/{name}": value.numpy().tobytes() for group, all_ in groups.items() for name, value in all_.items()
    }
    return tensors, read_order(work_dir)


@pytest.fixture(scope="module")
def undisturbed(
    nodes: RayNodes, config: TrainConfig, tmp_path_factory: pytest.TempPathFactory
) -> tuple[dict[str, bytes], list[tuple[int, list[int]]]]:
    run = start(nodes, config, tmp_path_factory.mktemp("undisturbed"))
    run.finish(TIMEOUT_S)
    return outcome(run.work_dir)


def kill_rank(nodes: RayNodes, run: Training, chance: random.Random) -> None:
    pids = [pid for node in nodes.nodes.values() for pid in processes.members(node)]
    ranks = [pid for pid in pids if "RayTrainWorker" in " ".join(command(pid))]
    assert len(ranks) == 2
    os.kill(chance.choice(ranks), signal.SIGKILL)


def kill_driver(nodes: RayNodes, run: Training, chance: random.Random) -> None:
    run.driver.kill()
    run.driver.wait()


def kill_node(nodes: RayNodes, run: Training, chance: random.Random) -> None:
    """The run waits for another one, as it wants two."""
    nodes.kill(chance.choice([name for name in nodes.nodes if name != "head"]))
    nodes.add()


def command(pid: int) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return list(psutil.Process(pid).cmdline())
    return []


@pytest.mark.parametrize(
    ("kill", "draw"), [(kill_rank, 1), (kill_rank, 2), (kill_driver, 1), (kill_driver, 2), (kill_node, 1)]
)
def test_killed_at_a_random_moment_it_ends_with_the_same_bits(
    nodes: RayNodes,
    config: TrainConfig,
    undisturbed: tuple[dict[str, bytes], list[tuple[int, list[int]]]],
    tmp_path: Path,
    kill: Kill,
    draw: int,
) -> None:
    chance = random.Random(f"{SEED} {kill.__name__} {draw}")
    moment = chance.randrange(1, STEPS)
    run = start(nodes, config, tmp_path / "run")
    try:
        run.wait_for(f"step {moment}", lambda: reached(run.work_dir) >= moment, TIMEOUT_S)
        kill(nodes, run, chance)
        if kill is kill_driver:
            run = start(nodes, config, tmp_path / "run")
        run.finish(TIMEOUT_S)
    finally:
        run.end()
    tensors, order = outcome(run.work_dir)
    assert order == undisturbed[1]
    assert tensors.keys() == undisturbed[0].keys()
    assert [name for name in tensors if tensors[name] != undisturbed[0][name]] == [], f"killed at step {moment}"
    assert len(run.world_sizes) == 2, f"killed at step {moment}, and never started again"


def reached(work_dir: Path) -> int:
    return max((int(line["step"]) for line in read_metrics(work_dir / "metrics.jsonl")), default=0)
