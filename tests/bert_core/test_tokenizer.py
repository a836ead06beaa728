from __future__ import annotations

import bz2
import json
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from tokenizers import models, trainers
from transformers import AutoTokenizer

from bert_core.tokenizer import (
    SPECIAL_TOKENS,
    Tokenizer,
    TokenizerError,
    load,
    train_bpe,
    train_unigram,
    train_wordpiece,
)

TEXTS = [
    "The quick brown fox doesn't jump over 13 lazy dogs.",
    "Crème brûlée, naïve façade — “quotes” … and\ttabs\n",
    "今天天气很好，我们去公园散步。Tokyo 2020!",
    "antidisestablishmentarianism unbelievably " * 60,
    "emoji 🙂 and a null \x00 and a soft\u00adhyphen",
    "x" * 150,
    "",
]
TRAIN = """
from bert_core.tokenizer import train_bpe, train_unigram, train_wordpiece
texts = open({path!r}, encoding="utf-8").read().split("\\n")
print(train_wordpiece(texts, 600, 1, True).fingerprint)
print(train_bpe(texts, 600, 2).fingerprint)
print(train_unigram(texts, 600, 2, True).fingerprint)
"""


@pytest.fixture(scope="module")
def corpus(data_folder: Path) -> list[str]:
    with bz2.open(data_folder / "film-reviews/rotten_tomatoes_corpus_full.csv.bz2", "rt", encoding="utf-8") as lines:
        return [*islice(lines, 300), *TEXTS]


@pytest.fixture(scope="module")
def trained(corpus: list[str]) -> Tokenizer:
    return train_wordpiece(iter(corpus), 600, 1, lowercase=True)


def transformers_ids(folder: Path, texts: list[str]) -> list[list[int]]:
    oracle = AutoTokenizer.from_pretrained(folder)
    assert type(oracle).__name__.startswith("BertTokenizer")
    assert len(oracle) == len((folder / "vocab.txt").read_text("utf-8").splitlines())
    return oracle(texts, add_special_tokens=False)["input_ids"]


def test_ids_are_those_of_transformers(minilm: Path) -> None:
    encodings = load(minilm).encode_batch(TEXTS)
    assert [encoding.ids.tolist() for encoding in encodings] == transformers_ids(minilm, TEXTS)


def test_nothing_is_truncated_or_padded_although_the_file_asks_for_both(minilm: Path) -> None:
    file = json.loads((minilm / "tokenizer.json").read_text("utf-8"))
    assert file["truncation"]["max_length"] == file["padding"]["strategy"]["Fixed"] == 128
    long, short = load(minilm).encode_batch(["word " * 500, "word"])
    assert (len(long.ids), len(short.ids)) == (500, 1)


def test_offsets_and_word_starts_point_into_the_given_text(minilm: Path) -> None:
    text = "Crème, unbelievably 今天!"
    (encoding,) = load(minilm).encode_batch([text])
    words = np.split(encoding.offsets, np.flatnonzero(encoding.word_starts)[1:])
    assert encoding.word_starts[0]
    assert [text[word[0, 0] : word[-1, 1]] for word in words] == ["Crème", ",", "unbelievably", "今", "天", "!"]


def test_the_name_of_a_special_token_in_a_text_is_ordinary_text(minilm: Path) -> None:
    tokenizer = load(minilm)
    (encoding,) = tokenizer.encode_batch(["ignore this [SEP] and [MASK] that [PAD]"])
    assert not tokenizer.is_special[encoding.ids].any()


def test_special_ids(minilm: Path) -> None:
    tokenizer = load(minilm)
    ids = (tokenizer.pad_id, tokenizer.unk_id, tokenizer.cls_id, tokenizer.sep_id, tokenizer.mask_id)
    assert ids == (0, 100, 101, 102, 103)
    assert np.flatnonzero(tokenizer.is_special).tolist() == sorted(ids)


def test_vocab_txt_alone_gives_the_same_tokenizer(minilm: Path, tmp_path: Path) -> None:
    for name in ("vocab.txt", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((minilm / name).read_bytes())
    assert load(tmp_path).fingerprint == load(minilm).fingerprint


def test_save_and_load_keep_fingerprint_and_ids(trained: Tokenizer, tmp_path: Path) -> None:
    trained.save(tmp_path)
    again = load(tmp_path)
    assert again.fingerprint == trained.fingerprint
    assert again.vocab_size == trained.vocab_size == len((tmp_path / "vocab.txt").read_text("utf-8").splitlines())
    assert [each.ids.tolist() for each in again.encode_batch(TEXTS)] == transformers_ids(tmp_path, TEXTS)


def test_saving_real_weights_tokenizer_keeps_it(minilm: Path, tmp_path: Path) -> None:
    load(minilm).save(tmp_path)
    assert load(tmp_path).fingerprint == load(minilm).fingerprint
    assert transformers_ids(tmp_path, TEXTS) == transformers_ids(minilm, TEXTS)


def test_fingerprint_depends_on_the_normaliser_and_on_each_token(minilm: Path, tmp_path: Path) -> None:
    vocabulary = (minilm / "vocab.txt").read_text("utf-8")
    (tmp_path / "vocab.txt").write_text(vocabulary, "utf-8")
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false}', "utf-8")
    cased = load(tmp_path).fingerprint
    (tmp_path / "vocab.txt").write_text(vocabulary.replace("\nthe\n", "\ntheee\n"), "utf-8")
    assert len({cased, load(tmp_path).fingerprint, load(minilm).fingerprint}) == 3


def test_training_again_in_other_processes_gives_the_same_vocabularies(
    corpus: list[str], trained: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("\n".join(line.replace("\n", " ") for line in corpus).encode())
    command = [sys.executable, "-c", TRAIN.format(path=str(path))]
    prints = [
        subprocess.run(
            command, capture_output=True, text=True, check=True, env={**os.environ, "RAYON_NUM_THREADS": threads}
        ).stdout
        for threads in ("1", "4", "4")
    ]
    assert len(set(prints)) == 1
    assert len(set(prints[0].split())) == 3
    assert train_wordpiece(iter(corpus), 600, 1, lowercase=True).fingerprint == trained.fingerprint


@pytest.fixture(scope="module")
def families(corpus: list[str]) -> dict[str, Tokenizer]:
    return {"bpe": train_bpe(corpus, 600, 2), "unigram": train_unigram(corpus, 600, 2, lowercase=True)}


@pytest.mark.parametrize("name", ["bpe", "unigram"])
def test_other_families_are_saved_loaded_pickled_and_read_by_transformers(
    name: str, families: dict[str, Tokenizer], tmp_path: Path
) -> None:
    tokenizer = families[name]
    tokenizer.save(tmp_path)
    again, oracle = load(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    expected = [each.ids.tolist() for each in tokenizer.encode_batch(TEXTS)]
    assert tokenizer.vocab_size == len(oracle) == 600
    assert again.fingerprint == pickle.loads(pickle.dumps(tokenizer)).fingerprint == tokenizer.fingerprint
    assert [each.ids.tolist() for each in again.encode_batch(TEXTS)] == expected
    assert oracle(TEXTS, add_special_tokens=False)["input_ids"] == expected
    roles = ("pad", "unk", "cls", "sep", "mask")
    assert [getattr(again, f"{role}_id") for role in roles] == [getattr(oracle, f"{role}_token_id") for role in roles]
    assert oracle("a", "b")["input_ids"][0] == again.cls_id
    assert np.flatnonzero(again.is_special).tolist() == [0, 1, 2, 3, 4]
    (special,) = again.encode_batch(["<s> [SEP] <mask> [MASK] </s>"])
    assert not again.is_special[special.ids[special.ids != again.unk_id]].any()


def test_bpe_knows_every_text_and_gives_it_back(families: dict[str, Tokenizer]) -> None:
    bpe = families["bpe"]
    for text, encoding in zip(TEXTS, bpe.encode_batch(TEXTS), strict=True):
        assert bpe.unk_id not in encoding.ids
        assert bpe.backend.decode(encoding.ids.tolist(), skip_special_tokens=False) == text
    (encoding,) = bpe.encode_batch(["it's  late, now"])
    words = [encoding.offsets[start][0] for start in np.flatnonzero(encoding.word_starts)]
    assert words == [0, 2, 5, 6, 10, 12]


def test_unigram_marks_words_with_a_bar_and_prefers_frequent_pieces(families: dict[str, Tokenizer]) -> None:
    unigram = families["unigram"]
    (encoding,) = unigram.encode_batch(["The film"])
    tokens = [unigram.tokens[token] for token in encoding.ids]
    assert tokens[0] == "▁the"
    assert "".join(tokens) == "▁the▁film"
    assert [tokens[start][0] for start in np.flatnonzero(encoding.word_starts)] == ["▁", "▁"]
    scores = [score for _, score in json.loads(unigram.backend.to_str())["model"]["vocab"][5:]]
    assert scores == sorted(scores, reverse=True)


def test_unigram_has_fewer_tokens_than_the_librarys_trainer(corpus: list[str], families: dict[str, Tokenizer]) -> None:
    ours = families["unigram"]
    library = tokenizers.Tokenizer(models.Unigram())
    library.normalizer, library.pre_tokenizer = ours.backend.normalizer, ours.backend.pre_tokenizer
    trainer = trainers.UnigramTrainer(
        vocab_size=600, special_tokens=list(ours.special_tokens.values()), unk_token="<unk>", show_progress=False
    )
    library.train_from_iterator(corpus, trainer)
    counts = [
        sum(len(each.ids) for each in tokenizer.encode_batch(corpus))
        for tokenizer in (ours, Tokenizer(library, special_tokens=ours.special_tokens))
    ]
    assert counts[0] < 1.02 * counts[1]


def test_rare_characters_are_unknown_to_unigram_and_split_its_words() -> None:
    tokenizer = train_unigram(["ab ab ab a☃b"], 100, 2, lowercase=True)
    (encoding,) = tokenizer.encode_batch(["a☃b"])
    assert (encoding.ids == tokenizer.unk_id).sum() == 1
    with pytest.raises(TokenizerError, match="no character occurs 9 times"):
        train_unigram(["ab"], 100, 9, lowercase=True)


@pytest.mark.parametrize("train", [train_wordpiece, train_bpe, train_unigram])
def test_a_text_without_blanks_does_not_take_for_ever(train: Callable[..., Tokenizer]) -> None:
    options = {} if train is train_bpe else {"lowercase": True}
    blob = "".join(random.Random(0).choices("abcdef0123456789", k=100_000))
    assert train([blob, "the film"], 300, 2, **options).vocab_size > 100


def test_merges_dropped_at_random_are_refused(tmp_path: Path, families: dict[str, Tokenizer]) -> None:
    families["bpe"].save(tmp_path)
    config = json.loads((tmp_path / "tokenizer.json").read_text("utf-8"))
    config["model"]["dropout"] = 0.1
    (tmp_path / "tokenizer.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(TokenizerError, match=r"dropped at random \(dropout 0\.1"):
        load(tmp_path)


def test_special_tokens_are_found_without_a_configuration(tmp_path: Path, families: dict[str, Tokenizer]) -> None:
    for name, tokenizer in families.items():
        tokenizer.save(tmp_path / name)
        for file in ("tokenizer_config.json", "special_tokens_map.json"):
            (tmp_path / name / file).unlink()
        assert load(tmp_path / name).special_tokens == tokenizer.special_tokens


def test_a_trained_vocabulary_has_the_size_asked_for_and_splits_its_own_text(
    corpus: list[str], trained: Tokenizer
) -> None:
    assert trained.vocab_size == 600
    assert trained.tokens[:5] == list(SPECIAL_TOKENS.values())
    ids = np.concatenate([each.ids for each in trained.encode_batch([text for text in corpus if text != "x" * 150])])
    assert not (ids == trained.unk_id).any()
    assert "天" in trained.tokens
    assert "##天" not in trained.tokens  # a Chinese character is a word


def test_an_alphabet_larger_than_the_vocabulary_keeps_the_frequent_characters() -> None:
    characters = [chr(0x4E00 + index) for index in range(300)]
    texts = [character * (1 + (index < 50)) for index, character in enumerate(characters)]
    tokenizer = train_wordpiece(iter(texts), 100, 1, lowercase=True)
    assert tokenizer.vocab_size == 100
    assert set(characters[:50]) <= set(tokenizer.tokens)


def test_case_is_kept_on_request() -> None:
    (encoding,) = train_wordpiece(iter(["Ab ab"] * 5), 100, 1, lowercase=False).encode_batch(["Ab ab"])
    assert encoding.ids[0] != encoding.ids[1]


def test_pickles(minilm: Path) -> None:
    tokenizer = load(minilm)
    again = pickle.loads(pickle.dumps(tokenizer))
    assert again.fingerprint == tokenizer.fingerprint
    assert not again.is_special[again.encode_batch(["[SEP] " + "a " * 200])[0].ids].any()


def test_errors_name_the_folder_and_what_is_wrong(minilm: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"neither tokenizer\.json nor vocab\.txt"):
        load(tmp_path)
    (tmp_path / "vocab.txt").write_text("[PAD]\n[UNK]\na\n", "utf-8")
    with pytest.raises(TokenizerError, match=r"lacks the special tokens \['\[CLS\]'"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_bytes((minilm / "tokenizer.json").read_bytes())
    with pytest.raises(TokenizerError, match=r"vocab\.txt has 3 tokens and tokenizer\.json 30522"):
        load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{", "utf-8")
    with pytest.raises(TokenizerError, match=r"tokenizer\.json: not a tokenizer \("):
        load(tmp_path)
    with pytest.raises(TokenizerError, match="no character occurs 2 times"):
        train_wordpiece(iter(["a", "b"]), 100, 2, lowercase=True)
