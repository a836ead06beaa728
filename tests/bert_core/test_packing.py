from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from random_shards import random_documents
from real_shards import write_texts
from real_texts import chinese_reviews, film_reviews

from bert_core.chunking import chunk
from bert_core.data.row_index import make_row_index
from bert_core.packing import ATTENTION_BREAK_EVEN, ROW_LENGTH_STEP, pack, pack_cheapest
from bert_core.shards import TokenizedDocument, TokenShards, open_shards, write_shards
from bert_core.tokenizer import load


def shards_of(folder: Path, documents: list[TokenizedDocument]) -> TokenShards:
    write_shards(folder, documents, vocab_size=30522, fingerprint="abc", labels=("a", "b"), documents_per_shard=70)
    return open_shards(folder)


def document(length: int, sentences: list[int], words: list[int] | None = None) -> TokenizedDocument:
    starts = np.ones(length, dtype=bool)
    if words is not None:
        starts = np.isin(np.arange(length), words)
    return TokenizedDocument("d", np.arange(length) + 5, np.array(sentences), starts)


def pieces(samples: np.ndarray) -> list[tuple[int, int, int]]:
    return [(document, start, end) for document, start, end in samples.tolist()]


@pytest.mark.parametrize("seed", range(20))
def test_every_sample_is_in_exactly_one_row_that_has_room(seed: int) -> None:
    rng = np.random.default_rng(seed)
    row_length = int(rng.integers(8, 200))
    lengths = rng.integers(1, row_length + 1, int(rng.integers(1, 400)))
    plan = pack(lengths, row_length)
    assert sorted(plan.sample_ids.tolist()) == list(range(len(lengths)))
    rows = [plan.row(row) for row in range(plan.num_rows)]
    assert np.concatenate(rows).tolist() == plan.sample_ids.tolist()
    assert all(1 <= lengths[row].sum() <= row_length for row in rows)
    assert plan.efficiency == pytest.approx(lengths.sum() / (plan.num_rows * row_length))
    assert plan.num_rows <= best_fit_decreasing(lengths.tolist(), row_length) + 1


def best_fit_decreasing(lengths: list[int], row_length: int) -> int:
    """Rows of the textbook algorithm, one sample at a time."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
            rooms.append(min(fitting) - length)
        else:
            rooms.append(row_length - length)
    return len(rooms)


def test_equal_lengths_give_equal_plans() -> None:
    lengths = np.random.default_rng(0).integers(1, 129, 5000)
    first, second = pack(lengths, 128), pack(lengths.copy(), 128)
    np.testing.assert_array_equal(first.sample_ids, second.sample_ids)
    np.testing.assert_array_equal(first.row_offsets, second.row_offsets)


@pytest.mark.parametrize("row_length", [128, 512])
def test_realistic_lengths_fill_their_rows_quickly(row_length: int) -> None:
    lengths = np.clip(np.random.default_rng(1).lognormal(3.4, 0.8, 300_000), 3, row_length).astype(int)
    started = time.perf_counter()
    plan = pack(lengths, row_length)
    seconds = time.perf_counter() - started
    print(f"{len(lengths)} samples, {plan.num_rows} rows of {row_length}: {plan.efficiency:.4f} full, {seconds:.2f} s")
    assert plan.efficiency >= 0.99
    assert seconds < 5


def test_a_sample_that_fits_no_row_is_an_error() -> None:
    with pytest.raises(ValueError, match="lengths go from 3 to 9; rows take 1 to 8 tokens"):
        pack(np.array([3, 9]), 8)
    with pytest.raises(ValueError, match="lengths go from 0"):
        pack(np.array([0, 3]), 8)


def test_the_cheapest_row_length_of_all_is_found() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        longest = int(rng.integers(8, 200))
        lengths = rng.integers(1, longest + 1, int(rng.integers(1, 40)))
        shortest = -(-int(lengths.max()) // ROW_LENGTH_STEP) * ROW_LENGTH_STEP
        row_lengths = [*range(shortest, longest + 1, ROW_LENGTH_STEP)] or [longest]
        cheapest = min(
            (pack(lengths, row_length) for row_length in row_lengths),
            key=lambda plan: plan.num_rows * plan.row_length * (1 + plan.row_length / ATTENTION_BREAK_EVEN),
        )
        found = pack_cheapest(lengths, longest)
        assert (found.row_length, found.num_rows) == (cheapest.row_length, cheapest.num_rows)
        np.testing.assert_array_equal(found.sample_ids, cheapest.sample_ids)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("max_tokens", [5, 30, 125])
def test_chunks_cover_every_token_once_in_order(max_tokens: int, pairs: bool, tmp_path: Path) -> None:
    shards = shards_of(tmp_path, random_documents(200))
    samples = chunk(shards, max_tokens, pairs=pairs)
    covered = [[] for _ in range(shards.num_documents)]
    for index, start, end in pieces(samples):
        assert 0 < end - start <= max_tokens
        covered[index] += range(start, end)
    assert covered == [list(range(length)) for length in shards.lengths]


def test_long_documents_are_cut_where_sentences_start_as_late_as_possible(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [document(9, [0, 3]), document(25, [0, 4, 8, 13, 20])])
    assert pieces(chunk(shards, 10)) == [(0, 0, 9), (1, 0, 8), (1, 8, 13), (1, 13, 20), (1, 20, 25)]


def test_a_sentence_that_is_too_long_is_cut_where_a_word_starts_and_a_word_anywhere(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [document(25, [0, 23], words=[0, 3, 6, 23])])
    assert pieces(chunk(shards, 8)) == [(0, 0, 6), (0, 6, 14), (0, 14, 22), (0, 22, 25)]


def test_next_sentence_chunks_share_a_last_lone_sentence(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [document(16, [0, 3, 6, 9, 12])])
    assert pieces(chunk(shards, 12)) == [(0, 0, 12), (0, 12, 16)]
    assert pieces(chunk(shards, 12, pairs=True)) == [(0, 0, 9), (0, 9, 16)]


def test_next_sentence_chunks_have_two_sentences_where_the_text_allows(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, random_documents(200))
    samples = chunk(shards, 125, pairs=True)
    lone = 0
    for index, start, end in pieces(samples):
        starts = shards.sentence_starts(index)
        is_cut_document = shards.lengths[index] > 125
        lone += is_cut_document and not any(start < at < end for at in starts)
    cut = sum(1 for index, start, _ in pieces(samples) if shards.lengths[index] > 125)
    print(f"{lone} of {cut} pieces of long documents have one sentence")
    assert lone <= 0.05 * cut


def test_empty_documents_have_no_samples(tmp_path: Path) -> None:
    empty = TokenizedDocument("e", np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    shards = shards_of(tmp_path, [empty, document(30, [0, 10, 20]), empty, document(4, [0])])
    assert pieces(chunk(shards, 20)) == [(1, 0, 20), (1, 20, 30), (3, 0, 4)]
    assert all(left <= right for left, right in pairwise(chunk(shards, 20)[:, 0].tolist()))


@pytest.fixture(scope="module", params=["reviews", "chinese", "books", "both"])
def real(
    request: pytest.FixtureRequest, minilm: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> TokenShards:
    """Short documents; characters; ten long ones, each of hundreds of reviews; short and long ones."""
    reviews = film_reviews(data_folder, 2500)
    books = [" ".join(reviews[start::10]) for start in range(10)]
    texts = {
        "reviews": reviews,
        "chinese": chinese_reviews(data_folder, 1000),
        "books": books,
        "both": [*reviews[:1000], *books],
    }[request.param]
    return write_texts(tmp_path_factory.mktemp("real"), load(minilm), texts)


@pytest.mark.parametrize("pairs", [False, True])
@pytest.mark.parametrize("row_length", [128, 512])
def test_real_texts_fill_their_rows(real: TokenShards, row_length: int, pairs: bool) -> None:
    index = make_row_index(real, row_length, pairs=pairs)
    covered = np.zeros(real.num_tokens, dtype=int)
    first = np.cumsum(real.lengths) - real.lengths
    at_word = 0
    for document, start, end in index.samples.tolist():
        covered[first[document] + start : first[document] + end] += 1
        at_word += bool(real.word_starts(document)[start])
    assert (covered == 1).all()
    assert index.samples.tolist() == sorted(index.samples.tolist())
    lengths = index.samples[:, 2] - index.samples[:, 1] + (3 if pairs else 2)
    plan = index.plan
    assert sorted(plan.sample_ids.tolist()) == list(range(index.num_samples))
    filled = np.add.reduceat(lengths[plan.sample_ids], plan.row_offsets[:-1])
    assert filled.max() <= row_length
    assert plan.num_tokens == filled.sum()
    assert at_word >= 0.999 * index.num_samples
    print(f"{real.num_tokens} tokens, rows of {row_length}, pairs {pairs}: {index.plan.efficiency:.4f} full")
    assert index.plan.efficiency >= 0.99


def test_cuts_inside_sentences_are_made_only_where_they_fill_rows(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, [document(25, [0, 4, 8, 13, 20], words=[0, 4, 7, 8, 10, 13, 15, 18, 20, 22])])
    assert pieces(chunk(shards, 10)) == [(0, 0, 8), (0, 8, 13), (0, 13, 20), (0, 20, 25)]
    assert pieces(chunk(shards, 10, max_spare=2)) == [(0, 0, 8), (0, 8, 18), (0, 18, 25)]
    assert pieces(chunk(shards, 10, max_spare=0)) == [(0, 0, 10), (0, 10, 20), (0, 20, 25)]
