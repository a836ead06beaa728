"""Saving behind the training: what is saved is what was, errors do not end the run, and a full disk is a real one."""

from __future__ import annotations

import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from bert_core import checkpoint_writer, train, training_run
from bert_core.checkpoint import CheckpointError, best_valid, newest_valid
from bert_core.checkpoint_writer import CheckpointWriter
from bert_core.journal import read_metrics
from bert_core.retention import Keep
from tests.bert_core.test_train import config, corpus, silent, weights

__all__ = ["corpus"]  # the fixture


def put(writer: CheckpointWriter, step: int, loss: float | None = None, size: int = 4) -> Path:
    return writer.save(
        step,
        {"model": {"w": torch.full((size,), float(step))}},
        progress={"tokens": step},
        identity={},
        positions=10 * step,
        loss=loss,
    )


def steps(root: Path) -> list[int]:
    assert all(path.name.startswith("step-") for path in root.iterdir())  # nothing half-done is left
    return sorted(int(path.name[5:]) for path in root.iterdir())


@contextmanager
def disk_full_beyond(size: int) -> Iterator[None]:
    """Writing more than `size` bytes into a file fails, as it does on a full disk."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)


def test_tensors_may_change_as_soon_as_save_returns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go = threading.Event()
    write = checkpoint_writer.write_checkpoint

    def held(*arguments: Any, **named: Any) -> Path:
        assert go.wait(10)
        return write(*arguments, **named)

    monkeypatch.setattr(checkpoint_writer, "write_checkpoint", held)
    weight, progress = torch.ones(1000), {"tokens": 1, "best": {"loss": 2.0}}
    with CheckpointWriter(tmp_path, Keep()) as writer:
        writer.save(1, {"model": {"w": weight}}, progress=progress, identity={}, positions=1)
        weight.zero_()
        progress["tokens"] = 2
        progress["best"]["loss"] = 1.0
        assert newest_valid(tmp_path) == (None, [])  # it is not there yet, and training went on
        go.set()
        writer.wait()
        found, _ = newest_valid(tmp_path)
    assert found is not None
    assert found.progress == {"tokens": 1, "best": {"loss": 2.0}}
    assert found.tensors("model")["w"].eq(1).all()


def test_copies_use_the_same_memory_again_and_tied_weights_one_copy(tmp_path: Path) -> None:
    weight = torch.randn(50, 4)
    tensors = {"model": {"words": weight, "decoder": weight, "turned": weight.t()}}
    with CheckpointWriter(tmp_path, Keep()) as writer:
        places = []
        for step in (1, 2):
            writer.save(step, tensors, progress={}, identity={}, positions=step)
            places.append({name: buffer.data_ptr() for name, buffer in writer._buffers.items()})
        assert places[0] == places[1]
        assert len(places[0]) == 2  # of words and decoder one; turned has another layout
    found, _ = newest_valid(tmp_path)
    assert found is not None
    read = found.tensors("model")
    assert torch.equal(read["decoder"], weight)
    assert torch.equal(read["turned"], weight.t())


def test_pairs_are_taken_one_by_one(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path, Keep()) as writer:
        pairs = ((f"w{n}", torch.full((3,), float(n))) for n in range(4))
        writer.save(1, {"model": pairs}, progress={}, identity={}, positions=1)
    found, _ = newest_valid(tmp_path)
    assert found is not None
    assert [tensor[0].item() for _, tensor in sorted(found.tensors("model").items())] == [0, 1, 2, 3]


@pytest.mark.parametrize("background", [True, False])
def test_policy_survives_restarts(tmp_path: Path, background: bool) -> None:
    losses = {2: 1.0, 6: 3.0}
    for attempt in ((1, 2, 3), (4, 5, 6), (7, 8)):
        with CheckpointWriter(tmp_path, Keep(2, True, 50), background=background) as writer:
            for step in attempt:
                put(writer, step, losses.get(step))
    assert steps(tmp_path) == [2, 5, 7, 8]  # best, first of the stretch from 50, the two newest
    best, _ = best_valid(tmp_path)
    assert best is not None
    assert (best.step, best.loss) == (2, 1.0)


def test_a_damaged_one_beyond_does_not_push_out_the_valid_one(tmp_path: Path) -> None:
    with CheckpointWriter(tmp_path, Keep(last=1)) as writer:
        put(writer, 9)
    with CheckpointWriter(tmp_path, Keep(last=1)) as writer:  # 9 was damaged: the run continued from before
        (tmp_path / "step-00000009" / "model.safetensors").write_bytes(b"")
        put(writer, 5)
    assert steps(tmp_path) == [5]


def test_drafts_of_a_killed_process_are_cleaned_up(tmp_path: Path) -> None:
    for name in (".step-00000003.partial", ".step-00000002.removed", ".step-00000004.77.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "model.safetensors").write_bytes(b"half")
    with CheckpointWriter(tmp_path, Keep()) as writer:
        put(writer, 5)
    assert steps(tmp_path) == [5]


@pytest.mark.parametrize("background", [True, False])
def test_on_a_full_disk_training_goes_on_and_the_newest_valid_one_stays(tmp_path: Path, background: bool) -> None:
    with CheckpointWriter(tmp_path, Keep(last=1), background=background) as writer:
        put(writer, 1, size=10_000)
        writer.wait()
        with disk_full_beyond(20_000):
            put(writer, 2, size=10_000)
            put(writer, 3, size=10_000)
            with pytest.raises(CheckpointError, match=r"checkpoint failed at step 3: .*File too large"):
                writer.wait()
            events = writer.events()
            assert steps(tmp_path) == [1]
        assert [(event["kind"], event["step"]) for event in events] == [("checkpoint_failed", step) for step in (2, 3)]
        assert all("File too large" in event["reason"] for event in events)
        found, faults = newest_valid(tmp_path)
        assert (found and found.step, faults) == (1, [])
        put(writer, 4, size=10_000)  # there is room again
    assert steps(tmp_path) == [4]


def test_a_run_on_a_disk_that_is_full_for_a_while_ends_as_if_it_had_not_been(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Full from step 3 to 9 of 12, saves at 2, 4, 6, 8, 10 and 12: in the foreground, or chance says which fail."""
    monkeypatch.setattr(training_run, "CheckpointWriter", partial(CheckpointWriter, background=False))
    asked = config(corpus, "mlm", eval_data=None, checkpoint_every=2)
    train.run(asked, work_dir=tmp_path / "whole", report=silent)
    with ExitStack() as full:

        def fill_up(line: dict[str, Any], _: Path | None) -> None:
            if line["kind"] == "train" and line["step"] == 3:
                full.enter_context(disk_full_beyond(50_000))
            if line["kind"] == "train" and line["step"] == 9:
                found, faults = newest_valid(tmp_path / "run" / "checkpoints")
                assert (found and found.step, faults) == (2, [])
                full.close()

        train.run(asked, work_dir=tmp_path / "run", report=fill_up)
    lines = read_metrics(tmp_path / "run" / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "checkpoint_failed"] == [4, 6, 8]
    assert weights(tmp_path / "run") == weights(tmp_path / "whole")
    assert steps(tmp_path / "run" / "checkpoints") == [10, 12]


def _interrupted() -> Iterator[tuple[str, torch.Tensor]]:
    yield "w", torch.ones(10_000)
    raise KeyboardInterrupt


def test_leaving_with_a_failed_last_save_raises_but_hides_no_other_error(tmp_path: Path) -> None:
    with disk_full_beyond(5_000):
        with pytest.raises(CheckpointError, match="step 1"), CheckpointWriter(tmp_path, Keep()) as writer:
            put(writer, 1, size=10_000)
        with pytest.raises(KeyboardInterrupt), CheckpointWriter(tmp_path, Keep()) as writer:
            writer.save(1, {"model": _interrupted()}, progress={}, identity={}, positions=1)


def test_a_mistake_in_the_program_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    with pytest.raises(TypeError), CheckpointWriter(tmp_path, Keep()) as writer:
        writer.save(1, {"model": {"w": torch.ones(1)}}, progress={"x": object()}, identity={}, positions=1)
