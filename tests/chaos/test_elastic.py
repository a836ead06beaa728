"""Three nodes of Ray, one of which is lost, comes back, or is about to be taken away: the data's order stays."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bert_core import train
from bert_core.config import TrainConfig
from bert_core.journal import read_metrics, read_order
from tests.ray_nodes import PATIENCE, RayNodes, Training, ray_nodes
from tests.tiny_corpus import tiny_run

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(600 * PATIENCE)]
STEPS = 600
"""A node can go and another come while they last: Ray takes a checkpoint's report at each look, 4 steps a second."""


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    with ray_nodes(tmp_path_factory.mktemp("nodes"), 3) as found:
        yield found


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """A model that takes milliseconds a step, without dropout: what is left of a world's size is rounding."""
    return tiny_run(
        tmp_path_factory.mktemp("corpus"),
        300,
        model={"hidden_dropout": 0.0, "attention_dropout": 0.0},
        name="elastic",
        objective={"type": "mlm"},
        batch={"rows": 6, "row_length": 64},
        steps=STEPS,
        eval_every=STEPS,
        checkpoint_every=4,
        log_every=5,
    )


@pytest.fixture(scope="module")
def undisturbed(config: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of the same run in this very process."""
    folder = tmp_path_factory.mktemp("alone")
    train.run(config, work_dir=folder, report=lambda line, saved: None)
    return folder


def sample_ids(work_dir: Path) -> list[tuple[int, list[int]]]:
    """Of each step, sorted: a batch is a set, which ranks share in one way or another."""
    return [(step, sorted(ids)) for step, ids in read_order(work_dir)]


def losses(work_dir: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in read_metrics(work_dir / "metrics.jsonl") if "loss" in line}


def start(nodes: RayNodes, config: TrainConfig, work_dir: Path, workers: Any) -> Training:
    return Training.start(
        nodes, config.model_dump(mode="json"), work_dir, workers=workers, poll_s=1.0, resize_check_s=3
    )


def test_a_node_goes_and_another_comes_and_the_order_stays(
    nodes: RayNodes, config: TrainConfig, undisturbed: Path, tmp_path: Path
) -> None:
    run = start(nodes, config, tmp_path / "run", [1, 3])
    try:
        run.wait_for("a checkpoint of three", lambda: run.newest >= 20, 150)
        assert run.world_sizes == [3]
        nodes.kill(list(nodes.nodes)[-1])
        reached = run.newest
        run.wait_for("two went on", lambda: run.world_sizes[-1] == 2 and run.newest > reached, 150)
        nodes.add()
        reached = run.newest
        run.wait_for("three again", lambda: run.world_sizes[-1] == 3 and run.newest > reached, 150)
        assert run.newest < STEPS
        summary = run.finish(150)
    finally:
        run.end()
    assert run.world_sizes == [3, 2, 3]
    assert (summary["steps"], summary["world_size"]) == (STEPS, 3)
    assert sample_ids(run.work_dir) == sample_ids(undisturbed)
    alone, elastic = losses(undisturbed), losses(run.work_dir)
    assert elastic.keys() == alone.keys()
    assert all(elastic[step] == pytest.approx(alone[step], rel=1e-5) for step in alone if step <= 50)
    assert elastic[STEPS] == pytest.approx(alone[STEPS], rel=1e-3)


def test_a_notice_of_preemption_gives_a_checkpoint_within_the_grace_time(
    nodes: RayNodes, config: TrainConfig, tmp_path: Path
) -> None:
    grace_s = 30
    rare = config.model_copy(update={"checkpoint_every": STEPS, "steps": 20 * STEPS})
    run = start(nodes, rare, tmp_path / "run", [1, 3])
    try:
        run.wait_for("a first line", lambda: losses(run.work_dir), 150)
        before = run.newest
        leaving = list(nodes.nodes)[-1]
        nodes.drain(leaving, grace_s)
        began = time.monotonic()
        run.wait_for("a checkpoint", lambda: run.newest > before, grace_s / PATIENCE)
        saved = run.newest
        assert saved % STEPS, "by the notice, and not because it was due"
        time.sleep(max(0.0, began + grace_s - time.monotonic()))
        nodes.kill(leaving)
        run.wait_for("two went on", lambda: run.world_sizes[-1] == 2, 120)
        reasons = [line.get("reason") for line in read_metrics(run.work_dir / "metrics.jsonl")]
        assert reasons.count("preempted") == 1
    finally:
        run.end()
