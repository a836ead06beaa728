"""Losses and gradients that are not numbers, caused: found alike on every rank, dumped, and left out on request."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from bert_core import train
from bert_core.config import TrainConfig
from bert_core.data import Batch
from bert_core.distributed import World
from bert_core.journal import read_metrics, read_order
from bert_core.nonfinite import NonFinite, NonFiniteLossError, find_nonfinite, stop_or_skip
from tests.bert_core.forked_ranks import finish, start
from tests.bert_core.test_train import config, corpus, silent

__all__ = ["corpus"]  # the fixture


def batch_of(corpus: Path, kind: str = "mlm") -> Batch:
    asked = config(corpus, kind)
    return train.build_data(asked, asked.train_data).batch(0, 0, 1)


def find(batch: Batch, model: nn.Module, loss: float, grad_norm: float, folder: Path | None) -> NonFinite | None:
    return find_nonfinite(
        step=7,
        loss=loss,
        grad_norm=grad_norm,
        rank_losses={"mlm": loss},
        batches=[batch, batch],
        model=model,
        world=World(),
        folder=folder,
    )


def test_a_healthy_step_has_none_and_leaves_nothing(corpus: Path, tmp_path: Path) -> None:
    assert find(batch_of(corpus), nn.Linear(2, 2), 1.0, 0.5, tmp_path / "dump") is None
    assert not (tmp_path / "dump").exists()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_finding_says_which_gradients_and_dumps_the_batch(corpus: Path, tmp_path: Path, bad: float) -> None:
    batch = batch_of(corpus)
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model(torch.tensor([[1.0, 2.0]])).sum().backward()
    weight = model.get_parameter("0.weight")
    assert weight.grad is not None
    weight.grad[1, 0] = bad
    found = find(batch, model, 1.5, math.nan, tmp_path)
    assert found is not None
    assert (found.parameters, found.ranks) == (("0.weight",), (0,))
    assert found.sample_ids == (*batch.sample_ids, *batch.sample_ids)
    folder = tmp_path / "step-00000007"
    assert found.dump == folder
    tensors = load_file(folder / "rank-0.safetensors")
    kept = [field.name for field in fields(batch) if isinstance(getattr(batch, field.name), torch.Tensor)]
    assert sorted(tensors) == sorted(f"{number}.{name}" for number in (0, 1) for name in kept)
    assert torch.equal(tensors["1.input_ids"], batch.input_ids)
    described = json.loads((folder / "rank-0.json").read_text(), parse_constant=pytest.fail)  # strict JSON
    assert described["nonfinite_gradients"] == ["0.weight"]
    assert described["gradient_norms"]["0.weight"] in ("nan", "inf")
    bias = model.get_parameter("1.bias").grad
    assert bias is not None
    assert described["gradient_norms"]["1.bias"] == pytest.approx(float(bias.norm()))
    assert found.journal_line()["kind"] == "skip"


def test_policies(corpus: Path) -> None:
    found = find(batch_of(corpus), nn.Linear(1, 1), math.nan, 1.0, None)
    assert found is not None
    with pytest.raises(NonFiniteLossError, match=r"step 7: loss nan.*sample ids \["):
        stop_or_skip(found, "stop", 0, 10)
    assert stop_or_skip(found, "skip", 0, 2) == 1
    assert stop_or_skip(found, "skip", 1, 2) == 2
    with pytest.raises(NonFiniteLossError, match="2 batches were left out before, and max_skipped is 2"):
        stop_or_skip(found, "skip", 2, 2)


def test_a_dump_that_cannot_be_written_hides_no_finding(
    corpus: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert find(batch_of(corpus), nn.Linear(1, 1), math.nan, 1.0, tmp_path / "file") is not None
    assert "no dump of rank 0" in capsys.readouterr().out


def poisoned(corpus: Path, folder: Path, world: int, steps: int) -> tuple[TrainConfig, dict[int, int]]:
    """A run from weights with an infinite embedding of one word, which few samples hold.

    Returns:
        the config, and which rank meets the word in which step; never two in one step. From the batches themselves.
    """
    small = {"batch": {"samples": 2, "row_length": 32}, "eval_data": None, "steps": steps, "checkpoint_every": 1}
    first = config(corpus, "sequence", **{**small, "steps": 1})
    train.run(first, work_dir=folder / "first", report=silent)
    data = train.build_data(first, first.train_data)
    met: dict[int, list[tuple[int, int]]] = {}
    for step in range(steps):
        for rank in range(world):
            for word in data.batch(step, rank, world).input_ids.unique().tolist():
                met.setdefault(word, []).append((step, rank))
    word, places = min(
        ((word, at) for word, at in met.items() if len(dict(at)) == len(at) >= 2), key=lambda item: len(item[1])
    )
    weights = folder / "first" / "model" / "model.safetensors"
    tensors = load_file(weights)
    tensors["bert.embeddings.word_embeddings.weight"][word] = math.inf
    save_file(tensors, weights, metadata={"format": "pt"})
    return config(corpus, "sequence", model=None, init=str(weights.parent), **small), dict(places)


def with_policy(asked: TrainConfig, **runtime: object) -> TrainConfig:
    return asked.model_copy(update={"runtime": asked.runtime.model_copy(update={"log_order": True, **runtime})})


def test_left_out_batches_are_recorded_and_their_count_survives_a_restart(corpus: Path, tmp_path: Path) -> None:
    asked, places = poisoned(corpus, tmp_path, world=1, steps=8)
    run = tmp_path / "run"
    train.run(with_policy(asked, on_nonfinite="skip"), work_dir=run, report=silent)
    skipped = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "skip"]
    order = dict(read_order(run))
    assert [line["sample_ids"] for line in skipped] == [order[step] for step in places]
    assert [line["step"] for line in skipped] == [step + 1 for step in places]
    assert all("loss not finite on rank 0" in line["reason"] for line in skipped)
    assert len(order) == 8  # the step counter went on
    weights = load_file(run / "model" / "model.safetensors")
    assert all(tensor.isfinite().all() for name, tensor in weights.items() if "word_embeddings" not in name)

    second = list(places)[1]

    def stop(line: dict[str, object], _: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == second + 1:
            raise KeyboardInterrupt  # after the second was left out and told of, before that was saved

    with pytest.raises(KeyboardInterrupt):
        train.run(with_policy(asked, on_nonfinite="skip"), work_dir=tmp_path / "cut", report=stop)
    strict = with_policy(asked, on_nonfinite="skip", max_skipped=1)
    with pytest.raises(NonFiniteLossError, match="1 batches were left out before, and max_skipped is 1"):
        train.run(strict, work_dir=tmp_path / "cut", report=silent)
    train.run(with_policy(asked, on_nonfinite="skip"), work_dir=tmp_path / "cut", report=silent)
    again = [line for line in read_metrics(tmp_path / "cut" / "metrics.jsonl") if line["kind"] == "skip"]
    assert [{**line, "time": 0} for line in again] == [{**line, "time": 0} for line in skipped]


def test_one_ranks_bad_sample_stops_both_with_step_samples_and_dumps(corpus: Path, tmp_path: Path) -> None:
    asked, places = poisoned(corpus, tmp_path, world=2, steps=6)
    (step, guilty), run = next(iter(places.items())), tmp_path / "run"
    assert finish(start(2, with_policy(asked), run)) == [1, 1]
    data = train.build_data(asked, asked.train_data)
    ids = data.batch(step, guilty, 2).sample_ids
    for rank in range(2):
        message = (run / f"output-{rank}").read_text()
        assert f"NonFiniteLossError: step {step}: loss nan" in message
        assert f"loss not finite on rank {guilty};" in message
        assert f"sample ids {list(ids)};" in message
    folder = run / "nonfinite" / f"step-{step:08d}"
    assert sorted(file.name for file in folder.iterdir()) == [
        f"rank-{rank}.{kind}" for rank in range(2) for kind in ("json", "safetensors")
    ]
    losses = [json.loads((folder / f"rank-{rank}.json").read_text())["rank_losses"] for rank in range(2)]
    assert losses[guilty] == {"sequence": "nan"}
    assert math.isfinite(losses[1 - guilty]["sequence"])
    dumped = load_file(folder / f"rank-{guilty}.safetensors")
    assert torch.equal(dumped["0.input_ids"], data.batch(step, guilty, 2).input_ids)


def test_two_ranks_leave_the_same_batches_out(corpus: Path, tmp_path: Path) -> None:
    asked, places = poisoned(corpus, tmp_path, world=2, steps=6)
    run = tmp_path / "run"
    assert finish(start(2, with_policy(asked, on_nonfinite="skip"), run)) == [0, 0]
    skipped = [line for line in read_metrics(run / "metrics.jsonl") if line["kind"] == "skip"]
    data = train.build_data(asked, asked.train_data)
    assert [line["sample_ids"] for line in skipped] == [
        list(data.batch(step, rank, 2).sample_ids) for step, rank in places.items()
    ]
