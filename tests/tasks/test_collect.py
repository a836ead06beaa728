from __future__ import annotations

from pathlib import Path

import pytest

from tasks.artifacts import ArtifactRef
from tasks.config import CleanConfig, FilesSource, LinesFile
from tasks.text.clean import clean
from tasks.text.collect import RAW, collect, untagged
from tasks.text.documents import CorpusError
from tests.tasks.corpora import ignore, publish, reasons, rows

POSITIVE = LinesFile(path="data/pos.txt", kind="review", label="positive")
NEGATIVE = LinesFile(path="data/neg.txt", kind="review", label="negative")


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def collected(*files: LinesFile, night: str = "1") -> ArtifactRef:
    return publish("collect", night, lambda out: collect(FilesSource(files=files), out, ignore))


def test_one_document_a_line(data: Path) -> None:
    (data / "pos.txt").write_bytes("很好！\r\n\n  \n第二行\u2028同一行\n".encode())
    ref = collected(POSITIVE)
    found = [(row["url"], row["text"], row["kind"], row["label"]) for row in rows(ref, RAW)]
    assert found == [
        ("data/pos.txt:1", "很好！", "review", "positive"),
        ("data/pos.txt:4", "第二行\u2028同一行", "review", "positive"),
    ]
    assert ref.manifest["rows"] == {"seen": 4, "kept": 2}
    assert ref.manifest["dropped"] == {"blank line": 2}


def test_a_line_keeps_its_group_when_another_is_inserted_above(data: Path) -> None:
    (data / "pos.txt").write_text("好\n很好\n好\n", "utf-8")
    before = [row["group"] for row in rows(collected(POSITIVE), RAW)]
    (data / "pos.txt").write_text("新\n好\n很好\n好\n", "utf-8")
    after = [row["group"] for row in rows(collected(POSITIVE, night="2"), RAW)]
    assert after[1:] == before
    assert len(set(after)) == 4


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("１２月/t  ３１日/t  ，/w  江/nr  泽民/nr  发表/v  讲话/n  。/w", "１２月３１日，江泽民发表讲话。"),
        ("19980101-01-001-001/m  迈向/v  IBM/nx  PC/nx  公司/n", "迈向IBM PC公司"),
        ("A/DT neat/JJ trick/NN ,/, (/( 1//CD )/) ./.", "A neat trick, (1/)."),
        ("/nx 、/w", "、"),
        ("", ""),
    ],
)
def test_untagged(line: str, text: str) -> None:
    assert untagged(line) == text


def test_another_encoding_is_read(data: Path) -> None:
    text = "这个酒店的服务非常好，下次还会来。"
    (data / "pos.txt").write_bytes((text + "\n").encode("gb18030") * 5)
    assert rows(collected(POSITIVE), RAW)[0]["text"] == text


def test_a_missing_file_is_named(data: Path) -> None:
    with pytest.raises(CorpusError, match=r"pos\.txt: no such file; `make data`"):
        collected(POSITIVE)


def test_blank_files_are_an_error(data: Path) -> None:
    (data / "pos.txt").write_text("\n \n")
    with pytest.raises(CorpusError, match=r"no text in data/pos\.txt"):
        collected(POSITIVE)


def test_lines_are_cleaned(data: Path) -> None:
    (data / "pos.txt").write_text(
        "很好，下次还来！真的。\n好\nGreat hotel, we will come back again next year!\n", "utf-8"
    )
    (data / "neg.txt").write_text("很差，再也不来！\n", "utf-8")
    raw = collected(POSITIVE, NEGATIVE)
    config = CleanConfig(language="zh", labels=("negative", "positive"), min_characters=4)
    ref = publish("clean", "1", lambda out: clean(config, raw, out, ignore))
    found = [(row["text"], row["label"], row["language"], row["sentences"]) for row in rows(ref)]
    assert found == [
        ("很好，下次还来！真的。", "positive", "zh", [0, 8]),
        ("很差，再也不来！", "negative", "zh", [0]),
    ]
    assert [reason for _, reason in reasons(ref)] == ["too short", "wrong language"]
