"""Source dataset: folders as `save_to_disk` writes them, and a hub that cannot be reached."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from tasks.config.sources import Columns, DatasetSource
from tasks.text.documents import CorpusError
from tasks.text.sources.open import reader
from tests.corpus.source_reading import read_all, reasons, write

FEATURES = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["negative", "positive"], "_type": "ClassLabel"},
}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def save(folder: Path, tables: list[pa.Table]) -> None:
    """What datasets 5.2 writes: streams of batches of 1,000 rows, and two JSON files."""
    metadata = {"huggingface": json.dumps({"info": {"features": FEATURES}})}
    names = [f"data-{number:05d}-of-{len(tables):05d}.arrow" for number in range(len(tables))]
    write(folder / "dataset_info.json", json.dumps({"features": FEATURES}))
    write(folder / "state.json", json.dumps({"_data_files": [{"filename": name} for name in names], "_split": None}))
    for name, table in zip(names, tables, strict=True):
        table = table.replace_schema_metadata(metadata)
        with pa.ipc.new_stream(folder / name, table.schema) as stream:
            stream.write_table(table, max_chunksize=1_000)


def table(start: int, stop: int) -> pa.Table:
    return pa.table(
        {"text": [f"Text {number}" for number in range(start, stop)], "label": [0, 1] * ((stop - start) // 2)}
    )


def test_a_saved_dataset(home: Path) -> None:
    save(home / "data/saved", [table(0, 3_000), table(3_000, 4_000)])
    source = DatasetSource(path="data/saved", columns=Columns(label="label"), kind="review")
    assert len(reader(source).units()) == 2
    documents, unreadable = read_all(source)
    assert [each.text for each in documents] == [f"Text {number}" for number in range(4_000)]
    assert [each.label for each in documents[:2]] == ["negative", "positive"]
    assert documents[-1].url == "data/saved/data-00001-of-00002.arrow:1000"
    assert unreadable == []


def test_splits(home: Path) -> None:
    write(home / "saved/dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    save(home / "saved/train", [table(0, 10)])
    save(home / "saved/test", [table(10, 14)])
    assert len(read_all(DatasetSource(path="saved"))[0]) == 14
    assert len(read_all(DatasetSource(path="saved", split="test"))[0]) == 4
    with pytest.raises(CorpusError, match="no split 'dev'; it has train, test"):
        reader(DatasetSource(path="saved", split="dev")).units()


def test_what_is_no_saved_dataset(home: Path) -> None:
    (home / "empty").mkdir()
    with pytest.raises(CorpusError, match=r"state\.json: not there"):
        reader(DatasetSource(path="empty")).units()
    save(home / "saved", [table(0, 10)])
    with pytest.raises(CorpusError, match="no column body; it has text, label"):
        reader(DatasetSource(path="saved", columns=Columns(text="body"))).units()
    with pytest.raises(CorpusError, match="without splits"):
        reader(DatasetSource(path="saved", split="train")).units()
    write(home / "saved/data-00000-of-00001.arrow", b"nothing")
    with pytest.raises(CorpusError, match="not an Arrow stream"):
        reader(DatasetSource(path="saved")).units()


def test_a_truncated_file_gives_the_batches_before(home: Path) -> None:
    save(home / "saved", [table(0, 4_000)])
    path = home / "saved/data-00000-of-00001.arrow"
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    documents, unreadable = read_all(DatasetSource(path="saved"))
    assert len(documents) in (2_000, 3_000)
    assert reasons(unreadable) == ["broken Arrow file"]


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")  # read from HF_ENDPOINT at import; nobody listens
    source = DatasetSource(repo="nobody/nothing", revision="0" * 40)
    with pytest.raises(CorpusError, match=r"hub dataset nobody/nothing at 0000.*not to be had.*set `path`"):
        reader(source).units()


@pytest.mark.parametrize(
    "options", [{}, {"path": "a", "repo": "a/b"}, {"repo": "a/b"}, {"repo": "a/b", "revision": "main"}]
)
def test_a_dataset_is_in_one_place_and_pinned(options: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"exactly one of path|40 hex digits|pattern"):
        DatasetSource(**options)
