from __future__ import annotations

import pickle
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from random_shards import random_documents, write_documents

from bert_core.config import BatchConfig, CausalObjective, MlmObjective, Objective, PermutationObjective
from bert_core.data import Batch, DataError, PretrainingData, document_bounds
from bert_core.shards import ShardError
from bert_core.tokenizer import Tokenizer, load, train_wordpiece

DOCUMENTS = random_documents(300)
OBJECTIVES: dict[str, Objective] = {
    "mlm": MlmObjective(),
    "nsp": MlmObjective(nsp=True),
    "sop": MlmObjective(sop=True, unit="span"),
    "word": MlmObjective(unit="word"),
    "causal": CausalObjective(),
    "permutation": PermutationObjective(),
}


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Tokenizer:
    return load(minilm)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("data") / "shards", tokenizer, DOCUMENTS)


def pretraining(
    folder: Path, tokenizer: Tokenizer, *, nsp: bool = False, rows: int = 8, seed: int = 13
) -> PretrainingData:
    return PretrainingData(folder, tokenizer, MlmObjective(nsp=nsp), BatchConfig(row_length=128, rows=rows), seed)


def build(kind: str, folder: Path, tokenizer: Tokenizer, size: int = 16) -> PretrainingData:
    return PretrainingData(folder, tokenizer, OBJECTIVES[kind], BatchConfig(row_length=128, rows=size), 13)


@pytest.fixture(params=OBJECTIVES)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def data(kind: str, folder: Path, tokenizer: Tokenizer) -> PretrainingData:
    return build(kind, folder, tokenizer)


Sample = tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], int]


def contents(batch: Batch) -> dict[int, Sample]:
    """Sample id -> (tokens, types, (offset, token) to predict, label), wherever in the batch it lies."""
    width = batch.input_ids.shape[1]
    flat = {name: getattr(batch, name).flatten() for name in ("input_ids", "token_type_ids", "document_ids")}
    predicted = dict(zip(batch.predict_positions.tolist(), batch.predict_labels.tolist(), strict=True))
    found: dict[int, Sample] = {}
    starts = (batch.cls_positions - batch.position_ids.flatten()[batch.cls_positions]).tolist()
    for number, (sample, start) in enumerate(zip(batch.sample_ids, starts, strict=True)):
        end = start
        while end < (start // width + 1) * width and flat["document_ids"][end] == flat["document_ids"][start]:
            end += 1
        found[sample] = (
            tuple(flat["input_ids"][start:end].tolist()),
            tuple(flat["token_type_ids"][start:end].tolist()),
            tuple((at - start, predicted[at]) for at in range(start, end) if at in predicted),
            int(batch.sample_labels[number]),
        )
    return found


def assert_equal(one: Batch, other: Batch) -> None:
    for name, value in vars(one).items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, getattr(other, name), rtol=0, atol=0, equal_nan=True, msg=name)
        else:
            assert value == getattr(other, name), name


def test_a_batch_is_well_formed(data: PretrainingData, kind: str, tokenizer: Tokenizer) -> None:
    for step in range(6):
        batch = data.batch(step, 0, 1)
        used = batch.document_ids > 0
        tensors = [value for value in vars(batch).values() if isinstance(value, torch.Tensor)]
        assert all(tensor.is_contiguous() for tensor in tensors)
        assert all(tensor.dtype == torch.int64 for tensor in tensors if tensor is not batch.cu_seqlens)
        assert batch.num_tokens == int(used.sum())
        assert (batch.input_ids[~used] == tokenizer.pad_id).all()
        stands_for = tokenizer.sep_id if kind == "causal" else tokenizer.cls_id
        assert (batch.input_ids.flatten()[batch.cls_positions] == stands_for).all()
        assert (batch.input_ids[used & (batch.position_ids == 0)] == tokenizer.cls_id).all()
        assert (batch.predict_positions.diff() > 0).all()
        bounds, longest = document_bounds(batch.document_ids)
        assert torch.equal(batch.cu_seqlens, bounds)
        assert batch.cu_seqlens.dtype == torch.int32
        assert batch.max_seqlen == longest
        assert (batch.order is not None) == (kind == "permutation")
        assert int((used & (batch.position_ids == 0)).sum()) == batch.num_samples == len(batch.sample_labels)
        for row in batch.document_ids.tolist():
            assert row == sorted(row, key=lambda number: number or 10**9)  # 1 1 1 2 2 … 0 0
            assert set(row) - {0} == set(range(1, max(row) + 1))
        for tokens, types, _, _ in contents(batch).values():
            assert tokens[-1] == tokenizer.sep_id
            assert list(types) == sorted(types)
            assert tokens.count(tokenizer.sep_id) == 1 + (1 in types)


def test_pretraining_samples_are_the_text(folder: Path, tokenizer: Tokenizer) -> None:
    data = pretraining(folder, tokenizer)
    restored: dict[str, dict[int, list[int]]] = {}
    for batch in data.eval_batches(0, 1):
        for sample, (tokens, _, predicted, label) in contents(batch).items():
            text = list(tokens)
            for offset, token in predicted:
                text[offset] = token
            restored.setdefault(data.document_id(sample), {})[sample] = text[1:-1]
            assert label == -1
            assert len(predicted) == max(1, int((len(text) - 2) * 0.15 + 0.5))
    for document in DOCUMENTS:
        pieces = restored[document.document_id]
        assert [token for sample in sorted(pieces) for token in pieces[sample]] == document.tokens.tolist()


@pytest.mark.parametrize("world", [2, 4])
def test_the_global_batch_is_the_same_for_any_number_of_ranks(data: PretrainingData, world: int) -> None:
    for step in (0, 5, 33):
        alone = data.batch(step, 0, 1)
        shares = [data.batch(step, rank, world) for rank in range(world)]
        assert sorted(sample for share in shares for sample in share.sample_ids) == sorted(alone.sample_ids)
        assert sum(share.num_predictions for share in shares) == alone.num_predictions
        expected = contents(alone)
        for share in shares:
            for sample, content in contents(share).items():
                assert content == expected[sample]


def test_seeking_gives_what_going_there_step_by_step_gives(data: PretrainingData) -> None:
    sequential = [data.batch(step, 1, 2) for step in range(40)]
    for step in (39, 17, 0, 38):
        assert_equal(data.batch(step, 1, 2), sequential[step])


def test_a_loader_that_was_pickled_or_made_anew_continues_alike(
    data: PretrainingData, kind: str, folder: Path, tokenizer: Tokenizer
) -> None:
    expected = data.batch(21, 0, 2)
    assert_equal(pickle.loads(pickle.dumps(data)).batch(21, 0, 2), expected)
    assert_equal(build(kind, folder, tokenizer).batch(21, 0, 2), expected)


def test_an_epoch_meets_every_sample_once_and_the_next_in_another_order(
    data: PretrainingData, kind: str, folder: Path, tokenizer: Tokenizer
) -> None:
    whole = build(kind, folder, tokenizer, size=round(data.steps_per_epoch * data.batch_size))
    epochs = [sorted(whole.batch(step, 0, 1).sample_ids) for step in range(2)]
    assert len(epochs[0]) == data.num_samples
    assert epochs[0] == epochs[1] == sorted(set(epochs[0]))
    first, second = data.batch(0, 0, 1), data.batch(int(np.ceil(data.steps_per_epoch)), 0, 1)
    assert first.sample_ids != second.sample_ids


def test_masking_differs_between_epochs_and_seeds(folder: Path, tokenizer: Tokenizer) -> None:
    units = round(pretraining(folder, tokenizer).steps_per_epoch * 8)
    whole = pretraining(folder, tokenizer, rows=units)
    first, second = contents(whole.batch(0, 0, 1)), contents(whole.batch(1, 0, 1))
    other = contents(pretraining(folder, tokenizer, rows=units, seed=14).batch(0, 0, 1))
    long = [sample for sample, (tokens, *_) in first.items() if len(tokens) > 40]
    assert all(first[sample][2] != second[sample][2] for sample in long)
    assert all(first[sample][2] != other[sample][2] for sample in long)


def test_half_of_the_pairs_are_next_sentences(folder: Path, tokenizer: Tokenizer) -> None:
    data = pretraining(folder, tokenizer, nsp=True)
    labels = torch.cat([data.batch(step, 0, 1).sample_labels for step in range(100)])
    paired = labels[labels >= 0]
    assert len(paired) > 0.95 * len(labels)
    assert abs(paired.double().mean() - 0.5) < 4 * 0.5 / len(paired) ** 0.5


@pytest.mark.parametrize("world", [1, 3])
def test_evaluation_meets_every_sample_once_and_is_the_same_each_time(data: PretrainingData, world: int) -> None:
    alone = {sample: content for batch in data.eval_batches(0, 1) for sample, content in contents(batch).items()}
    assert len(alone) == data.num_samples
    shared: dict[int, Sample] = {}
    for rank in range(world):
        for batch in data.eval_batches(rank, world):
            assert not shared.keys() & set(batch.sample_ids)
            shared |= contents(batch)
    assert shared == alone


def test_little_is_padding(folder: Path, tokenizer: Tokenizer) -> None:
    plan = pretraining(folder, tokenizer).streams[0].plan
    print(f"rows {plan.efficiency:.4f} full")
    assert plan.efficiency > 0.99


def test_a_batch_is_built_in_a_fraction_of_a_step(folder: Path, tokenizer: Tokenizer) -> None:
    """A step over 8,192 tokens takes about a second on two cores; 2 % of it is 20 ms. Others' load does not count."""
    for nsp in (False, True):
        data = pretraining(folder, tokenizer, nsp=nsp, rows=64)
        data.batch(0, 0, 1)
        best = min(_seconds(data, step) for step in range(10))
        print(f"64 rows of 128, nsp={nsp}: {best * 1000:.1f} ms")
        assert best < 0.02


def _seconds(data: PretrainingData, step: int) -> float:
    started = time.thread_time()
    data.batch(step, 0, 1)
    return time.thread_time() - started


def test_to_moves_tensors_and_keeps_the_rest(data: PretrainingData) -> None:
    batch = data.batch(0, 0, 1)
    moved = batch.to("meta")
    assert all(value.is_meta for value in vars(moved).values() if isinstance(value, torch.Tensor))
    assert (moved.sample_ids, moved.num_tokens) == (batch.sample_ids, batch.num_tokens)


def test_another_tokenizer_is_an_error(folder: Path, tokenizer: Tokenizer) -> None:
    other = train_wordpiece(iter(["some text " * 5]), 100, 1, lowercase=True)
    with pytest.raises(ShardError, match=f"{tokenizer.fingerprint}, to be read with {other.fingerprint}"):
        pretraining(folder, other)


def test_next_sentences_need_a_second_document(tokenizer: Tokenizer, tmp_path: Path) -> None:
    write_documents(tmp_path, tokenizer, DOCUMENTS[:1])
    with pytest.raises(DataError, match="next-sentence prediction draws from others, so needs two"):
        pretraining(tmp_path, tokenizer, nsp=True)
    assert pretraining(tmp_path, tokenizer).num_samples >= 1


def test_data_without_text_is_an_error(tokenizer: Tokenizer, tmp_path: Path) -> None:
    nothing = np.zeros(0, dtype=int)
    empty = replace(DOCUMENTS[0], tokens=nothing, sentence_starts=nothing, word_starts=nothing.astype(bool))
    write_documents(tmp_path / "empty", tokenizer, [empty])
    with pytest.raises(DataError, match="no text in 1 documents"):
        pretraining(tmp_path / "empty", tokenizer)


def test_the_unit_of_a_batch_and_its_shares_are_checked(folder: Path, tokenizer: Tokenizer) -> None:
    with pytest.raises(DataError, match=r"set batch\.rows"):
        PretrainingData(folder, tokenizer, MlmObjective(), BatchConfig(samples=8), 13)
    with pytest.raises(DataError, match="rank 0 of 32 with a global batch of 8"):
        pretraining(folder, tokenizer).batch(0, 0, 32)


def test_a_causal_sample_predicts_every_next_token(folder: Path, tokenizer: Tokenizer) -> None:
    batch = build("causal", folder, tokenizer).batch(3, 0, 1)
    assert batch.num_predictions == batch.num_tokens - batch.num_samples
    flat, documents = batch.input_ids.flatten(), batch.document_ids.flatten()
    assert torch.equal(batch.predict_labels, flat[batch.predict_positions + 1])
    assert torch.equal(documents[batch.predict_positions], documents[batch.predict_positions + 1])


def test_a_permuted_sample_hides_nothing_and_predicts_the_last_of_its_order(folder: Path, tokenizer: Tokenizer) -> None:
    data = build("permutation", folder, tokenizer)
    batch, plain = data.batch(3, 0, 1), build("causal", folder, tokenizer).batch(3, 0, 1)
    assert torch.equal(batch.input_ids, plain.input_ids)
    assert torch.equal(batch.predict_labels, batch.input_ids.flatten()[batch.predict_positions])
    assert batch.order is not None
    order = batch.order.flatten()
    predicted = torch.zeros(len(order), dtype=torch.bool)
    predicted[batch.predict_positions] = True
    for start, end in zip(batch.cu_seqlens.tolist(), batch.cu_seqlens.tolist()[1:], strict=False):
        own, asked = order[start:end], predicted[start:end]
        if not batch.document_ids.flatten()[start]:
            assert own.max() == 0
            continue
        assert own.sort().values.tolist() == list(range(end - start))
        assert own[0] == 0  # [CLS], then [SEP]
        assert own[-1] == 1
        assert int(asked.sum()) == max(1, int((end - start - 2) / 6 + 0.5))
        assert own[asked].min() > own[~asked].max()


def test_half_of_the_orders_are_swapped(folder: Path, tokenizer: Tokenizer) -> None:
    data = build("sop", folder, tokenizer)
    labels = torch.cat([data.batch(step, 0, 1).sample_labels for step in range(60)])
    paired = labels[labels >= 0]
    assert len(paired) > 0.95 * len(labels)
    assert abs(paired.double().mean() - 0.5) < 4 * 0.5 / len(paired) ** 0.5


def test_static_masks_are_those_of_the_first_epoch(folder: Path, tokenizer: Tokenizer) -> None:
    rows = round(pretraining(folder, tokenizer, nsp=True).steps_per_epoch * 8)
    batch = BatchConfig(row_length=128, rows=rows)
    static = PretrainingData(folder, tokenizer, MlmObjective(static=True, nsp=True), batch, 13)
    dynamic = PretrainingData(folder, tokenizer, MlmObjective(nsp=True), batch, 13)
    first = contents(static.batch(0, 0, 1))
    assert first == contents(static.batch(1, 0, 1)) == contents(dynamic.batch(0, 0, 1))
    assert first != contents(dynamic.batch(1, 0, 1))


@pytest.mark.parametrize("micro_rows", [1, 3, 5, 100])
@pytest.mark.parametrize("world", [1, 3])
def test_micro_batches_are_the_rows_cut_and_as_many_on_every_rank(
    data: PretrainingData, micro_rows: int, world: int
) -> None:
    for step in (0, 7):
        shares = [data.micro_batches(step, rank, world, micro_rows) for rank in range(world)]
        assert len({len(share) for share in shares}) == 1
        for rank, share in enumerate(shares):
            whole = data.batch(step, rank, world)
            assert all(1 <= len(part.input_ids) <= micro_rows for part in share)
            rows = [row for part in share for row in part.input_ids if part.num_tokens]
            assert torch.equal(torch.stack(rows), whole.input_ids)
            assert [sample for part in share for sample in part.sample_ids] == whole.sample_ids
            assert sum(part.num_predictions for part in share) == whole.num_predictions


def test_a_rank_that_is_short_of_rows_gets_one_of_padding(folder: Path, tokenizer: Tokenizer) -> None:
    data = pretraining(folder, tokenizer, rows=3)
    first, second = data.micro_batches(0, 1, 2, 1)
    assert first.num_tokens > 0
    assert (second.num_tokens, second.num_samples, second.num_predictions, second.num_labelled) == (0, 0, 0, 0)
    assert second.input_ids.shape == (1, 128)
    assert second.cu_seqlens.tolist() == [0, 128]
    assert (second.input_ids == tokenizer.pad_id).all()
    assert (second.document_ids == 0).all()
