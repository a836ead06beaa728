"""Checkpoints: whole or passed over by name, and never another run's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from bert_core import checkpoint
from bert_core.checkpoint import CheckpointError


def save(root: Path, step: int, value: float, **identity: object) -> Path:
    tensors = {"model": {"w": torch.full((4,), value)}}
    return checkpoint.save(root, step, tensors, progress={"tokens": step}, identity=identity, keep=2)


def test_what_is_saved_is_opened(tmp_path: Path) -> None:
    save(tmp_path, 5, 1.5, seed=1)
    found, faults = checkpoint.newest_valid(tmp_path)
    assert found is not None
    assert (found.step, found.progress, faults) == (5, {"tokens": 5}, [])
    assert found.tensors("model")["w"].tolist() == [1.5] * 4


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for step in (1, 2, 10):
        save(tmp_path, step, step)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-00000002", "step-00000010"]


@pytest.mark.parametrize("damage", ["truncated", "flipped bit", "missing file", "torn index"])
def test_a_damaged_one_is_named_and_the_one_before_is_used(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1, 1.0)
    newest = save(tmp_path, 2, 2.0)
    target = newest / ("checkpoint.json" if damage == "torn index" else "model.safetensors")
    data = bytearray(target.read_bytes())
    if damage == "missing file":
        target.unlink()
    elif damage == "flipped bit":
        data[-1] ^= 1
        target.write_bytes(data)
    else:
        target.write_bytes(data[: len(data) // 2])
    found, faults = checkpoint.newest_valid(tmp_path)
    assert found is not None
    assert found.step == 1
    assert len(faults) == 1
    assert str(target) in faults[0]


def test_a_half_written_one_is_not_seen(tmp_path: Path) -> None:
    whole = save(tmp_path, 1, 1.0)
    whole.rename(tmp_path / ".step-00000001.partial")  # what a killed save leaves
    assert checkpoint.newest_valid(tmp_path) == (None, [])


def test_another_runs_checkpoint_is_refused_with_the_difference(tmp_path: Path) -> None:
    save(tmp_path, 1, 1.0, seed=1, lr=0.1)
    found, _ = checkpoint.newest_valid(tmp_path)
    assert found is not None
    with pytest.raises(CheckpointError, match=r"lr: checkpoint 0\.1, this run 0\.2"):
        checkpoint.require_same_run(found, {"seed": 1, "lr": 0.2})


def test_optimizer_state_goes_round() -> None:
    first, second = (torch.nn.Linear(3, 2) for _ in range(2))
    adam = torch.optim.AdamW(first.parameters())
    first(torch.ones(1, 3)).sum().backward()
    adam.step()
    other = torch.optim.AdamW(second.parameters())
    checkpoint.load_optimizer_tensors(other, checkpoint.optimizer_tensors(adam))
    for ours, theirs in zip(adam.state_dict()["state"].values(), other.state_dict()["state"].values(), strict=True):
        assert all(torch.equal(torch.as_tensor(ours[key]), torch.as_tensor(theirs[key])) for key in ours)
