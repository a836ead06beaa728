"""The second place: a machine that lost its disk continues from it, and what was half sent is passed over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from bert_core.checkpoint import CheckpointError, best_valid, fetch, newest_valid
from bert_core.checkpoint_writer import CheckpointWriter
from bert_core.mirror import Mirror
from bert_core.retention import Keep
from tests.bert_core.test_checkpoint_writer import put, steps


@pytest.fixture(params=["path", "uri"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    far = tmp_path / "far"
    return Mirror(str(far) if request.param == "path" else f"file://{far}")


def fill(tmp_path: Path, mirror: Mirror, losses: dict[int, float | None], keep: Keep | None = None) -> Path:
    near = tmp_path / "near"
    with CheckpointWriter(near, keep or Keep(2), mirror=mirror) as writer:
        for step, loss in losses.items():
            put(writer, step, loss)
        writer.wait()
        assert writer.events() == []
    return near


def value(found: object) -> float:
    assert found is not None
    return float(found.tensors("model")["w"][0])  # type: ignore[attr-defined]


def test_it_holds_what_the_folder_holds(tmp_path: Path, mirror: Mirror) -> None:
    near = fill(tmp_path, mirror, {1: 5.0, 2: None, 3: 6.0, 4: None, 5: None}, Keep(2, True, 30))
    assert steps(near) == steps(tmp_path / "far") == [1, 3, 4, 5]
    for file in near.rglob("*.*"):
        assert file.is_dir() or file.read_bytes() == (tmp_path / "far" / file.relative_to(near)).read_bytes()


def test_a_lost_disk_costs_nothing(tmp_path: Path, mirror: Mirror) -> None:
    near = fill(tmp_path, mirror, {1: 1.0, 2: 3.0, 3: 2.0})
    shutil.rmtree(near)
    found, faults = newest_valid(near, mirror)
    assert (found and found.step, found and found.path, faults) == (3, near / "step-00000003", [])
    assert value(found) == 3.0
    best, _ = best_valid(near, mirror)
    assert (best and best.step, value(best)) == (1, 1.0)
    assert fetch(near, 2, mirror).loss == 3.0
    fill(tmp_path, mirror, {4: 4.0})
    assert steps(tmp_path / "far") == [1, 3, 4]


def test_a_damaged_one_here_is_replaced_from_there(tmp_path: Path, mirror: Mirror) -> None:
    near = fill(tmp_path, mirror, {1: None, 2: None})
    damaged = near / "step-00000002" / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    found, faults = newest_valid(near, mirror)
    assert value(found) == 2.0
    assert len(faults) == 1
    assert str(damaged) in faults[0]
    assert value(newest_valid(near)[0]) == 2.0  # whole again


@pytest.mark.parametrize("damage", ["model.safetensors", "checkpoint.json", "missing"])
def test_a_damaged_one_there_is_named_and_the_one_before_is_used(tmp_path: Path, mirror: Mirror, damage: str) -> None:
    near = fill(tmp_path, mirror, {1: None, 2: None})
    shutil.rmtree(near)
    file = tmp_path / "far" / "step-00000002" / ("model.safetensors" if damage == "missing" else damage)
    data = file.read_bytes()
    file.unlink() if damage == "missing" else file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found, faults = newest_valid(near, mirror)
    assert value(found) == 1.0
    assert len(faults) == 1
    assert f"step-00000002/{file.name}" in faults[0]
    assert steps(near) == [1]


def test_one_half_sent_is_passed_over_and_cleaned_up_by_the_next_upload(tmp_path: Path, mirror: Mirror) -> None:
    near = fill(tmp_path, mirror, {1: None, 2: None})
    (tmp_path / "far" / "step-00000002" / "checkpoint.json").unlink()  # it is sent last
    shutil.rmtree(near)
    found, faults = newest_valid(near, mirror)
    assert (value(found), faults) == (1.0, [])
    fill(tmp_path, mirror, {3: None})
    assert steps(tmp_path / "far") == [1, 3]


def test_a_lost_mirror_is_reported_and_training_goes_on(tmp_path: Path) -> None:
    far = tmp_path / "far"
    far.write_text("not a folder")
    near = tmp_path / "near"
    with CheckpointWriter(near, Keep(), mirror=Mirror(str(far))) as writer:
        put(writer, 1)
        writer.wait()
        (event,) = writer.events()
        assert (event["kind"], event["step"]) == ("mirror_failed", 1)
        far.unlink()  # it is back
        put(writer, 2)
        writer.wait()
        assert writer.events() == []
    assert steps(near) == [1, 2]
    assert steps(far) == [2]


def test_without_a_checkpoint_here_a_lost_mirror_is_an_error_and_no_reason_to_start_anew(tmp_path: Path) -> None:
    (tmp_path / "far").write_text("not a folder")
    mirror = Mirror(str(tmp_path / "far"))
    with pytest.raises(CheckpointError, match=r"there may be one behind mirror .*far"):
        newest_valid(tmp_path / "near", mirror)
    with CheckpointWriter(tmp_path / "near", Keep()) as writer:
        put(writer, 1)
    found, faults = newest_valid(tmp_path / "near", mirror)
    assert value(found) == 1.0
    assert len(faults) == 1
    assert torch.equal(fetch(tmp_path / "near", 1, mirror).tensors("model")["w"], torch.ones(4))
