from __future__ import annotations

import json
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from random_shards import LABELS, random_documents

from bert_core.shards import INDEX, ShardError, ShardWriter, TokenizedDocument, open_shards, token_dtype, write_shards

DOCUMENTS = random_documents(250, vocab_size=30522)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "shards", DOCUMENTS)
    return tmp_path / "shards"


def write(folder: Path, documents: list[TokenizedDocument], vocab_size: int = 30522) -> None:
    write_shards(folder, documents, vocab_size=vocab_size, fingerprint="abc", labels=LABELS, documents_per_shard=100)


def test_what_was_written_is_read(folder: Path) -> None:
    shards = open_shards(folder, fingerprint="abc", verify=True)
    assert sorted(path.name for path in folder.iterdir()) == [*(f"shard-0000{i}.arrow" for i in range(3)), INDEX]
    assert shards.num_documents == 250
    assert shards.num_tokens == sum(len(each.tokens) for each in DOCUMENTS)
    assert shards.lengths.tolist() == [len(each.tokens) for each in DOCUMENTS]
    assert shards.labels.tolist() == [each.label for each in DOCUMENTS]
    assert shards.document_ids == [each.document_id for each in DOCUMENTS]
    assert shards.label_names == LABELS
    for index, document in enumerate(DOCUMENTS):
        np.testing.assert_array_equal(shards.tokens(index), document.tokens)
        np.testing.assert_array_equal(shards.sentence_starts(index), document.sentence_starts)
        np.testing.assert_array_equal(shards.word_starts(index), document.word_starts)


def test_tokens_are_counted_over_all_files(folder: Path) -> None:
    counts = open_shards(folder).token_counts()
    expected = np.bincount(np.concatenate([each.tokens for each in DOCUMENTS]), minlength=30522)
    np.testing.assert_array_equal(counts, expected)


def test_equal_documents_are_equal_bytes(folder: Path, tmp_path: Path) -> None:
    write(tmp_path / "again", DOCUMENTS)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes()


def test_reading_tokens_allocates_nothing(folder: Path) -> None:
    shards = open_shards(folder)
    shards.tokens(0)
    pool = pa.default_memory_pool()
    before, views = pool.bytes_allocated(), [shards.tokens(index) for index in range(100)]
    assert pool.bytes_allocated() == before
    assert not any(view.flags.owndata or view.flags.writeable for view in views)
    assert views[0].dtype == np.uint16


@pytest.mark.parametrize(
    ("vocab_size", "dtype"),
    [(256, np.uint8), (257, np.uint16), (2**16, np.uint16), (2**16 + 1, np.uint32)],
)
def test_tokens_take_the_narrowest_type(vocab_size: int, dtype: type, tmp_path: Path) -> None:
    largest = TokenizedDocument("a", np.array([0, vocab_size - 1]), np.array([0]), np.array([True, False]))
    write(tmp_path, [largest], vocab_size)
    assert token_dtype(vocab_size) is dtype
    assert open_shards(tmp_path).tokens(0).dtype == dtype
    assert open_shards(tmp_path).tokens(0).tolist() == [0, vocab_size - 1]


def test_a_document_without_tokens_keeps_its_place(tmp_path: Path) -> None:
    none = TokenizedDocument("empty", np.zeros(0, int), np.zeros(0, int), np.zeros(0, bool))
    write(tmp_path, [none, DOCUMENTS[0], none])
    shards = open_shards(tmp_path)
    assert shards.lengths.tolist() == [0, len(DOCUMENTS[0].tokens), 0]
    assert shards.tokens(2).tolist() == shards.sentence_starts(2).tolist() == shards.word_starts(2).tolist() == []
    np.testing.assert_array_equal(shards.word_starts(1), DOCUMENTS[0].word_starts)
    with pytest.raises(IndexError, match=r"document 3: .* has 3"):
        shards.tokens(3)


def test_opened_shards_go_to_another_process(folder: Path, tmp_path: Path) -> None:
    shards = open_shards(folder)
    shards.tokens(0)
    (tmp_path / "shards.pickle").write_bytes(pickle.dumps(shards))
    code = "import pickle, sys; print(pickle.load(open(sys.argv[1], 'rb')).tokens(249).tolist())"
    output = subprocess.run([sys.executable, "-c", code, tmp_path / "shards.pickle"], capture_output=True, check=True)
    assert json.loads(output.stdout) == DOCUMENTS[249].tokens.tolist()


def test_another_tokenizer_is_an_error_that_names_both(folder: Path) -> None:
    with pytest.raises(ShardError, match="with the tokenizer abc, to be read with xyz"):
        open_shards(folder, fingerprint="xyz")


def test_a_shard_of_another_tokenizer_among_the_files_is_found(folder: Path) -> None:
    index = json.loads((folder / INDEX).read_text())
    (folder / INDEX).write_text(json.dumps(index | {"fingerprint": "xyz"}))
    with pytest.raises(ShardError, match=r"shard-00000\.arrow: made with the tokenizer abc, but its index says xyz"):
        open_shards(folder, fingerprint="xyz").tokens(0)


def test_a_truncated_file_is_found_at_opening(folder: Path) -> None:
    path = folder / "shard-00001.arrow"
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.truncate(size // 2)
    with pytest.raises(ShardError, match=rf"shard-00001\.arrow has {size // 2} bytes; its index lists {size}"):
        open_shards(folder)


def test_a_changed_byte_is_found_by_verify(folder: Path) -> None:
    path = folder / "shard-00002.arrow"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    open_shards(folder)
    with pytest.raises(ShardError, match=r"shard-00002\.arrow: sha256 is"):
        open_shards(folder, verify=True)


def test_a_file_that_is_not_arrow_is_named(folder: Path) -> None:
    path = folder / "shard-00000.arrow"
    path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(ShardError, match=r"shard-00000\.arrow: not a readable shard"):
        open_shards(folder).tokens(0)


def test_missing_files_are_named(folder: Path) -> None:
    (folder / "shard-00000.arrow").unlink()
    with pytest.raises(ShardError, match=r"shard-00000\.arrow is missing"):
        open_shards(folder)
    (folder / INDEX).write_text("{")
    with pytest.raises(ShardError, match=r"shards\.json: not JSON"):
        open_shards(folder)
    (folder / INDEX).unlink()
    with pytest.raises(ShardError, match=r"no shards\.json, so this is not a complete folder"):
        open_shards(folder)


def test_a_write_that_fails_leaves_no_index(tmp_path: Path) -> None:
    bad = replace(DOCUMENTS[1], label=2)
    with pytest.raises(ShardError, match="document-1: label 2; legal: -1 to 1"):
        write(tmp_path, [DOCUMENTS[0], bad])
    assert not (tmp_path / INDEX).exists()


def test_faulty_documents_are_refused_by_name(tmp_path: Path) -> None:
    good = TokenizedDocument("d", np.array([5, 6, 7]), np.array([0, 2]), np.array([True, True, False]))
    with ShardWriter(tmp_path, vocab_size=10, fingerprint="abc") as writer:
        for fault, message in (
            ({"tokens": np.array([5, 6, 10])}, "document d: token ids 5 to 10 with a vocabulary of 10"),
            ({"tokens": np.array([-1, 6, 7])}, "document d: token ids -1 to 7 with a vocabulary of 10"),
            ({"word_starts": np.array([True])}, "document d: 1 word starts for 3 tokens"),
            ({"sentence_starts": np.array([1])}, "must ascend from 0 to below 3"),
            ({"sentence_starts": np.array([0, 3])}, "must ascend from 0 to below 3"),
            ({"sentence_starts": np.array([0, 2, 2])}, "must ascend from 0 to below 3"),
        ):
            with pytest.raises(ShardError, match=message):
                writer.add(replace(good, **fault))
        writer.add(good)
    assert open_shards(tmp_path).num_documents == 1


def test_no_documents_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="no document was written"):
        write(tmp_path, [])
