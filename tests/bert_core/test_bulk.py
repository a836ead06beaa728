"""The fast path gives what the plain one gives, for all families of tokenizers, on real text and on hostile text."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import tokenizers
from real_texts import ODD, chinese_reviews, film_reviews, random_texts, sentences
from tokenizers import normalizers

from bert_core.tokenizer import BulkEncoder, TokenArrays, Tokenizer, bulk, load, train_bpe, train_unigram
from bert_core.tokenizer.cuts import at_bert_words, at_blanks, at_blanks_and_marks, at_byte_level_words, cuts_of, never

FAMILIES = ("wordpiece", "cased", "bpe", "unigram", "unknown")
RULES = dict(zip(FAMILIES, (at_bert_words, at_blanks_and_marks, at_byte_level_words, at_blanks, never), strict=True))


@pytest.fixture(scope="module")
def texts(data_folder: Path) -> list[str]:
    return [*film_reviews(data_folder, 300), *chinese_reviews(data_folder, 300), *ODD, *random_texts(1000)]


@pytest.fixture(scope="module")
def family(minilm: Path, texts: list[str]) -> dict[str, Tokenizer]:
    cased = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    cased.normalizer = normalizers.BertNormalizer(
        clean_text=True, handle_chinese_chars=False, strip_accents=False, lowercase=False
    )
    unknown = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    unknown.normalizer = normalizers.Sequence([normalizers.Replace("e ", "i"), normalizers.Lowercase()])
    return {
        "wordpiece": load(minilm),
        "cased": Tokenizer(cased),
        "bpe": train_bpe(texts, 3000, 2),
        "unigram": train_unigram(texts, 3000, 2, lowercase=True),
        "unknown": Tokenizer(unknown),
    }


def encode(encoder: BulkEncoder, texts: list[str]) -> TokenArrays:
    starts = [sentences(text) for text in texts]
    flat = np.array([start for each in starts for start in each], dtype=np.int32)
    return encoder.encode(
        pa.array(["?", *texts, "!"])[1:-1], flat, np.array([len(each) for each in starts], dtype=np.int64)
    )


def check(tokenizer: Tokenizer, texts: list[str], found: TokenArrays) -> None:
    plain = tokenizer.encode_batch(texts)
    assert found.counts.tolist() == [len(each.ids) for each in plain]
    np.testing.assert_array_equal(found.ids, np.concatenate([each.ids for each in plain]))
    np.testing.assert_array_equal(found.word_starts, np.concatenate([each.word_starts for each in plain]))
    starts = np.split(found.sentence_starts, np.cumsum(found.sentence_counts)[:-1])
    for text, encoding, got in zip(texts, plain, starts, strict=True):
        characters = [len(text[:start].rstrip(" \t\r\n")) for start in sentences(text)]
        expected = np.unique(np.searchsorted(encoding.offsets[:, 0], [0, *characters]))
        assert got.tolist() == expected[expected < len(encoding.ids)].tolist(), text


@pytest.mark.parametrize("name", FAMILIES)
def test_tokens_words_and_sentences_are_those_of_the_plain_path(
    name: str, family: dict[str, Tokenizer], texts: list[str]
) -> None:
    tokenizer = family[name]
    assert cuts_of(tokenizer) is RULES[name]
    encoder = BulkEncoder(tokenizer)
    check(tokenizer, texts, encode(encoder, texts))
    check(tokenizer, texts[::-1], encode(encoder, texts[::-1]))  # now it remembers most pieces


@pytest.mark.parametrize("name", FAMILIES)
def test_windows_and_memory_decide_nothing(
    name: str, family: dict[str, Tokenizer], texts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*texts[:60], *texts[300:360], *ODD]
    whole = encode(BulkEncoder(family[name]), few)
    monkeypatch.setattr(bulk, "WINDOW_BYTES", 1500)
    monkeypatch.setattr(bulk, "MAX_REMEMBERED", 50)
    small = encode(BulkEncoder(family[name]), few)
    for field, value in vars(whole).items():
        np.testing.assert_array_equal(value, getattr(small, field))


def test_a_long_piece_is_cut_at_a_blank_or_between_characters(
    family: dict[str, Tokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_PIECE", 1000)
    for window in (1 << 22, 5000):
        monkeypatch.setattr(bulk, "WINDOW_BYTES", window)
        words, none = "the film " * 3000, "天" * 4000
        encoder = BulkEncoder(family["unknown"])
        found = encode(encoder, [words])
        assert (found.ids == family["unknown"].unk_id).sum() == 0
        found = encode(BulkEncoder(family["bpe"]), [none, words])
        text = family["bpe"].backend.decode(found.ids.tolist())
        assert text == none + words


def test_a_tokenizer_with_words_of_its_own_is_never_cut(minilm: Path) -> None:
    backend = tokenizers.Tokenizer.from_file(str(minilm / "tokenizer.json"))
    backend.add_tokens(["New York"])
    assert cuts_of(Tokenizer(backend)) is never


def test_no_texts_and_empty_texts(minilm: Path) -> None:
    encoder = BulkEncoder(load(minilm))
    for texts in ([], ["", ""], ["", "a", ""]):
        found = encode(encoder, texts)
        assert found.counts.tolist() == [len(text) for text in texts]
        assert found.sentence_starts.tolist() == [0] * texts.count("a")
        assert found.sentence_counts.tolist() == [len(text) for text in texts]
