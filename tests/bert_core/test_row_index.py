from __future__ import annotations

import json
import multiprocessing
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from random_shards import random_documents, write_documents

from bert_core.config import BatchConfig, MlmObjective
from bert_core.data import PretrainingData, RunLength, row_index
from bert_core.data.row_index import RowIndex, index_key, make_row_index, open_row_index, write_row_index
from bert_core.packing import PackingPlan, pack
from bert_core.shards import ShardError, open_shards
from bert_core.tokenizer import Tokenizer, load


@pytest.fixture(scope="module")
def tokenizer(minilm: Path) -> Tokenizer:
    return load(minilm)


@pytest.fixture(scope="module")
def folder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_documents(tmp_path_factory.mktemp("index") / "shards", tokenizer, random_documents(400))


def assert_same(one: RowIndex, other: RowIndex) -> None:
    np.testing.assert_array_equal(one.samples, other.samples)
    np.testing.assert_array_equal(one.plan.sample_ids, other.plan.sample_ids)
    np.testing.assert_array_equal(one.plan.row_offsets, other.plan.row_offsets)
    assert (one.plan.num_tokens, one.plan.row_length) == (other.plan.num_tokens, other.plan.row_length)
    assert one.num_documents == other.num_documents


@pytest.mark.parametrize("pairs", [False, True])
def test_a_kept_index_is_the_one_that_was_made(folder: Path, tmp_path: Path, pairs: bool) -> None:
    shards = open_shards(folder)
    made = make_row_index(shards, 128, pairs=pairs)
    for _ in range(2):
        kept = open_row_index(shards, 128, pairs=pairs, folder=tmp_path)
        assert_same(kept, made)
        assert isinstance(kept.samples, np.memmap)
    assert len(list(tmp_path.iterdir())) == 1


def test_it_is_made_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = open_shards(folder)
    open_row_index(shards, 128, pairs=False, folder=tmp_path)
    monkeypatch.setattr(row_index, "make_row_index", lambda *_, **__: pytest.fail("made again"))
    open_row_index(shards, 128, pairs=False, folder=tmp_path)


def test_other_rows_and_other_texts_have_others(folder: Path, tokenizer: Tokenizer, tmp_path: Path) -> None:
    other = write_documents(tmp_path / "other", tokenizer, random_documents(400, seed=1))
    keys = {
        index_key(open_shards(each), length, pairs=pairs)
        for each in (folder, other)
        for length in (128, 512)
        for pairs in (False, True)
    }
    assert len(keys) == 8


def truncated(path: Path) -> None:
    os.truncate(path / "samples.npy", 1000)


def flipped(path: Path) -> None:
    data = bytearray((path / "sample_ids.npy").read_bytes())
    data[len(data) // 2] ^= 1
    (path / "sample_ids.npy").write_bytes(data)


def without_header(path: Path) -> None:
    (path / "rows.json").unlink()


def torn_header(path: Path) -> None:
    os.truncate(path / "rows.json", 200)


def altered_header(path: Path) -> None:
    text = (path / "rows.json").read_text()
    (path / "rows.json").write_text(re.sub(r'"num_tokens": \d+', '"num_tokens": 7', text))


def without_a_file(path: Path) -> None:
    (path / "row_offsets.npy").unlink()


@pytest.mark.parametrize("damage", [truncated, flipped, without_header, torn_header, altered_header, without_a_file])
def test_a_damaged_index_is_made_again(folder: Path, tmp_path: Path, damage: Callable[[Path], None]) -> None:
    shards = open_shards(folder)
    open_row_index(shards, 128, pairs=False, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    damage(path)
    assert_same(open_row_index(shards, 128, pairs=False, folder=tmp_path), make_row_index(shards, 128, pairs=False))
    assert list(tmp_path.iterdir()) == [path]


def test_a_flipped_bit_in_the_first_or_last_block_of_a_large_file_is_seen(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_index, "_CHECKED_WHOLE", 1000)
    shards = open_shards(folder)
    open_row_index(shards, 128, pairs=False, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    for at in (0, -1):
        data = bytearray((path / "samples.npy").read_bytes())
        data[at] ^= 4
        (path / "samples.npy").write_bytes(data)
        assert_same(open_row_index(shards, 128, pairs=False, folder=tmp_path), make_row_index(shards, 128, pairs=False))


def open_in_process(folder: Path, index_folder: Path) -> int:
    made = []
    make = row_index.make_row_index
    row_index.make_row_index = lambda *args, **keys: made.append(1) or make(*args, **keys)  # type: ignore[func-returns-value]
    open_row_index(open_shards(folder), 128, pairs=False, folder=index_folder)
    return len(made)


def test_of_several_processes_one_makes_it(folder: Path, tmp_path: Path) -> None:
    with multiprocessing.get_context("fork").Pool(4) as pool:
        made = pool.starmap(open_in_process, [(folder, tmp_path)] * 8)
    assert sum(made) == 1
    assert len(list(tmp_path.iterdir())) == 1


def test_a_long_text_keeps_its_index_with_its_shards_and_a_short_one_nowhere(
    folder: Path, tokenizer: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = write_documents(tmp_path / "shards", tokenizer, random_documents(50))
    before = sorted(copy.iterdir())
    open_row_index(open_shards(copy), 128, pairs=False)
    assert sorted(copy.iterdir()) == before
    monkeypatch.setattr(row_index, "KEPT_FROM", 100)
    open_row_index(open_shards(copy), 128, pairs=False)
    (added,) = set(copy.iterdir()) - set(before)
    assert added.name.startswith(".rows-")
    assert stat.S_IMODE(added.stat().st_mode) & 0o055 == 0o055  # other users of the machine may read it


def test_shards_that_cannot_be_written_to_have_theirs_among_temporary_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_index, "KEPT_FROM", 100)
    monkeypatch.setattr(row_index.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(row_index.os, "access", lambda path, mode: Path(path) != folder)  # root may write anywhere
    before = sorted(folder.iterdir())
    open_row_index(open_shards(folder), 128, pairs=False)
    assert sorted(folder.iterdir()) == before
    assert len(list(tmp_path.glob("bert-foundry-rows-*/.rows-*"))) == 1


def test_a_seek_to_step_1_000_000_of_1e9_tokens_reads_no_token_and_little_else(
    tokenizer: Tokenizer, tmp_path: Path
) -> None:
    """The shards are holes: their sizes are right, and a token, or anything else in them, cannot be read."""
    shards_folder, rows_folder = tmp_path / "shards", tmp_path / "rows"
    rows_folder.mkdir()
    lengths = np.clip(np.random.default_rng(0).lognormal(5.6, 0.5, 3_500_000), 5, 510).astype(np.int64)
    assert lengths.sum() > 1_000_000_000
    write_holes(shards_folder, tokenizer, lengths)
    shards = open_shards(shards_folder)
    span = np.stack([np.arange(len(lengths)), np.zeros_like(lengths), lengths], axis=1).astype(np.uint32)
    key = index_key(shards, 512, pairs=False)
    index = RowIndex(span, pack(lengths + 2, 512), len(lengths))
    write_row_index(index, rows_folder / f".rows-{key[:16]}", key)
    del span, index

    data = PretrainingData(
        shards_folder,
        tokenizer,
        MlmObjective(),
        BatchConfig(row_length=512, rows=64),
        13,
        length=RunLength(steps=2_000_000),
        index_folder=rows_folder,
    )
    sample_ids = data.sample_ids(1_000_000)
    assert 64 <= len(sample_ids) == len(set(sample_ids))
    assert data.positions_before(1_000_000) == 64 * 512 * 1_000_000
    mapped, resident = mapped_bytes(rows_folder)
    print(f"of {mapped / 1e6:.0f} MB of index, {resident / 1e6:.1f} MB were mapped in")
    assert mapped > 40_000_000
    assert resident < mapped / 2  # Linux maps 64 KB and more around each of some 250 places, if they are in memory
    plan = data.streams[0].plan
    counted = PackingPlan(512, plan.row_offsets.view(Counting), plan.sample_ids.view(Counting), plan.num_tokens)
    data.streams[0] = RowIndex(data.streams[0].samples, counted, data.streams[0].num_documents)
    Counting.elements = 0
    assert data.sample_ids(1_000_000) == sample_ids
    assert Counting.elements == 2 * 64 + len(sample_ids)  # both ends of each row, and each sample
    with pytest.raises(ShardError):
        data.batch(1_000_000, 0, 1)


class Counting(np.ndarray):  # type: ignore[type-arg]
    """Counts the elements that are read from it."""

    elements = 0

    def __getitem__(self, index: object) -> np.ndarray:
        found = np.asarray(super().__getitem__(index))  # type: ignore[index]
        Counting.elements += found.size
        return found


def write_holes(folder: Path, tokenizer: Tokenizer, lengths: np.ndarray) -> None:
    folder.mkdir()
    entries = []
    for number, part in enumerate(np.array_split(lengths, 20)):
        name = f"shard-{number:05d}.arrow"
        with (folder / name).open("wb") as file:
            file.truncate(2 * int(part.sum()))
        entries.append(
            {
                "name": name,
                "documents": len(part),
                "tokens": int(part.sum()),
                "bytes": 2 * int(part.sum()),
                "sha256": "0" * 64,
            }
        )
    index = {"fingerprint": tokenizer.fingerprint, "vocab_size": tokenizer.vocab_size, "labels": [], "files": entries}
    (folder / "shards.json").write_text(json.dumps(index))


def mapped_bytes(folder: Path) -> tuple[int, int]:
    """Bytes of this process's maps of files below `folder`, and how many of them are in its memory."""
    size = resident = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
            inside = str(folder) in line
        elif inside and line.startswith("Size:"):
            size += int(line.split()[1]) * 1024
        elif inside and line.startswith("Rss:"):
            resident += int(line.split()[1]) * 1024
    return size, resident
