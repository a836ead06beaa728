from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from random_shards import random_documents

from bert_core.config import MlmObjective
from bert_core.objectives import (
    IS_NEXT,
    IS_RANDOM,
    NO_LABEL,
    Masked,
    SampleRandom,
    Segments,
    mask_tokens,
    next_sentence,
)
from bert_core.shards import TokenizedDocument, TokenShards, open_shards, write_shards

VOCAB_SIZE = 5000
CLS, SEP, MASK = 2, 3, 4
IS_SPECIAL = np.arange(VOCAB_SIZE) < 5


def samples(lengths: list[int], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    ids = [np.concatenate([[CLS], rng.integers(5, VOCAB_SIZE, length), [SEP]]) for length in lengths]
    return np.concatenate(ids), np.array(lengths) + 2


def masked(ids: np.ndarray, lengths: np.ndarray, objective: MlmObjective, seed: int = 1) -> Masked:
    uniforms = np.random.default_rng(seed).random((2, len(ids)))
    return mask_tokens(ids, lengths, uniforms, objective, is_special=IS_SPECIAL, mask_id=MASK)


def shards_of(folder: Path, documents: list[TokenizedDocument]) -> TokenShards:
    write_shards(folder, documents, vocab_size=30522, fingerprint="abc", labels=("a", "b"))
    return open_shards(folder)


def test_masking_is_80_10_10() -> None:
    ids, lengths = samples([100] * 5000)
    result = masked(ids, lengths, MlmObjective())
    now, before = result.ids[result.positions], result.labels
    count = len(now)
    assert count == 15 * 5000
    shares = [(now == MASK).mean(), ((now != MASK) & (now != before)).mean(), (now == before).mean()]
    # Four standard errors at 75,000 draws; a random token equals the old one once in 5,000.
    np.testing.assert_allclose(shares, [0.8, 0.1, 0.1], atol=4 * np.sqrt(0.16 / count))
    np.testing.assert_array_equal(before, ids[result.positions])
    untouched = np.delete(np.arange(len(ids)), result.positions)
    np.testing.assert_array_equal(result.ids[untouched], ids[untouched])


def test_every_position_is_as_likely() -> None:
    ids, lengths = samples([20] * 20_000)
    hits = np.bincount(masked(ids, lengths, MlmObjective()).positions % 22, minlength=22)
    assert hits[0] == hits[21] == 0
    np.testing.assert_allclose(hits[1:21], 3 * 20_000 / 20, rtol=0.06)


def test_random_tokens_are_drawn_from_all_ordinary_ones_alike() -> None:
    ids, lengths = samples([200] * 1000)
    result = masked(ids, lengths, MlmObjective(mask_rate=0.9, mask_token_share=0.0, random_token_share=1.0))
    drawn = result.ids[result.positions]
    assert drawn.min() == 5
    assert drawn.max() == VOCAB_SIZE - 1
    np.testing.assert_allclose(np.histogram(drawn, bins=5)[0] / len(drawn), 0.2, atol=0.006)


@pytest.mark.parametrize(
    ("length", "rate", "count"), [(1, 0.15, 1), (3, 0.15, 1), (10, 0.15, 2), (9, 0.15, 1), (23, 0.15, 3), (10, 0.25, 3)]
)
def test_the_share_is_rounded_half_up_and_at_least_one(length: int, rate: float, count: int) -> None:
    ids, lengths = samples([length])
    assert len(masked(ids, lengths, MlmObjective(mask_rate=rate)).positions) == count


def test_special_tokens_are_neither_chosen_nor_put_in() -> None:
    ids, lengths = samples([50] * 200)
    ids[np.random.default_rng(2).random(len(ids)) < 0.3] = 1  # [UNK]
    result = masked(ids, lengths, MlmObjective(mask_rate=0.9, mask_token_share=0.0, random_token_share=0.5))
    assert not IS_SPECIAL[result.labels].any()
    assert not IS_SPECIAL[result.ids[result.positions]].any()
    available = np.add.reduceat(~IS_SPECIAL[ids], np.cumsum(lengths) - lengths)
    assert len(result.positions) == np.floor(available * 0.9 + 0.5).sum()


def test_a_sample_without_ordinary_tokens_predicts_nothing() -> None:
    ids, lengths = np.array([CLS, 1, 1, SEP, CLS, 7, SEP]), np.array([4, 3])
    assert masked(ids, lengths, MlmObjective()).positions.tolist() == [5]


def test_a_sample_is_masked_alike_alone_and_among_others() -> None:
    ids, lengths = samples([30, 50, 7])
    uniforms = np.random.default_rng(3).random((2, len(ids)))
    together = mask_tokens(ids, lengths, uniforms, MlmObjective(), is_special=IS_SPECIAL, mask_id=MASK)
    for start, end in pairwise([0, *np.cumsum(lengths).tolist()]):
        alone = mask_tokens(
            ids[start:end],
            np.array([end - start]),
            uniforms[:, start:end],
            MlmObjective(),
            is_special=IS_SPECIAL,
            mask_id=MASK,
        )
        np.testing.assert_array_equal(alone.ids, together.ids[start:end])


def test_random_streams_depend_on_seed_epoch_sample_and_purpose_alone() -> None:
    random = SampleRandom(7, purpose=0)
    first = random.at(1, 2).random(100).tolist()
    streams = [random.at(*key).random(100).tolist() for key in ((0, 2), (1, 3), (2, 1), (1, 2**40))]
    streams += [SampleRandom(8, purpose=0).at(1, 2).random(100).tolist()]
    streams += [SampleRandom(7, purpose=1).at(1, 2).random(100).tolist()]
    assert random.at(1, 2).random(100).tolist() == first
    assert SampleRandom(7, purpose=0).at(1, 2).random(100).tolist() == first
    assert len({value for stream in [first, *streams] for value in stream}) == 700


def test_random_state_left_behind_does_not_leak() -> None:
    random = SampleRandom(7, purpose=0)
    clean = random.at(0, 0).integers(10, size=5, dtype=np.uint32).tolist()
    random.at(5, 5).integers(10, size=3, dtype=np.uint32)  # leaves half a word in the generator
    assert random.at(0, 0).integers(10, size=5, dtype=np.uint32).tolist() == clean


def drawn_pairs(shards: TokenShards, document: int, start: int, end: int, count: int) -> list[Segments]:
    random, others = SampleRandom(0, purpose=0), np.arange(shards.num_documents)
    return [next_sentence(shards, document, start, end, others, random.at(0, draw)) for draw in range(count)]


def test_next_sentence_splits_at_sentences_and_replaces_half(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, random_documents(50))
    document = int(np.argmax(shards.lengths))
    start, end = (int(at) for at in shards.sentence_starts(document)[[2, 10]])
    inner = shards.sentence_starts(document)[3:10] - start
    text = shards.tokens(document)[start:end]
    pairs = drawn_pairs(shards, document, start, end, 2000)
    assert abs(np.mean([pair.label == IS_RANDOM for pair in pairs]) - 0.5) < 0.05
    assert {len(pair.a) for pair in pairs} == set(inner.tolist())
    for pair in pairs:
        assert pair.b is not None
        np.testing.assert_array_equal(pair.a, text[: len(pair.a)])
        assert 1 <= len(pair.b) <= len(text) - len(pair.a)
        assert pair.length <= len(text) + 3
        if pair.label == IS_NEXT:
            np.testing.assert_array_equal(pair.b, text[len(pair.a) :])


def test_a_random_b_is_contiguous_text_of_another_document_from_a_sentence_start(tmp_path: Path) -> None:
    # Token = 100 * document + offset, so that a token says where it is from.
    documents = [
        TokenizedDocument(f"d{index}", np.arange(30) + 100 * index, np.array([0, 10, 20]), np.ones(30, dtype=bool))
        for index in range(1, 5)
    ]
    shards = shards_of(tmp_path, documents)
    pairs = [pair for pair in drawn_pairs(shards, 1, 0, 30, 500) if pair.label == IS_RANDOM]
    sources = {(int(pair.b[0]) // 100, int(pair.b[0]) % 100) for pair in pairs if pair.b is not None}
    assert sources == {(document, start) for document in (1, 3, 4) for start in (0, 10, 20)}
    for pair in pairs:
        assert pair.b is not None
        assert (np.diff(pair.b.astype(int)) == 1).all()
        assert len(pair.b) == min(30 - int(pair.b[0]) % 100, 30 - len(pair.a))


def test_one_sentence_is_split_where_a_word_starts_and_one_token_not_at_all(tmp_path: Path) -> None:
    words = np.isin(np.arange(10), [0, 4, 7])
    one_word = np.isin(np.arange(3), [0])
    shards = shards_of(
        tmp_path,
        [
            TokenizedDocument("sentence", np.arange(10), np.array([0]), words),
            TokenizedDocument("word", np.arange(3), np.array([0]), one_word),
            TokenizedDocument("token", np.array([9]), np.array([0]), np.array([True])),
        ],
    )
    assert {len(pair.a) for pair in drawn_pairs(shards, 0, 0, 10, 50)} == {4, 7}
    assert {len(pair.a) for pair in drawn_pairs(shards, 1, 0, 3, 50)} == {1, 2}
    (single,) = drawn_pairs(shards, 2, 0, 1, 1)
    assert (single.label, single.b, single.length) == (NO_LABEL, None, 3)
