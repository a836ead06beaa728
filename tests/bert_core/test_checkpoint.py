"""Checkpoints: whole or passed over by name, never another run's, and kept by a policy that outlives the process."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from bert_core import checkpoint
from bert_core.checkpoint import CheckpointError, newest_valid, write_checkpoint
from bert_core.files import file_sha256
from bert_core.retention import Entry, Keep, surplus
from bert_core.tensor_file import write_tensors


def save(root: Path, step: int, value: float, **identity: object) -> Path:
    tensors = {"model": {"w": torch.full((40,), value)}, "optimizer": {"w.exp_avg": torch.full((9,), value)}}
    return write_checkpoint(root, step, tensors, progress={"tokens": step}, identity=identity, positions=step * 10)


def test_what_is_saved_is_opened(tmp_path: Path) -> None:
    save(tmp_path, 5, 1.5, seed=1)
    found, faults = newest_valid(tmp_path)
    assert found is not None
    assert (found.step, found.positions, found.loss, found.progress, faults) == (5, 50, None, {"tokens": 5}, [])
    assert found.tensors("model")["w"].tolist() == [1.5] * 40


def test_tensor_files_are_those_of_safetensors_and_hashed_as_written(tmp_path: Path) -> None:
    wide = torch.arange(12, dtype=torch.float32).reshape(3, 4)
    tensors = {
        "é": torch.tensor([True]),
        "a": wide.t(),
        "b": torch.zeros(0, 3),
        "c": torch.tensor(1.5, dtype=torch.bfloat16),
        "d": torch.arange(3),
        "e": torch.ones(1).expand(5, 1),
        "f": torch.randn(3_000_000, generator=torch.Generator().manual_seed(0)),  # more than one chunk
    }
    digest = write_tensors(tmp_path / "ours", tensors)
    assert digest == file_sha256(tmp_path / "ours")
    read = load_file(tmp_path / "ours")
    assert read.keys() == tensors.keys()
    assert all(torch.equal(read[name], tensors[name]) and read[name].dtype == tensors[name].dtype for name in read)
    same_width = {name: tensors[name].contiguous() for name in ("b", "a", "f")}
    save_file(same_width, tmp_path / "theirs")
    write_tensors(tmp_path / "ours", same_width)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


@pytest.mark.parametrize("file", ["checkpoint.json", "model.safetensors", "optimizer.safetensors"])
def test_any_damage_anywhere_is_named_and_the_one_before_is_used(tmp_path: Path, file: str) -> None:
    """40 bit flips and 20 truncations at random places of each file, and the file missing."""
    save(tmp_path, 1, 1.0)
    target = save(tmp_path, 2, 2.0, lr=0.25) / file
    whole = target.read_bytes()
    dice = random.Random(file)
    damaged = [whole[: dice.randrange(len(whole))] for _ in range(20)]
    for _ in range(40):
        place = dice.randrange(len(whole))
        damaged.append(whole[:place] + bytes([whole[place] ^ 1 << dice.randrange(8)]) + whole[place + 1 :])
    for data in [*damaged, whole + b"\0", None]:
        target.unlink() if data is None else target.write_bytes(data)
        found, faults = newest_valid(tmp_path)
        assert found is not None
        assert found.step == 1
        assert len(faults) == 1
        assert str(target) in faults[0]
    target.write_bytes(whole)
    assert newest_valid(tmp_path)[0] is not None


def test_every_bit_of_an_index_counts(tmp_path: Path) -> None:
    """Its own hash: a flipped bit may turn "tokens": 2 into 3, which is JSON as well."""
    index = (save(tmp_path, 2, 2.0, lr=0.25) / "checkpoint.json").read_bytes()
    assert checkpoint.parse_index(index)["progress"] == {"tokens": 2}
    for place in range(len(index)):
        for bit in range(8):
            with pytest.raises(ValueError):  # noqa: PT011  # JSON's or ours, as the bit will have it
                checkpoint.parse_index(index[:place] + bytes([index[place] ^ 1 << bit]) + index[place + 1 :])


def test_a_half_written_one_is_not_seen(tmp_path: Path) -> None:
    whole = save(tmp_path, 1, 1.0)
    whole.rename(tmp_path / ".step-00000001.partial")  # what a killed save leaves
    assert newest_valid(tmp_path) == (None, [])


def test_another_runs_checkpoint_is_refused_with_the_difference(tmp_path: Path) -> None:
    save(tmp_path, 1, 1.0, seed=1, optimizer={"type": "adamw", "lr": 0.1})
    found, _ = newest_valid(tmp_path)
    assert found is not None
    with pytest.raises(CheckpointError, match="by another run") as refused:
        checkpoint.require_same_run(found, {"seed": 1, "optimizer": {"type": "adamw", "lr": 0.2}, "shuffle": True})
    assert str(refused.value).splitlines()[1:-1] == [
        "  optimizer.lr: checkpoint 0.1, this run 0.2",
        "  shuffle: checkpoint '(unset)', this run True",
    ]


def test_policy_keeps_the_newest_the_best_and_the_first_of_each_stretch() -> None:
    """Saved one after the other and pruned each time, as a run does; restarts change nothing: there is no memory."""
    losses = {3: 2.0, 5: 1.0, 7: 1.0, 9: 3.0}
    there: list[Entry] = []
    for step in range(1, 12):
        there.append(Entry(step, positions=step * 40, loss=losses.get(step)))
        gone = surplus(there, Keep(last=2, best=True, every_positions=100), newest=step)
        there = [entry for entry in there if entry.step not in gone]
    # Stretches of 100 positions begin with steps 3 (120), 5 (200), 8 (320), 10 (400); 5 has the lowest loss first.
    assert [entry.step for entry in there] == [3, 5, 8, 10, 11]
    assert surplus(there, Keep(last=1, best=False), newest=11) == [3, 5, 8, 10]


def test_policy_drops_what_lies_beyond_the_newest() -> None:
    """It was passed over as damaged: otherwise the run had continued from there."""
    assert surplus([Entry(8, 8, None), Entry(9, 9, None), Entry(12, 12, None)], Keep(last=1), newest=9) == [8, 12]
