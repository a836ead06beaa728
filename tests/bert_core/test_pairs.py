from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from random_shards import random_documents

from bert_core.objectives import IS_NEXT, IS_RANDOM, IS_SWAPPED, NO_LABEL, SampleRandom, pair_up
from bert_core.objectives.pairs import DRAWS
from bert_core.shards import TokenizedDocument, TokenShards, open_shards, write_shards


def shards_of(folder: Path, documents: list[TokenizedDocument]) -> TokenShards:
    write_shards(folder, documents, vocab_size=30522, fingerprint="abc", labels=("a", "b"))
    return open_shards(folder)


Pair = tuple[list[int], list[int], int]  # A and B as (document, start, end), and the label


def drawn_pairs(shards: TokenShards, document: int, start: int, end: int, count: int, kind: str = "nsp") -> list[Pair]:
    draws = SampleRandom(0, purpose=0).uniforms(np.zeros(count, int), np.arange(count), np.full(count, DRAWS))
    segments = pair_up(shards, np.array([[document, start, end]] * count), draws, kind)  # type: ignore[arg-type]
    return list(zip(segments.a.tolist(), segments.b.tolist(), segments.labels.tolist(), strict=True))


def test_next_sentence_splits_at_sentences_and_replaces_half(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, random_documents(50))
    document = int(np.argmax(shards.lengths))
    start, end = (int(at) for at in shards.sentence_starts(document)[[2, 10]])
    inner = shards.sentence_starts(document)[3:10]
    pairs = drawn_pairs(shards, document, start, end, 2000)
    assert abs(np.mean([label == IS_RANDOM for _, _, label in pairs]) - 0.5) < 0.05
    assert {a[2] for a, _, _ in pairs} == set(inner.tolist())
    for a, b, label in pairs:
        assert a[:2] == [document, start]
        assert 1 <= b[2] - b[1] <= end - a[2]
        if label == IS_NEXT:
            assert b == [document, a[2], end]


def test_a_random_b_is_contiguous_text_of_another_document_from_a_sentence_start(tmp_path: Path) -> None:
    nothing = np.zeros(0, dtype=int)
    documents = [
        TokenizedDocument(f"d{index}", np.arange(30), np.array([0, 10, 20]), np.ones(30, dtype=bool))
        for index in range(4)
    ]
    empty = TokenizedDocument("empty", nothing, nothing, nothing.astype(bool))
    shards = shards_of(tmp_path, [*documents[:2], empty, *documents[2:]])
    pairs = [(a, b) for a, b, label in drawn_pairs(shards, 1, 0, 30, 900) if label == IS_RANDOM]
    sources = [(b[0], b[1]) for _, b in pairs]
    assert set(sources) == {(document, start) for document in (0, 3, 4) for start in (0, 10, 20)}
    for a, b in pairs:
        assert b[2] - b[1] == min(30 - b[1], 30 - a[2])


def test_half_of_the_sentence_orders_are_swapped(tmp_path: Path) -> None:
    shards = shards_of(tmp_path, random_documents(50))
    document = int(np.argmax(shards.lengths))
    start, end = (int(at) for at in shards.sentence_starts(document)[[2, 10]])
    pairs = drawn_pairs(shards, document, start, end, 2000, "sop")
    assert abs(np.mean([label == IS_SWAPPED for _, _, label in pairs]) - 0.5) < 0.05
    for a, b, label in pairs:
        first, second = (b, a) if label == IS_SWAPPED else (a, b)
        assert (first[0], first[1], second[2]) == (document, start, end)
        assert first[2] == second[1]
        assert first[2] in shards.sentence_starts(document)


@pytest.mark.parametrize("kind", ["nsp", "sop"])
def test_one_sentence_is_split_where_a_word_starts_and_one_token_not_at_all(tmp_path: Path, kind: str) -> None:
    starts = np.isin(np.arange(10), [0, 4, 7])
    one_word = np.isin(np.arange(3), [0])
    shards = shards_of(
        tmp_path,
        [
            TokenizedDocument("sentence", np.arange(10), np.array([0]), starts),
            TokenizedDocument("word", np.arange(3), np.array([0]), one_word),
            TokenizedDocument("token", np.array([9]), np.array([0]), np.array([True])),
        ],
    )
    for document, end, expected in ((0, 10, {4, 7}), (1, 3, {1, 2})):
        pairs = drawn_pairs(shards, document, 0, end, 50, kind)
        assert {a[2] if a[1] == 0 else a[1] for a, _, _ in pairs} == expected
    ((a, b, label),) = drawn_pairs(shards, 2, 0, 1, 1, kind)
    assert (a, b, label) == ([2, 0, 1], [0, 0, 0], NO_LABEL)
