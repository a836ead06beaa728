"""Tables: CSV with all that quotes can do, Parquet by row groups, columns that are missing or of another type."""

from __future__ import annotations

import csv
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks.config.sources import Columns, FilesSource, ReadLimits
from tasks.text.documents import CorpusError
from tasks.text.sources.open import reader
from tests.corpus.source_reading import read_all, reasons, write


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def test_csv_with_quoted_newlines(home: Path) -> None:
    rows = [["text", "y"], ['say "hi",\nthen go', "1"], ["ü" * 200_000, "0"]]
    with (home / "a.csv").open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows(rows)
    documents, unreadable = read_all(FilesSource(paths=("a.csv",), columns=Columns(label="y")))
    assert [[each.text, each.label] for each in documents] == rows[1:]
    assert [each.url for each in documents] == ["a.csv:2", "a.csv:4"]
    assert unreadable == []


def test_tsv(home: Path) -> None:
    write(home / "a.tsv", "t\tu\neins, zwei\thttp://x/1\n")
    [document] = read_all(FilesSource(paths=("a.tsv",), columns=Columns(text="t", url="u")))[0]
    assert (document.text, document.url, document.group) == ("eins, zwei", "http://x/1", "")


def test_csv_faults_cost_their_row_alone(home: Path) -> None:
    lines = [
        "text,y",
        "eins,1",
        "zwei",
        "drei,1,2",
        '"vier" fünf,1',
        "",
        "sechs,1",
        'sieben,"offen',
        "acht,1",
        "neun,1",
    ]
    write(home / "a.csv", "\n".join(lines) + "\n")
    documents, unreadable = read_all(FilesSource(paths=("a.csv",)))
    assert [each.text for each in documents] == ["eins", "sechs", "acht", "neun"]
    assert reasons(unreadable) == ["broken CSV row"] * 3 + ["blank line", "broken CSV row"]
    assert [each.url for each in unreadable] == [f"a.csv:{number}" for number in (3, 4, 5, 6, 8)]


def test_a_row_that_is_too_large(home: Path) -> None:
    write(home / "a.csv", 'text\neins\n"' + "x\n" * 20_000 + '"\nzwei\n')
    limits = ReadLimits(max_record_bytes=10_000)
    documents, unreadable = read_all(FilesSource(paths=("a.csv",), limits=limits))
    texts = [each.text for each in documents]
    assert texts == ["eins", *["x"] * 19_999, "zwei"]  # without the quotes each line stands for itself
    assert [each.url for each in unreadable] == ["a.csv:3", "a.csv:20003"]


@pytest.mark.parametrize(("suffix", "text"), [("csv", "a,b\n1,2\n"), ("tsv", "a\tb\n1\t2\n")])
def test_a_missing_column_is_told_before_any_work(home: Path, suffix: str, text: str) -> None:
    write(home / f"x.{suffix}", text)
    source = FilesSource(paths=(f"x.{suffix}",), columns=Columns(text="a", title="headline"))
    with pytest.raises(CorpusError, match=rf"x\.{suffix}: no column headline; it has a, b\."):
        reader(source).units()


def test_an_empty_csv(home: Path) -> None:
    write(home / "a.csv", "")
    assert reasons(read_all(FilesSource(paths=("a.csv",)))[1]) == ["empty file"]


def parquet(path: Path, table: pa.Table, rows: int = 100) -> Path:
    pq.write_table(table, path, row_group_size=rows)
    return path


def test_parquet_is_cut_by_row_groups(home: Path) -> None:
    texts = [f"Text {number} " + "x" * 100 for number in range(1_000)]
    parquet(home / "a.parquet", pa.table({"text": texts, "n": range(1_000), "d": [date(2024, 1, 2)] * 1_000}))
    source = FilesSource(paths=("a.parquet",), unit_bytes=5_000, columns=Columns(date="d"))
    units = reader(source).units()
    assert [(unit.start, unit.stop) for unit in units][:2] == [(0, 1), (1, 2)]
    documents, _ = read_all(source)
    assert [each.text for each in documents] == texts
    assert [documents[number].url for number in (0, 999)] == ["a.parquet:1", "a.parquet:1000"]
    assert documents[0].date == "2024-01-02"


def test_classes_have_names(home: Path) -> None:
    features = '{"info": {"features": {"y": {"names": ["bad", "good"], "_type": "ClassLabel"}}}}'
    table = pa.table({"text": ["a", "b"], "y": [1, 0]}).replace_schema_metadata({"huggingface": features})
    parquet(home / "a.parquet", table)
    documents, _ = read_all(FilesSource(paths=("a.parquet",), columns=Columns(label="y")))
    assert [each.label for each in documents] == ["good", "bad"]


def test_parquet_with_another_schema(home: Path) -> None:
    parquet(home / "a.parquet", pa.table({"content": ["x"]}))
    with pytest.raises(CorpusError, match=r"a\.parquet: no column text; it has content"):
        reader(FilesSource(paths=("a.parquet",))).units()
    parquet(home / "a.parquet", pa.table({"text": [1, 2]}))
    with pytest.raises(CorpusError, match=r"column text is int64, not string"):
        reader(FilesSource(paths=("a.parquet",))).units()


def test_parquet_that_is_none(home: Path) -> None:
    write(home / "a.parquet", b"PAR1 not at all")
    with pytest.raises(CorpusError, match="not a readable Parquet file"):
        reader(FilesSource(paths=("a.parquet",))).units()


def test_broken_pages_cost_their_row_group(home: Path) -> None:
    texts = [f"{number} {'abcdefgh' * 10}" for number in range(300)]
    path = parquet(home / "a.parquet", pa.table({"text": texts}))
    chunk = pq.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    start = chunk.dictionary_page_offset or chunk.data_page_offset
    data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)
    documents, unreadable = read_all(FilesSource(paths=("a.parquet",)))
    assert [each.text for each in documents] == texts[:100] + texts[200:]
    assert reasons(unreadable) == ["broken Parquet"]


def test_strings_that_are_not_utf8(home: Path) -> None:
    text = pa.array([b"gut", b"\xff\xfe", b"auch"], pa.binary()).cast(pa.string(), safe=False)
    parquet(home / "a.parquet", pa.table({"text": text}))
    documents, unreadable = read_all(FilesSource(paths=("a.parquet",)))
    assert [each.text for each in documents] == ["gut", "auch"]
    assert [(each.url, each.reason) for each in unreadable] == [("a.parquet:2", "invalid UTF-8")]


def test_a_row_group_that_expands_too_far(home: Path) -> None:
    parquet(home / "a.parquet", pa.table({"text": [f"{number}{'x' * 1_000}" for number in range(100)]}))
    source = FilesSource(paths=("a.parquet",), limits=ReadLimits(max_row_group_bytes=10_000))
    assert reasons(read_all(source)[1]) == ["row group too large"]
