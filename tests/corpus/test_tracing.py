"""From shards back to documents, and from URLs to shards."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
from test_encoding_parts import CONFIG, ignore, part_rows, publish

from bert_core.shards import open_shards
from tasks.artifacts import Draft
from tasks.text import tracing
from tasks.text.encoding import SPLITS, encode
from tasks.text.parts import Serial
from tasks.text.tracing import TraceError, locate_row, locate_url


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("tracing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_STORE", str(home / "store"))
        patch.setattr(tracing, "GROUP_ROWS", 8)
        parts = [part_rows(part) for part in range(4)]
        parts[2][5] |= {"url": parts[0][0]["url"]}  # a page that has two documents
        (home / "encode").mkdir()
        encode(CONFIG, publish("a", parts), (), Draft(home / "encode"), Serial(), ignore)
    return home / "encode"


def test_every_row_of_every_shard_leads_to_its_document_and_back(folder: Path) -> None:
    seen = 0
    for split in SPLITS:
        shards = open_shards(folder / split)
        for file in sorted((folder / split).glob("*.arrow"), key=lambda path: path.name.replace(".arrow", ".0")):
            number = 0
            offset = 0
            while True:
                try:
                    row = locate_row(folder, split, file.name, number)
                except TraceError:
                    break
                index = shards.document_ids.index(row.document_id)
                assert row.url.startswith("https://example.org/")
                assert (row.split, row.shard, row.row, row.first_token) == (split, file.name, number, offset)
                assert row.tokens == shards.lengths[index]
                assert row in list(locate_url(folder, row.url))
                offset += row.tokens
                number, seen = number + 1, seen + 1
    assert seen == 160


def test_a_url_leads_to_all_its_documents(folder: Path) -> None:
    found = list(locate_url(folder, "https://example.org/0-0"))
    assert sorted(row.document_id for row in found) == ["0-0", "2-5"]
    assert {row.shard.split(".")[0] for row in found} == {"part-00000", "part-00002"}
    assert list(locate_url(folder, "https://example.org/nowhere")) == []


def test_a_url_is_found_without_reading_the_other_row_groups(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    groups = pq.ParquetFile(folder / "index/part-00001.parquet").num_row_groups
    plain = pq.ParquetFile.read_row_groups

    def counting(self: pq.ParquetFile, wanted: list[int]) -> object:
        read.extend(wanted)
        return plain(self, wanted)

    monkeypatch.setattr(pq.ParquetFile, "read_row_groups", counting)
    assert len(list(locate_url(folder, "https://example.org/1-7"))) == 1
    assert groups == 5
    assert len(read) <= 2


@pytest.mark.parametrize(
    ("shard", "row", "message"),
    [
        ("part-00000.arrow", 10**6, "no row 1000000"),
        ("part-00099.arrow", 0, "no shard 'part-00099.arrow'"),
        ("../../secret.arrow", 0, "no shard"),
    ],
)
def test_what_is_not_there_is_an_error(folder: Path, shard: str, row: int, message: str) -> None:
    with pytest.raises(TraceError, match=message):
        locate_row(folder, "train", shard, row)
