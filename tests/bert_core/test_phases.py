"""Runs of several row lengths and batch sizes: whatever cuts them, ranks and restarts, the samples are the same."""

from __future__ import annotations

from pathlib import Path

import pytest
from random_shards import random_documents, write_documents
from test_data import Sample, assert_equal, contents, pretraining

from bert_core.config import BatchConfig, BatchWarmup, MlmObjective, PhaseConfig
from bert_core.data import DataError, PretrainingData, RunLength
from bert_core.tokenizer import Tokenizer, load

DOCUMENTS = random_documents(300)


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Tokenizer:
    return load(minilm)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("phases") / "shards", tokenizer, DOCUMENTS)


PHASED = BatchConfig(
    tokens=1024,
    phases=(
        PhaseConfig(row_length=64, share=0.4),
        PhaseConfig(row_length=256, share=0.4),
        PhaseConfig(row_length=64, share=0.2),
    ),
    warmup=BatchWarmup(start=4, share=0.25),
)


def phased(folder: Path, tokenizer: Tokenizer, steps: int = 100, **length: float) -> PretrainingData:
    limits = RunLength(**length) if length else RunLength(steps=steps)  # type: ignore[arg-type]
    return PretrainingData(folder, tokenizer, MlmObjective(unit="word"), PHASED, 13, length=limits)


def test_phases_have_their_rows_and_the_clock_counts_their_positions(folder: Path, tokenizer: Tokenizer) -> None:
    data = phased(folder, tokenizer)
    assert data.total_steps == 100
    positions = 0
    for step in range(100):
        batch = data.batch(step, 0, 1)
        assert data.positions_before(step) == positions
        positions += batch.input_ids.numel()
        assert batch.input_ids.shape[1] == (256 if 40 <= step < 80 else 64)
        if step >= 25:
            assert batch.input_ids.numel() == 1024
        assert batch.sample_ids == data.sample_ids(step)
    assert [data.batch(step, 0, 1).input_ids.shape[0] for step in (0, 12, 24, 25)] == [4, 9, 15, 16]
    with pytest.raises(IndexError, match="step 100: the run has steps 0 to 99"):
        data.batch(100, 0, 1)


def test_a_phase_goes_on_where_the_one_with_the_same_rows_ended(folder: Path, tokenizer: Tokenizer) -> None:
    """Every epoch of a row length meets each of its samples once, whatever lay between."""
    data = phased(folder, tokenizer)
    for stream, steps in enumerate(([*range(40), *range(80, 100)], [*range(40, 80)])):
        ids = [sample for step in steps for sample in data.sample_ids(step)]
        epoch = data.streams[stream].num_samples
        whole = len(ids) // epoch
        assert whole >= 1
        for number in range(whole):
            assert len(set(ids[number * epoch : (number + 1) * epoch])) == epoch
    streams = [set(data.sample_ids(10)), set(data.sample_ids(60))]
    assert max(streams[0]) < data.streams[0].num_samples <= min(streams[1])
    by_id = {document.document_id: document for document in DOCUMENTS}
    for step in (10, 60):
        for sample, (tokens, _, predicted, _) in contents(data.batch(step, 0, 1)).items():
            text = list(tokens)
            for offset, token in predicted:
                text[offset] = token
            whole_text = " ".join(map(str, by_id[data.document_id(sample)].tokens.tolist()))
            assert " ".join(map(str, text[1:-1])) in whole_text


def test_a_run_cut_anywhere_goes_on_alike(folder: Path, tokenizer: Tokenizer) -> None:
    """N + M steps are N, then M of a loader made anew: at phases' ends, at epochs' ends, in the warmup."""
    data = phased(folder, tokenizer)
    epoch_ends = [
        step
        for step in range(1, 99)
        if any(
            before // index.num_rows != after // index.num_rows
            for before, after, index in zip(
                data.order.rows_before(step), data.order.rows_before(step + 1), data.streams, strict=True
            )
        )
    ]
    assert len(epoch_ends) >= 2
    for cut in (1, 24, 25, 39, 40, 79, 80, *epoch_ends):
        anew = phased(folder, tokenizer)
        for step in range(cut, min(cut + 2, 100)):
            for rank in range(2):
                assert_equal(anew.batch(step, rank, 2), data.batch(step, rank, 2))


@pytest.mark.parametrize("world", [2, 4])
def test_ranks_share_a_phase_s_batch(folder: Path, tokenizer: Tokenizer, world: int) -> None:
    data = phased(folder, tokenizer)
    for step in (0, 39, 40, 79, 99):
        alone = contents(data.batch(step, 0, 1))
        shared: dict[int, Sample] = {}
        for rank in range(world):
            for part in data.micro_batches(step, rank, world, 1):
                shared |= contents(part)
        assert shared == alone


def test_epochs_and_tokens_end_a_run_of_phases(folder: Path, tokenizer: Tokenizer) -> None:
    data = phased(folder, tokenizer, epochs=1.5)
    steps = data.total_steps
    assert data.epochs_before(steps) >= 1.5 > phased(folder, tokenizer, steps=steps - 1).epochs_before(steps - 1)
    data = phased(folder, tokenizer, tokens=50_000)
    assert 50_000 <= data.positions_before(data.total_steps) < 50_000 + 1024


def test_a_run_without_a_length_is_an_error_where_it_needs_one(folder: Path, tokenizer: Tokenizer) -> None:
    data = PretrainingData(folder, tokenizer, MlmObjective(), PHASED, 13)
    assert sum(batch.num_samples for batch in data.eval_batches(0, 1)) == data.streams[0].num_samples
    with pytest.raises(DataError, match="say how long it is"):
        data.batch(0, 0, 1)
    with pytest.raises(DataError, match="no last step"):
        _ = pretraining(folder, tokenizer).total_steps
    with pytest.raises(DataError, match="rank 4 of 5 with a global batch of 4"):
        phased(folder, tokenizer).batch(99, 4, 5)
