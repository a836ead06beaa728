from __future__ import annotations

import bz2
import json
import pickle
import subprocess
import sys
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from transformers import AutoTokenizer

from bert_core.tokenizer import SPECIAL_TOKENS, Tokenizer, TokenizerError, load, train_wordpiece

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
from bert_core.tokenizer import train_wordpiece
print(train_wordpiece(iter(open({path!r}, encoding="utf-8").read().split("\\n")), 600, 1, True).fingerprint)
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


def test_training_again_in_other_processes_gives_the_same_vocabulary(
    corpus: list[str], trained: Tokenizer, tmp_path: Path
) -> None:
    path = tmp_path / "corpus.txt"
    path.write_bytes("\n".join(line.replace("\n", " ") for line in corpus).encode())
    command = [sys.executable, "-c", TRAIN.format(path=str(path))]
    prints = {subprocess.run(command, capture_output=True, text=True, check=True).stdout for _ in range(3)}
    assert len(prints) == 1
    assert train_wordpiece(iter(corpus), 600, 1, lowercase=True).fingerprint == trained.fingerprint


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
