"""One order and one loss for any number of ranks, loader threads, micro batches, any strategy; and when a run ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from torch.testing import assert_close

from bert_core import train
from bert_core.build import run_length
from bert_core.config import TrainConfig
from bert_core.journal import read_order
from tests.bert_core.forked_ranks import finish, start
from tests.bert_core.test_train import config, corpus, silent, weights

__all__ = ["corpus"]

STILL = {"vocab_size": 120, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64}
STILL |= {"max_positions": 64, "hidden_dropout": 0.0, "attention_dropout": 0.0}


def asked(corpus: Path, **changes: Any) -> TrainConfig:
    runtime = {"log_order": True, **changes.pop("runtime", {})}
    base = {"model": STILL, "objective": {"type": "mlm"}, "steps": 50, "eval_every": 25, "checkpoint_every": 50}
    return config(corpus, "mlm", optimizer={"lr": 1e-3}, runtime=runtime, **{**base, **changes})


def losses(work_dir: Path) -> list[float]:
    return [line["loss"] for line in train.read_metrics(work_dir / "metrics.jsonl") if line["kind"] == "train"]


def order(work_dir: Path) -> list[tuple[int, list[int]]]:
    return [(step, sorted(ids)) for step, ids in read_order(work_dir)]


@pytest.fixture(scope="module")
def alone(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    train.run(asked(corpus), work_dir=folder, report=silent)
    return folder


@pytest.mark.parametrize(
    ("world", "runtime"),
    [
        (2, {}),
        (4, {"loader_workers": 2}),
        (2, {"parallel": "ddp", "micro_rows": 1}),
        (2, {"parallel": "fsdp", "activation_checkpointing": True, "loader_workers": 1}),
        (1, {"micro_rows": 1, "loader_workers": 3}),
    ],
    ids=lambda value: str(value),
)
def test_order_and_loss_do_not_depend_on_how_the_run_is_carried_out(
    corpus: Path, tmp_path: Path, alone: Path, world: int, runtime: dict[str, Any]
) -> None:
    assert set(finish(start(world, asked(corpus, runtime=runtime), tmp_path))) == {0}
    assert order(tmp_path) == order(alone)
    expected = losses(alone)
    assert len(expected) == 50
    assert losses(tmp_path) == pytest.approx(expected, rel=1e-5)


def test_two_ranks_classify_as_one_does(corpus: Path, tmp_path: Path) -> None:
    """Labelled texts are dealt by length, and only the embeddings' rows that were looked up are summed."""
    one, two = tmp_path / "one", tmp_path / "two"
    asked_for = config(corpus, "sequence", model=STILL)
    train.run(asked_for, work_dir=one, report=silent)
    assert finish(start(2, asked_for, two)) == [0, 0]
    assert losses(two) == pytest.approx(losses(one), rel=1e-4)
    weights_of_one, weights_of_two = (load_file(folder / "model" / "model.safetensors") for folder in (one, two))
    for name, expected in weights_of_one.items():
        assert_close(weights_of_two[name], expected, rtol=1e-3, atol=1e-4)


def test_another_world_and_strategy_continue_a_checkpoint(corpus: Path, tmp_path: Path, alone: Path) -> None:
    """Ten steps each: two ranks that share out all state, four with whole copies, one, two under DDP."""
    stages = [(2, "fsdp"), (4, "replicate"), (1, "replicate"), (2, "ddp"), (2, "fsdp")]
    for number, (world, parallel) in enumerate(stages, start=1):
        runtime = {"parallel": parallel}
        part = asked(corpus, checkpoint_every=10, runtime=runtime)
        ended = finish(start(world, part, tmp_path, stop_at=10 * number if number < len(stages) else None))
        assert set(ended) == {0}, (tmp_path / "output-0").read_text()
    assert order(tmp_path) == order(alone)
    assert losses(tmp_path) == pytest.approx(losses(alone), rel=1e-5)
    one, other = (load_file(folder / "model" / "model.safetensors") for folder in (tmp_path, alone))
    for name in one:
        assert_close(one[name], other[name], rtol=1e-3, atol=1e-5)


def test_recomputed_activations_change_no_bit(corpus: Path, tmp_path: Path) -> None:
    """Dropout is on: the blocks draw the same numbers again."""
    plain = config(corpus, "mlm", steps=6)
    again = config(corpus, "mlm", steps=6, runtime={"activation_checkpointing": True})
    for asked_for, name in ((plain, "plain"), (again, "again")):
        train.run(asked_for, work_dir=tmp_path / name, report=silent)
    assert weights(tmp_path / "plain") == weights(tmp_path / "again")


def test_patience_ends_a_run_at_the_evaluation_that_used_it_up(corpus: Path, tmp_path: Path) -> None:
    wild = {"lr": 0.5, "schedule": "constant", "warmup_share": 0.0}
    asked_for = config(corpus, steps=60, eval_every=2, patience=3, keep="best", optimizer=wild)
    summary = train.run(asked_for, work_dir=tmp_path, report=silent)
    assert summary["steps"] < 60
    evals = [line for line in train.read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "eval"][1:]
    assert evals[-1]["step"] == summary["steps"]
    assert all(line["loss"] >= summary["best"]["loss"] for line in evals[-3:])
    assert train.run(asked_for, work_dir=tmp_path, report=silent)["steps"] == summary["steps"]


def test_evaluations_at_fixed_counts_of_positions(corpus: Path, tmp_path: Path) -> None:
    batch = {"tokens": 128, "row_length": 32, "warmup": {"start": 1, "share": 0.5}}
    asked_for = config(corpus, "mlm", steps=12, batch=batch, eval_every_tokens=256)
    train.run(asked_for, work_dir=tmp_path, report=silent)
    data = train.build_data(asked_for, asked_for.train_data, length=run_length(asked_for))
    evals = [line["step"] for line in train.read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "eval"]
    reached = [data.positions_before(step) for step in range(13)]
    expected = [step for step in range(1, 13) if reached[step] // 256 > reached[step - 1] // 256]
    assert evals == [0, *expected] + ([12] if 12 not in expected else [])
    assert len(expected) > 2
