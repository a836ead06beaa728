"""Labelled examples in batches: every one once an epoch, one order for any number of ranks, resumed to the bit."""

from __future__ import annotations

import pickle
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from test_data import assert_equal
from tiny_tasks import TASKS, features, shape, table, wordpiece
from torch.testing import assert_close

from bert_core import train
from bert_core.config import BatchConfig, TrainConfig
from bert_core.data import Batch, DataError, ExampleData, document_bounds, pack_batch
from bert_core.features import Features, encode, open_features, write_features
from bert_core.features.encode import origin
from bert_core.journal import read_order
from bert_core.order import RunLength
from tests.bert_core.forked_ranks import finish, start
from tests.bert_core.test_train import silent, weights

ROWS = 37


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Features of every task, and of its validation side; the tokenizer that made them."""
    folder = tmp_path_factory.mktemp("examples")
    wordpiece().save(folder / "tokenizer")
    for name, task in TASKS.items():
        for side, rows, seed in (("train", ROWS, 0), ("validation", 9, 1)):
            write_features(encode(task, table(name, rows, seed), wordpiece(), 48), folder / name / side)
    return folder


def data(folders: Path, name: str, samples: int = 8, **more: Any) -> ExampleData:
    batch = BatchConfig(samples=samples, row_length=48)
    return ExampleData(folders / name / "train", batch, 13, pad_id=wordpiece().pad_id, **more)


def examples_of(batch: Batch) -> dict[int, list[tuple[int, ...]]]:
    """Sample id -> the tokens of its sequences, in order."""
    assert batch.examples is not None
    assert batch.spans is not None
    flat, found = batch.input_ids.flatten().tolist(), {}
    for example, (a, b) in zip(batch.examples.tolist(), batch.spans.tolist(), strict=True):
        found.setdefault(batch.sample_ids[example], []).append(tuple(flat[a:b]))
    return found


def tokens_of(held: Features, example: int) -> list[tuple[int, ...]]:
    numbers = range(*held.sequence_bounds[example : example + 2])
    return [tuple(held.tokens[held.offsets[n] : held.offsets[n + 1]].tolist()) for n in numbers]


# ------------------------------------------------------------------------------------------------------- order


@pytest.mark.parametrize("world", [1, 2, 4])
def test_every_example_is_seen_once_an_epoch_by_any_number_of_ranks(folders: Path, world: int) -> None:
    this = data(folders, "choice")
    steps = ROWS  # eight epochs of 37 examples in batches of 8
    seen: list[int] = []
    for step in range(steps):
        ranks = [this.batch(step, rank, world) for rank in range(world)]
        together = [sample for batch in ranks for sample in batch.sample_ids]
        assert sorted(together) == sorted(this.sample_ids(step))
        assert max(len(batch.sample_ids) for batch in ranks) == 8 // world
        seen += this.sample_ids(step)
    epochs = [seen[at : at + ROWS] for at in range(0, len(seen), ROWS)]
    assert all(sorted(epoch) == list(range(ROWS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)
    assert Counter(seen) == dict.fromkeys(range(ROWS), 8)


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("micro_rows", [1, 2, 100])
def test_micro_batches_hold_the_same_examples_whole(folders: Path, name: str, micro_rows: int) -> None:
    this = data(folders, name)
    for step in range(ROWS // 8):  # a batch of two epochs may hold an example twice
        for world in (1, 2):
            parts = [this.micro_batches(step, rank, world, micro_rows) for rank in range(world)]
            assert len({len(part) for part in parts}) == 1
            found: dict[int, list[tuple[int, ...]]] = {}
            for batch in (batch for part in parts for batch in part):
                assert not found.keys() & examples_of(batch).keys()
                found |= examples_of(batch)
            assert sorted(found) == sorted(this.sample_ids(step))
            assert all(tokens_of(this.features, example) == held for example, held in found.items())


def test_micro_batches_of_long_and_short_texts_are_about_as_large_as_asked(tmp_path: Path) -> None:
    texts = ["ban " * 40] * 4 + ["ban"] * 28
    write_features(encode(TASKS["single"], pa.table({"text": texts}), wordpiece(), 48), tmp_path)
    this = ExampleData(tmp_path, BatchConfig(samples=32, row_length=48), 13, pad_id=0)
    (whole,) = this.micro_batches(0, 0, 1, None)
    parts = this.micro_batches(0, 0, 1, 2)
    assert max(part.input_ids.numel() for part in parts) <= 1.6 * 2 * 48
    assert len(parts) >= whole.input_ids.numel() // (2 * 48)


@pytest.mark.parametrize("world", [1, 2, 3, 50])
def test_evaluation_reads_every_example_once(folders: Path, world: int) -> None:
    this = data(folders, "span")
    seen = [s for rank in range(world) for batch in this.eval_batches(rank, world) for s in batch.sample_ids]
    assert sorted(seen) == list(range(ROWS))


@pytest.mark.parametrize("name", TASKS)
def test_seeking_gives_what_going_there_gives_in_a_copy_and_in_data_made_anew(folders: Path, name: str) -> None:
    this = data(folders, name)
    sequential = [this.batch(step, 1, 2) for step in range(12)]
    for step in (11, 4, 0, 10):
        assert_equal(this.batch(step, 1, 2), sequential[step])
    assert_equal(pickle.loads(pickle.dumps(this)).batch(7, 1, 2), sequential[7])
    assert_equal(data(folders, name).batch(7, 1, 2), sequential[7])


def test_a_batch_larger_than_the_data_meets_examples_again(folders: Path) -> None:
    this = data(folders, "single", samples=2 * ROWS + 9)
    assert max(Counter(this.batch(0, 0, 1).sample_ids).values()) == 3
    assert this.steps_per_epoch == pytest.approx(ROWS / (2 * ROWS + 9))


def test_the_length_of_a_run(folders: Path) -> None:
    assert data(folders, "single", length=RunLength(None, 2.0, None)).total_steps == -(-2 * ROWS // 8)
    assert data(folders, "single", length=RunLength(3, 2.0, None)).total_steps == 3
    with pytest.raises(DataError, match="the run has no last step"):
        _ = data(folders, "single").total_steps
    tokens = len(data(folders, "single").features.tokens)
    assert data(folders, "single", length=RunLength(None, 2.0, 10**9)).positions_before(ROWS) == pytest.approx(
        8 * tokens
    )
    assert data(folders, "single", length=RunLength(None, 2.0, tokens)).total_steps == -(-ROWS // 8)
    assert data(folders, "single").epochs_before(ROWS) == 8.0
    assert data(folders, "single").document_id(5) == "single-5"


# ------------------------------------------------------------------------------------------------------- packing


@pytest.mark.parametrize("name", TASKS)
def test_what_stands_where(name: str) -> None:
    held = features(name)
    order = np.random.default_rng(0).permutation(held.num_examples)
    batch = pack_batch(held, order, 48, wordpiece().pad_id)
    T = batch.input_ids.shape[1]
    assert T <= 48
    assert batch.num_tokens == len(held.tokens) == int((batch.document_ids > 0).sum())
    assert examples_of(batch) == {e: tokens_of(held, e) for e in range(held.num_examples)}
    assert batch.spans is not None
    assert batch.targets is not None
    numbers = [n for e in order for n in range(*held.sequence_bounds[e : e + 2])]
    labels: list[tuple[int, int]] = []
    for (a, b), number in zip(batch.spans.tolist(), numbers, strict=True):
        assert a // T == (b - 1) // T  # no sequence is cut
        positions = torch.arange(b - a)
        assert torch.equal(batch.position_ids.flatten()[a:b], positions)
        assert torch.equal(batch.token_type_ids.flatten()[a:b], (positions >= int(held.b_starts[number])).long())
        assert len(batch.document_ids.flatten()[a:b].unique()) == 1
        p, q = held.position_offsets[number : number + 2]
        labels += zip((a + held.positions[p:q]).tolist(), held.position_labels[p:q].tolist(), strict=True)
    assert [*zip(batch.predict_positions.tolist(), batch.predict_labels.tolist(), strict=True)] == labels
    np.testing.assert_array_equal(batch.targets.numpy(), held.targets[numbers])
    assert torch.equal(batch.cls_positions, batch.spans[:, 0])
    last = pack_batch(held, order, 48, 0, read_last=True)
    assert torch.equal(last.cls_positions, batch.spans[:, 1] - 1)
    bounds = batch.cu_seqlens.tolist()
    assert bounds == sorted(set(bounds))
    assert set(batch.spans.flatten().tolist()) <= set(bounds)
    assert batch.max_seqlen == max(np.diff(bounds))


@pytest.mark.parametrize("name", TASKS)
def test_a_batch_is_well_formed(folders: Path, name: str) -> None:
    this, causal = data(folders, name), data(folders, name, causal=True)
    pad, cls, sep = (getattr(wordpiece(), f"{special}_id") for special in ("pad", "cls", "sep"))
    for step in range(ROWS // 8):
        batch, last = this.batch(step, 0, 1), causal.batch(step, 0, 1)
        tensors = {key: value for key, value in vars(batch).items() if isinstance(value, torch.Tensor)}
        types = {"cu_seqlens": torch.int32, "targets": torch.float32}
        assert all(tensor.is_contiguous() for tensor in tensors.values())
        assert all(tensor.dtype == types.get(key, torch.int64) for key, tensor in tensors.items())
        used, flat = batch.document_ids > 0, batch.input_ids.flatten()
        assert (batch.input_ids[~used] == pad).all()
        assert (batch.input_ids[used & (batch.position_ids == 0)] == cls).all()
        assert (flat[batch.cls_positions] == cls).all()
        assert (flat[last.cls_positions] == sep).all()
        assert torch.equal(last.input_ids, batch.input_ids)
        bounds, longest = document_bounds(batch.document_ids)
        assert torch.equal(batch.cu_seqlens, bounds)
        assert batch.max_seqlen == longest
        moved = batch.to("meta")
        assert all(getattr(moved, key).is_meta for key in tensors)
        assert (moved.sample_ids, moved.num_tokens) == (batch.sample_ids, batch.num_tokens)


def test_a_sample_s_label_is_its_class_and_minus_one_where_it_is_unknown() -> None:
    held = features("single", unknown=True)
    batch = pack_batch(held, np.arange(held.num_examples), 48, wordpiece().pad_id)
    said = table("single", unknown=True)["label"].to_pylist()
    assert batch.sample_labels.tolist() == [-1 if label is None else "abc".index(label) for label in said]
    assert batch.num_labelled == 16


@pytest.fixture(scope="module")
def short_and_long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 texts of 1 to 126 words (median 30), a token each, as film reviews are."""
    folder, rng = tmp_path_factory.mktemp("lengths"), np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(3.4, 0.9, 200), 1, 126).astype(int)
    texts = ["." * length for length in lengths]
    write_features(encode(TASKS["single"], pa.table({"text": texts}), wordpiece(), 128), folder)
    assert open_features(folder).lengths.tolist() == (lengths + 2).tolist()
    return folder


def test_ranks_get_about_as_many_tokens(short_and_long: Path) -> None:
    this = ExampleData(short_and_long, BatchConfig(samples=32, row_length=128), 13, pad_id=0)
    tokens = np.array([[this.batch(step, rank, 4).num_tokens for rank in range(4)] for step in range(20)])
    imbalance = tokens.max(axis=1) / tokens.mean(axis=1)
    print(f"most tokens of a rank / mean: {imbalance.mean():.3f} on average")
    assert imbalance.mean() < 1.1


def test_little_is_padding(short_and_long: Path) -> None:
    this = ExampleData(short_and_long, BatchConfig(samples=64, row_length=128), 13, pad_id=0)
    batches = [this.batch(step, 0, 1) for step in range(10)]
    share = sum(batch.num_tokens for batch in batches) / sum(batch.input_ids.numel() for batch in batches)
    print(f"rows {share:.4f} full")
    assert share > 0.95
    assert all(batch.input_ids.shape[1] <= 128 for batch in batches)


# ------------------------------------------------------------------------------------------------------ refusals


def test_what_cannot_be_trained_on_is_said(folders: Path) -> None:
    with pytest.raises(DataError, match=r"set batch\.samples, not batch\.rows"):
        ExampleData(folders / "single" / "train", BatchConfig(rows=4), 13, pad_id=0)
    with pytest.raises(DataError, match=r"batch\.row_length is 8: encode the examples again"):
        ExampleData(folders / "single" / "train", BatchConfig(samples=4, row_length=8), 13, pad_id=0)
    with pytest.raises(DataError, match="no examples"):
        data(folders, "single", read=lambda folder: replace(open_features(folder), ids=[]))
    with pytest.raises(DataError, match="each rank needs at least one"):
        data(folders, "single", samples=2).batch(0, 0, 3)
    with pytest.raises(DataError, match=r"the model reads at most 9: set batch\.row_length = 9"):
        data(folders, "single", max_positions=9)
    data(folders, "single", origin=origin(TASKS["single"], wordpiece()), max_positions=48)
    other = TASKS["single"].model_copy(update={"labels": ("c", "b", "a")})
    with pytest.raises(DataError, match=r"features of another task: .*\['c', 'b', 'a'\].*encode the examples again"):
        data(folders, "single", origin=origin(other, wordpiece()))


# -------------------------------------------------------------------------------------------------------- training


def asked(folders: Path, name: str, **changes: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "name": "tiny",
        "model": shape("bert", wordpiece(), hidden_dropout=0.1, attention_dropout=0.1).model_dump(),
        "task": TASKS[name].model_dump(),
        "batch": {"samples": 8, "row_length": 48},
        "optimizer": {"lr": 1e-3},
        "steps": 12,
        "train_data": str(folders / name / "train"),
        "eval_data": str(folders / name / "validation"),
        "tokenizer": str(folders / "tokenizer"),
        "eval_every": 6,
        "checkpoint_every": 4,
        "log_every": 1,
    }
    return TrainConfig.model_validate(base | changes)


@pytest.mark.parametrize("name", ["token", "choice"])
@pytest.mark.parametrize("stop_at", [5, 8])
def test_stopped_and_run_again_is_bit_identical(folders: Path, tmp_path: Path, name: str, stop_at: int) -> None:
    whole = asked(folders, name, optimizer={"lr": 1e-3, "ema_decay": 0.9})
    train.run(whole, work_dir=tmp_path / "whole", report=silent)

    def stop(line: dict[str, Any], checkpoint: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(whole, work_dir=tmp_path / "cut", report=stop)
    train.run(whole, work_dir=tmp_path / "cut", report=silent)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


@pytest.mark.parametrize("name", TASKS)
def test_every_task_learns_its_training_side_by_heart(folders: Path, tmp_path: Path, name: str) -> None:
    still = shape("bert", wordpiece()).model_dump()
    config = asked(folders, name, model=still, steps=60, optimizer={"lr": 3e-3}, eval_every=1000, log_every=10)
    config = config.model_copy(update={"eval_data": config.train_data})
    summary = train.run(config, work_dir=tmp_path, report=silent)
    assert summary["eval_after"]["loss"] < 0.7 * summary["eval_before"]["loss"]


@pytest.mark.parametrize(
    ("name", "world", "runtime"),
    [
        ("span", 4, {"loader_workers": 2}),
        ("multi", 2, {"parallel": "ddp", "micro_rows": 1}),
        ("token", 2, {"parallel": "fsdp"}),
        ("span", 1, {"micro_rows": 1}),
    ],
    ids=str,
)
def test_order_and_loss_do_not_depend_on_how_the_run_is_carried_out(
    folders: Path, tmp_path: Path, name: str, world: int, runtime: dict[str, Any]
) -> None:
    still = shape("bert", wordpiece()).model_dump()
    short: dict[str, Any] = {"model": still, "steps": 6, "eval_every": 3}
    alone = asked(folders, name, **short, runtime={"log_order": True})
    train.run(alone, work_dir=tmp_path / "alone", report=silent)
    spread = asked(folders, name, **short, runtime={"log_order": True, **runtime})
    assert set(finish(start(world, spread, tmp_path / "spread"))) == {0}
    lines = [
        [
            line["loss"]
            for line in train.read_metrics(tmp_path / run / "metrics.jsonl")
            if line["kind"] in ("train", "eval")
        ]
        for run in ("alone", "spread")
    ]
    assert lines[1] == pytest.approx(lines[0], rel=2e-4)
    orders = [[(step, sorted(ids)) for step, ids in read_order(tmp_path / run)] for run in ("alone", "spread")]
    assert orders[0] == orders[1]
    one, many = (load_file(tmp_path / run / "model" / "model.safetensors") for run in ("alone", "spread"))
    for parameter, value in one.items():
        if "key.bias" not in parameter:  # its gradient is zero, and Adam blows up the rounding errors of it
            assert_close(many[parameter], value, atol=2e-3, rtol=0)
