"""Freezing, gradual unfreezing, top layers drawn anew, and batches that do not fit into memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from bert_core import build, train
from bert_core.checkpoint import CheckpointError
from bert_core.config import ConfigError, MethodConfig, RuntimeConfig, TrainConfig
from bert_core.methods.freezing import first_learning, part_of
from bert_core.methods.out_of_memory import OutOfMemoryError, is_out_of_memory, smaller_micro_rows
from bert_core.task_models import TaskModel
from tests.bert_core.method_runs import (
    ROW_LENGTH,
    checkpoint_tensors,
    config,
    corpus,
    files,
    lines,
    make_corpus,
    run,
    run_cut,
    shape,
    tokenizer_of,
)

__all__ = ["corpus"]
LAYERS = 3


def weights_before(asked: TrainConfig) -> dict[str, Tensor]:
    model = build.build_model(asked, build.build_data(asked, asked.train_data))
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def weights_after(asked: TrainConfig, folder: Path) -> dict[str, Tensor]:
    """Of the exported folder, under our names."""
    run(asked, folder)
    again = asked.model_copy(update={"init": str(folder / "model"), "method": MethodConfig()})
    return weights_before(again)


@pytest.mark.parametrize("frozen", [0, 2, LAYERS, "encoder"])
def test_frozen_parts_do_not_move_and_all_others_do(corpus: Path, tmp_path: Path, frozen: int | str) -> None:
    asked = config(corpus, method={"freeze_layers": frozen}, steps=3)
    before, after = weights_before(asked), weights_after(asked, tmp_path)
    first = LAYERS + 2 if frozen == "encoder" else int(frozen) + 1
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {name for name in before if part_of(name, LAYERS) >= first}
    kept = checkpoint_tensors(tmp_path, 3)
    assert kept.keys() == moved  # what cannot change is in `init`
    assert {name.rpartition(".")[0] for name in checkpoint_tensors(tmp_path, 3, "optimizer")} == moved


def test_what_is_frozen_has_no_graph(corpus: Path) -> None:
    asked = config(corpus, method={"freeze_layers": 2})
    data = build.build_data(asked, asked.train_data)
    model = build.build_model(asked, data)
    assert isinstance(model, TaskModel)
    seen: dict[int, bool] = {}
    for number, block in enumerate(model.encoder.layers):
        block.register_forward_hook(lambda m, i, out, number=number: seen.update({number: out.requires_grad}))
    model.losses(data.batch(0, 0, 1))
    assert seen == {0: False, 1: False, 2: True}


def test_a_checkpoint_of_frozen_parts_continues_only_with_the_same_ones(corpus: Path, tmp_path: Path) -> None:
    asked = config(corpus, method={"freeze_layers": "encoder"}, steps=4)
    run(asked, tmp_path / "run")
    other = make_corpus(tmp_path / "other", initializer_range=0.3)
    with pytest.raises(CheckpointError, match="constant_sha256"):
        run(asked.model_copy(update={"init": str(other / "init")}), tmp_path / "run")


def test_blocks_are_unfrozen_from_the_top_at_equal_shares_of_the_steps() -> None:
    method, shape_ = MethodConfig(unfreeze=0.1), _shape(4)
    assert [first_learning(method, shape_, step, 100) for step in (0, 9, 10, 20, 39, 40, 50, 99)] == [
        6, 6, 4, 3, 2, 1, 0, 0,
    ]  # fmt: skip
    kept = MethodConfig(unfreeze=0.1, freeze_layers=2)
    assert first_learning(kept, shape_, 99, 100) == 3


def test_gradual_unfreezing_is_the_same_when_resumed_and_moves_parts_when_their_time_comes(
    corpus: Path, tmp_path: Path
) -> None:
    asked = config(corpus, method={"unfreeze": 0.15}, steps=12, checkpoint_every=1, keep_checkpoints=12)
    before = weights_before(asked)
    run(asked, tmp_path / "whole")
    for step in (1, 2, 4, 6, 8, 12):
        learned = first_learning(asked.method, _shape(LAYERS), step - 1, 12)
        now = checkpoint_tensors(tmp_path / "whole", step)
        moved = {name for name in before if not torch.equal(before[name], now[name])}
        assert moved == {name for name in before if part_of(name, LAYERS) >= learned}, step
    for stop_at in (1, 5, 8):
        run_cut(asked, tmp_path / f"cut-{stop_at}", stop_at)
        assert files(tmp_path / f"cut-{stop_at}") == files(tmp_path / "whole")


def test_top_blocks_and_pooler_are_drawn_anew_and_the_rest_is_that_of_the_folder(corpus: Path) -> None:
    loaded, drawn = weights_before(config(corpus)), weights_before(config(corpus, method={"reinit_layers": 2}))
    same = {name for name in loaded if torch.equal(loaded[name], drawn[name])}
    anew = {name for name in loaded if 2 <= part_of(name, LAYERS) <= LAYERS or name.startswith("pooler.dense.weight")}
    assert {name for name in loaded if name.endswith("weight")} - same == {n for n in anew if n.endswith("weight")}
    again = weights_before(config(corpus, method={"reinit_layers": 2}))
    assert all(torch.equal(again[name], drawn[name]) for name in drawn)


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ({"freeze_layers": 4}, "freeze_layers = 4: the model has 3 blocks"),
        ({"reinit_layers": 9}, "reinit_layers = 9: the model has 3 blocks"),
    ],
)
def test_more_blocks_than_there_are_is_an_error(corpus: Path, method: dict[str, Any], message: str) -> None:
    asked = config(corpus, method=method)
    with pytest.raises(ConfigError, match=message):
        build.build_model(asked, build.build_data(asked, asked.train_data))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": {"lora": {}, "prompt": {}}}, "lora and prompt: each keeps the encoder"),
        ({"method": {"lora": {}, "freeze_layers": 1}}, "leave out freeze_layers"),
        ({"method": {"freeze_layers": "encoder", "unfreeze": 0.1}}, "nothing to do"),
        ({"method": {"adversarial": {"type": "fgm", "steps": 3}}}, "steps"),
        ({"method": {"unfreeze": 0.1}, "runtime": {"parallel": "fsdp"}}, "replicate or ddp"),
        ({"method": {"rdrop_alpha": 1.0}, "task": {"type": "seq2seq"}}, "not of seq2seq"),
        ({"method": {"rdrop_alpha": 1.0}, "task": None, "objective": {"type": "mlm"}}, "set task instead"),
        ({"method": {"lora": {}}, "init": None, "model": {"size": "tiny"}}, "set init"),
    ],
)
def test_settings_that_contradict_each_other_are_errors(corpus: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        config(corpus, **changes)


def test_a_default_method_is_no_part_of_a_runs_identity(corpus: Path, tmp_path: Path) -> None:
    run(config(corpus, steps=3), tmp_path)
    run(config(corpus, steps=3, method={"rdrop_alpha": 0.0}), tmp_path)
    with pytest.raises(CheckpointError, match=r"method\.rdrop_alpha"):
        run(config(corpus, steps=3, method={"rdrop_alpha": 2.0}), tmp_path)


def _shape(layers: int) -> Any:
    from types import SimpleNamespace

    return SimpleNamespace(num_layers=layers)


LITTLE_MEMORY = """
import json, resource, sys
import torch
from bert_core import train
from bert_core.config import TrainConfig

torch.set_num_threads(1)
asked = TrainConfig.model_validate_json(open(sys.argv[1]).read())


def report(line, saved):
    if line["kind"] == "eval" and line["step"] == 0:
        size = int(next(l for l in open("/proc/self/status") if l.startswith("VmSize")).split()[1]) * 1024
        resource.setrlimit(resource.RLIMIT_AS, (size + int(sys.argv[3]), resource.RLIM_INFINITY))
    if line["kind"] == "train" and line["step"] == 2:  # all is trained; writing it may take what it needs
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


from pathlib import Path
train.run(asked, work_dir=Path(sys.argv[2]), report=report)
"""


def run_with_little_memory(asked: TrainConfig, folder: Path, more_bytes: int) -> subprocess.CompletedProcess[str]:
    """In a process that has only so much memory beside what it had before the first step."""
    folder.mkdir()
    (folder / "config.json").write_text(asked.model_dump_json())
    command = [sys.executable, "-c", LITTLE_MEMORY, str(folder / "config.json"), str(folder), str(more_bytes)]
    return subprocess.run(command, capture_output=True, text=True, timeout=200)


def large_batches(corpus: Path, **changes: Any) -> TrainConfig:
    size = {"hidden_size": 128, "intermediate_size": 512, "hidden_dropout": 0.0, "attention_dropout": 0.0}
    model = shape(tokenizer_of(corpus / "tokenizer"), num_layers=6, **size).model_dump()
    base: dict[str, Any] = {"model": model, "init": None, "batch": {"samples": 1200, "row_length": ROW_LENGTH}}
    return config(corpus, **{**base, "steps": 2, "checkpoint_every": 2, "optimizer": {"lr": 1e-3}, **changes})


def test_a_batch_that_does_not_fit_into_memory_is_halved_and_gives_the_same(corpus: Path, tmp_path: Path) -> None:
    asked = large_batches(corpus)
    done = run_with_little_memory(asked, tmp_path / "little", 400 << 20)
    assert done.returncode == 0, done.stderr[-2000:]
    halvings = [line for line in train.read_metrics(tmp_path / "little" / "metrics.jsonl") if line["kind"] == "halved"]
    assert halvings
    assert all(line["step"] == 0 for line in halvings)  # the run went on with them
    assert "halved: a batch did not fit into memory" in done.stdout
    rows = halvings[-1]["micro_rows"]
    run(asked.model_copy(update={"runtime": RuntimeConfig(micro_rows=rows)}), tmp_path / "small")
    assert files(tmp_path / "little") == files(tmp_path / "small")
    run(asked, tmp_path / "whole")
    for little, whole in zip(lines(tmp_path / "little"), lines(tmp_path / "whole"), strict=True):
        assert little["loss"] == pytest.approx(whole["loss"], rel=1e-4)
        assert little["grad_norm"] == pytest.approx(whole["grad_norm"], rel=1e-3)


def test_memory_for_not_even_one_row_is_an_error_that_says_what_helps(corpus: Path, tmp_path: Path) -> None:
    done = run_with_little_memory(large_batches(corpus), tmp_path / "none", 6 << 20)
    assert done.returncode != 0
    assert "does not fit into memory" in done.stderr
    assert "batch.row_length" in done.stderr


def test_only_what_means_no_memory_is_taken_for_it() -> None:
    with pytest.raises((RuntimeError, MemoryError)) as raised:
        torch.empty(1 << 50)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"))
    with pytest.raises(MemoryError) as array:
        np.empty(1 << 55)
    assert is_out_of_memory(array.value)
    assert not is_out_of_memory(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(OutOfMemoryError, match=r"under ddp all ranks.*micro_rows = 4, or runtime\.parallel"):
        smaller_micro_rows(8, "ddp", "no memory")
    with pytest.raises(OutOfMemoryError, match="single row"):
        smaller_micro_rows(1, "replicate", "no memory")
