"""Shards part by part: any number of workers, killed anywhere, the same bytes; equal parts are taken over."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bert_core import tokenizer as tokenizers
from bert_core.shards import ShardError, open_shards
from tasks.artifacts import ArtifactRef, Draft, build, find
from tasks.config.tokens import BpeTokenizer, EncodeConfig, WordPieceTokenizer
from tasks.text.documents import DOCUMENT_SCHEMA
from tasks.text.encoding import EncodeError, encode
from tasks.text.parts import Serial, Workers

CONFIG = EncodeConfig(tokenizer=WordPieceTokenizer(vocab_size=300, min_frequency=1), tokens_per_shard=600)
SCHEMA = DOCUMENT_SCHEMA.append(pa.field("split", pa.string()))
WORDS = [
    "the",
    "film",
    "is",
    "a",
    "bore",
    "and",
    "nobody",
    "laughed",
    "at",
    "all",
    "but",
    "it",
    "has",
    "heart",
    "今天",
    "电影",
    "不错",
    "fin",
]
SCRIPT = """
import sys
from pathlib import Path
from tasks.artifacts import Draft
from tests.corpus.test_encoding_parts import CONFIG, Slow, ignore
from tasks.text.encoding import encode
encode(CONFIG, Path(sys.argv[1]), (), Draft(Path(sys.argv[2])), Slow(), ignore)
"""


def ignore(done: int, total: int) -> None:
    pass


class Slow(Serial):
    """Slow enough to be killed between parts, and in them."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        for each in super().map(function, items):
            time.sleep(0.1)
            yield each


class Pool:
    """Processes of their own, done in any order."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        with ProcessPoolExecutor(4) as pool:
            order = list(range(len(items)))
            random.Random(3).shuffle(order)
            futures = {pool.submit(function, items[index]): index for index in order}
            for future in as_completed(futures):
                yield futures[future], future.result()


def part_rows(part: int, documents: int = 40) -> list[dict[str, Any]]:
    rng = random.Random(part)
    rows = []
    for index in range(documents):
        texts = [" ".join(rng.choices(WORDS, k=rng.randrange(2, 12))) + ". " for _ in range(rng.randrange(1, 6))]
        starts = [sum(map(len, texts[:number])) for number in range(len(texts))]
        split = "test" if part == 0 and index < 3 else rng.choice(["train", "train", "validation", "test"])
        rows.append(row(f"{part}-{index}", "".join(texts).strip(), "train" if part == 3 else split, starts))
    return rows


def row(name: str, text: str, split: str, sentences: list[int] | None = None) -> dict[str, Any]:
    strings = dict.fromkeys(DOCUMENT_SCHEMA.names, "")
    return strings | {
        "id": name,
        "url": f"https://example.org/{name}",
        "language": "en",
        "text": text,
        "levels": [],
        "label": None,
        "sentences": sentences or [0],
        "split": split,
    }


def publish(store_key: str, parts: Sequence[list[dict[str, Any]]]) -> ArtifactRef:
    key = f"{store_key:0<64}"
    with build("split", "test", key, config=None) as out:
        (out.path / "documents").mkdir()
        for number, rows in enumerate(parts):
            table = pa.Table.from_pylist(rows, schema=SCHEMA)
            pq.write_table(table, out.path / "documents" / f"part-{number:05d}.parquet")
    ref = find("split", "test", key)
    assert ref is not None
    return ref


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))


@pytest.fixture
def documents() -> ArtifactRef:
    return publish("a", [part_rows(part) for part in range(6)])


def run(
    documents: ArtifactRef | Path, folder: Path, workers: Workers, previous: ArtifactRef | None = None, **changes: Any
) -> Draft:
    folder.mkdir(exist_ok=True)
    out = Draft(folder)
    encode(CONFIG.model_copy(update=changes), documents, (), out, workers, ignore, previous)
    return out


def contents(folder: Path) -> dict[str, bytes]:
    files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return dict(sorted(files.items()))


def test_one_worker_and_four_give_the_same_bytes(documents: ArtifactRef, tmp_path: Path) -> None:
    one, four = run(documents, tmp_path / "one", Serial()), run(documents, tmp_path / "four", Pool())
    assert contents(one.path) == contents(four.path)
    assert (one.rows, one.facts) == (four.rows, four.facts)
    assert one.rows["seen"] == 240 == sum(one.facts["documents"].values())
    names = sorted(path.name for path in (one.path / "train").iterdir())
    assert "part-00003.1.arrow" in names  # a shard takes 600 tokens
    assert not (one.path / "test/part-00003.arrow").exists()  # a part without a document of this side
    assert open_shards(one.path / "train", verify=True).num_documents == one.rows["train"]


def test_killed_at_random_points_and_started_again_gives_the_same_bytes(documents: ArtifactRef, tmp_path: Path) -> None:
    whole = contents(run(documents, tmp_path / "whole", Serial()).path)
    folder, rng, kills = tmp_path / "killed", random.Random(5), 0
    folder.mkdir()
    command = [sys.executable, "-c", SCRIPT, documents.path, str(folder)]
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    for attempt in range(5):
        process = subprocess.Popen(command, cwd=root, env=environment)
        before = len(list(folder.rglob("part-*")))
        while process.poll() is None and len(list(folder.rglob("part-*"))) == before:
            time.sleep(0.01)  # so that every attempt gets on
        time.sleep(rng.random() * 0.1)
        if attempt < 4 and process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        if process.wait() == 0:
            break
    assert process.returncode == 0
    assert kills >= 2
    assert contents(folder) == whole


def test_equal_parts_are_linked_from_the_previous_artifact(
    documents: ArtifactRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = f"{'e':0<64}"
    with build("encode", "test", key, config=None) as out:
        encode(CONFIG, documents, (), out, Serial(), ignore)
    previous = find("encode", "test", key)
    assert previous is not None
    tokenizer = previous / "tokenizer"
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tokenizer.parent))
    given = {"tokenizer": {"type": "pretrained", "path": "tokenizer"}}
    config = EncodeConfig.model_validate(CONFIG.model_dump() | given)
    parts = [part_rows(9), *(part_rows(part) for part in range(5)), part_rows(10)]
    now = publish("b", parts)
    (tmp_path / "now").mkdir()
    (tmp_path / "fresh").mkdir()
    reused, fresh = Draft(tmp_path / "now"), Draft(tmp_path / "fresh")
    encode(config, now, (), reused, Serial(), ignore, previous)
    encode(config, now, (), fresh, Serial(), ignore)
    assert reused.facts.pop("parts_reused") == 5
    assert reused.facts == fresh.facts
    assert contents(reused.path) == contents(fresh.path)
    linked = reused.path / "train/part-00001.arrow"
    assert linked.stat().st_ino == (previous / "train/part-00000.arrow").stat().st_ino


def test_what_an_earlier_attempt_left_over_goes(documents: ArtifactRef, tmp_path: Path) -> None:
    (tmp_path / "x/train").mkdir(parents=True)
    (tmp_path / "x/train/part-00000.7.arrow").write_text("stale")
    out = run(documents, tmp_path / "x", Serial())
    assert not (out.path / "train/part-00000.7.arrow").exists()


def test_a_tokenizer_that_changed_under_way_is_found(documents: ArtifactRef, tmp_path: Path) -> None:
    class Changing(Serial):
        def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
            if (tmp_path / "x/tokenizer").exists():
                tokenizers.train_wordpiece(["other words"] * 3, 100, 1, True).save(tmp_path / "x/tokenizer")
            yield from super().map(function, items)

    with pytest.raises(EncodeError, match=r"x/tokenizer: the tokenizer is \w+, and this stage began with"):
        run(documents, tmp_path / "x", Changing())


def test_shards_are_refused_with_another_tokenizer(documents: ArtifactRef, tmp_path: Path) -> None:
    out = run(documents, tmp_path / "x", Serial())
    with pytest.raises(ShardError, match="to be read with abc"):
        open_shards(out.path / "train", fingerprint="abc")


def test_a_side_without_documents_is_an_error_and_so_are_no_parts(tmp_path: Path) -> None:
    ref = publish("c", [[row("a", "the film", "train"), row("b", "the film", "validation")]])
    with pytest.raises(ShardError, match="test: no document was written"):
        run(ref, tmp_path / "x", Serial())
    (tmp_path / "nothing").mkdir()
    with pytest.raises(EncodeError, match="no parts of documents"):
        run(tmp_path / "nothing", tmp_path / "y", Serial())


def test_one_document_of_a_hundred_megabytes_and_one_of_none(tmp_path: Path) -> None:
    sentence = "the film is a bore, and nobody laughed at all. 今天电影不错！ "
    count = 100_000_000 // len(sentence.encode())
    giant = row("giant", sentence * count, "train", [0, len(sentence) * (count // 2)])
    others = [row("none", "", "train"), row("v", "film", "validation"), row("t", "film", "test")]
    out = run(publish("d", [[giant, *others]]), tmp_path / "x", Serial(), tokens_per_shard=10**6)
    shards = open_shards(out.path / "train", verify=True)
    (one,) = tokenizers.load(out.path / "tokenizer").encode_batch([sentence])
    assert shards.lengths.tolist() == [len(one.ids) * count, 0]
    assert shards.tokens(0)[-len(one.ids) :].tolist() == one.ids.tolist()
    assert shards.sentence_starts(0).tolist() == [0, len(one.ids) * (count // 2)]
    assert out.facts["empty_documents"] == 1
    assert sorted(path.name for path in (out.path / "train").glob("*.arrow")) == [
        "part-00000.1.arrow",
        "part-00000.arrow",
    ]


def test_a_giant_without_blanks_takes_bounded_memory(tmp_path: Path) -> None:
    config = {"tokenizer": BpeTokenizer(vocab_size=300), "tokens_per_shard": 10**8}
    text = "电影不错" * 700_000  # 8.4 MB in one run of letters
    rows = [row("giant", text, "train"), row("v", "film", "validation"), row("t", "film", "test")]
    out = run(publish("f", [rows]), tmp_path / "x", Serial(), **config)
    tokens = open_shards(out.path / "train").tokens(0).tolist()
    assert tokenizers.load(out.path / "tokenizer").backend.decode(tokens) == text
