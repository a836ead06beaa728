"""Source files: what each format gives, how large files are cut, and what a person sees who names the wrong thing."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import fsspec
import matplotlib
import matplotlib.pyplot
import pytest

from tasks.config.sources import Columns, FilesSource, ReadLimits
from tasks.text.documents import CorpusError
from tasks.text.sources.lines import untagged
from tasks.text.sources.open import reader
from tests.corpus.source_reading import read_all, reasons, write

REVIEW = {"format": "lines", "kind": "review", "label": "positive"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def test_one_document_a_line(home: Path) -> None:
    write(home / "data/pos.txt", "\ufeff很好！\r\n\n  \n第二行\u2028同一行")
    documents, unreadable = read_all(FilesSource(paths=("data/pos.txt",), **REVIEW))
    found = [(each.url, each.text, each.kind, each.label, each.context) for each in documents]
    assert found == [
        ("data/pos.txt:1", "很好！", "review", "positive", "data/pos.txt"),
        ("data/pos.txt:4", "第二行\u2028同一行", "review", "positive", "data/pos.txt"),
    ]
    assert reasons(unreadable) == ["blank line", "blank line"]


def test_a_line_keeps_its_group_when_another_is_inserted_above(home: Path) -> None:
    source = FilesSource(paths=("pos.txt",), **REVIEW)
    write(home / "pos.txt", "好\n很好\n好\n")
    before = [each.group for each in read_all(source)[0]]
    write(home / "pos.txt", "新\n好\n很好\n好\n")
    after = [each.group for each in read_all(source)[0]]
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


def test_tags_go(home: Path) -> None:
    write(home / "news.txt", "迈向/v  新/a  世纪/n\n")
    assert read_all(FilesSource(paths=("news.txt",), format="tagged"))[0][0].text == "迈向新世纪"


def test_the_encoding_of_a_file_is_found(home: Path) -> None:
    text = "这个酒店的服务非常好，下次还会来。"
    write(home / "a.txt", (text + "\n联通\n").encode("gb18030") * 5)
    documents, _ = read_all(FilesSource(paths=("a.txt",), format="lines"))
    assert {each.text for each in documents} == {text, "联通"}  # 联通 in GBK is valid UTF-8


def test_mixed_encodings_are_told_apart_line_by_line(home: Path) -> None:
    write(home / "a.txt", "Grüße aus Köln\n".encode() * 3 + "Grüße aus Köln\n".encode("cp1252"))
    documents, unreadable = read_all(FilesSource(paths=("a.txt",), format="lines"))
    assert [each.text for each in documents] == ["Grüße aus Köln"] * 4
    documents, unreadable = read_all(FilesSource(paths=("a.txt",), format="lines", encoding="utf-8"))
    assert (len(documents), reasons(unreadable)) == (3, ["not utf-8"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-16-be"])
def test_wide_encodings_with_a_mark(home: Path, encoding: str) -> None:
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    write(home / "a.txt", (mark + "eins\nzwei Ċ\n").encode(encoding))  # Ċ is 0x010A: it holds the byte of a newline
    documents, _ = read_all(FilesSource(paths=("a.txt",), format="lines", unit_bytes=1_000))
    assert [each.text for each in documents] == ["eins", "zwei Ċ"]


def test_torn_utf16_is_told(home: Path) -> None:
    write(home / "a.txt", "eins\nzwei\n".encode("utf-16") + b"\x00")
    assert reasons(read_all(FilesSource(paths=("a.txt",), format="lines"))[1]) == ["invalid UTF-16"]


def test_large_files_are_cut_at_newlines(home: Path) -> None:
    lines = [f"Zeile {number} " + "ß" * (number % 50) for number in range(2_000)]
    path = write(home / "a.txt", "\n".join(lines))
    source = FilesSource(paths=("a.txt",), format="lines", unit_bytes=1_000)
    units = reader(source).units()
    assert len(units) > 30
    assert [unit.start for unit in units[1:]] == [unit.stop for unit in units[:-1]]
    documents, _ = read_all(source)
    assert [each.text for each in documents] == [line.rstrip("\n") for line in lines]
    assert len({each.url for each in documents}) == len(lines)
    offset = int(documents[-1].url.rpartition("@")[2])
    assert path.read_bytes()[offset:].decode() == lines[-1]


def test_a_file_that_grows_keeps_its_finished_pieces(home: Path) -> None:
    source = FilesSource(paths=("a.txt",), format="lines", unit_bytes=1_000)
    path = write(home / "a.txt", "eine Zeile\n" * 500)
    before = reader(source).units()
    path.write_bytes(path.read_bytes() + b"noch eine\n" * 300)
    after = reader(source).units()
    assert len(after) > len(before) > 3
    assert after[: len(before) - 1] == before[:-1]


def test_a_record_of_100_mb_costs_no_memory(home: Path) -> None:
    with (home / "a.jsonl").open("wb") as file:
        file.write(b'{"text": "vorher"}\n{"text": "')
        for _ in range(100):
            file.write(b"x" * 1_000_000)
        file.write(b'"}\n{"text": "nachher"}\n')
    source = FilesSource(paths=("a.jsonl",), limits=ReadLimits(max_record_bytes=1_000_000))
    tracemalloc.start()
    documents, unreadable = read_all(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [each.text for each in documents] == ["vorher", "nachher"]
    assert reasons(unreadable) == ["record too large"]
    assert peak < 12_000_000


def test_folders_globs_and_suffixes(home: Path) -> None:
    write(home / "in/b.txt", "zwei")
    write(home / "in/a.html", "<p>eins</p>")
    write(home / "in/deep/er/c.MD", "# drei")
    write(home / "in/.hidden/d.txt", "nie")
    write(home / "in/e.docx", "?")
    documents, unreadable = read_all(FilesSource(paths=("in",), exclude=("*/b.*",)))
    assert [(each.url, each.content_type) for each in documents] == [
        ("in/a.html", "text/html"),
        ("in/deep/er/c.MD", None),
    ]
    assert reasons(unreadable) == ["unknown file type"]
    documents, _ = read_all(FilesSource(paths=("in/**/*.txt", "in/b.txt"), encoding="latin-1"))
    assert [(each.url, each.body, each.content_type) for each in documents] == [
        ("in/b.txt", b"zwei", "text/plain; charset=latin-1")
    ]


def test_what_is_not_there_is_named(home: Path) -> None:
    with pytest.raises(CorpusError, match=r"nowhere/\*\.txt: no such file, folder or match"):
        read_all(FilesSource(paths=("nowhere/*.txt",)))
    write(home / "a.txt", "eins")
    found = reader(FilesSource(paths=("a.txt",)))
    [unit] = found.units()
    (home / "a.txt").unlink()
    with pytest.raises(CorpusError, match=r"a\.txt: no such file"):
        list(found.read(unit))


def test_markdown_keeps_headings_as_levels(home: Path) -> None:
    text = """---
title: "Der Titel"
date: 2024-05-01
---
# Über *uns*

Ein [Link](http://x) &amp; `Code`,
weiter <b>fett</b>.

- eins
- zwei

| a | b |
|---|---|
| c | d |

## Mehr
"""
    write(home / "a.md", text)
    [document] = read_all(FilesSource(paths=("a.md",)))[0]
    assert document.text is not None
    assert document.text.split("\n") == ["Über uns", "Ein Link & Code, weiter fett.", "eins", "zwei", *"abcd", "Mehr"]
    assert document.levels == (1, 0, 0, 0, 0, 0, 0, 0, 2)
    assert (document.title, document.date) == ("Der Titel", "2024-05-01")


@pytest.fixture
def pdf(home: Path) -> Path:
    with matplotlib.rc_context({"pdf.fonttype": 42}):
        figure = matplotlib.pyplot.figure(figsize=(8, 4))
        figure.text(0.1, 0.8, "Encoders read text in both direc-")
        figure.text(0.1, 0.7, "tions at once, which is")
        figure.text(0.1, 0.6, "why they are good at it.")
        figure.savefig(home / "a.pdf", metadata={"Title": "On encoders", "CreationDate": None})
    return home / "a.pdf"


def test_pdf_text_flows(pdf: Path) -> None:
    [document] = read_all(FilesSource(paths=("a.pdf",)))[0]
    assert document.text == "Encoders read text in both directions at once, which is why they are good at it."
    assert document.title == "On encoders"


def test_pdf_faults(home: Path, pdf: Path) -> None:
    data = pdf.read_bytes()
    write(home / "broken.pdf", data[:2_000])
    write(home / "zeros.pdf", b"%PDF-1.7\n" + b"\0" * 1_000)
    source = FilesSource(paths=("broken.pdf", "zeros.pdf"))
    assert reasons(read_all(source)[1]) == ["broken PDF", "broken PDF"]
    slow = FilesSource(paths=("a.pdf",), limits=ReadLimits(pdf_timeout_s=0.01))
    assert reasons(read_all(slow)[1]) == ["PDF took too long"]


def test_jsonl_by_named_keys(home: Path) -> None:
    rows = [
        {"body": "eins", "id": 7, "d": "2024-01-01", "lang": "de", "y": 1, "tags": ["a"]},
        {"body": "zwei", "id": 8, "d": None, "lang": "de", "y": 0, "tags": []},
    ]
    write(home / "a.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    columns = Columns(text="body", id="id", date="d", language="lang", label="y", meta=("tags",))
    documents, _ = read_all(FilesSource(paths=("a.jsonl",), columns=columns))
    assert [(each.url, each.text, each.date, each.language, each.label, each.meta) for each in documents] == [
        ("a.jsonl!7", "eins", "2024-01-01", "de", "1", {"tags": '["a"]'}),
        ("a.jsonl!8", "zwei", "", "de", "0", {"tags": "[]"}),
    ]


def test_jsonl_faults_cost_their_line_alone(home: Path) -> None:
    lines = [
        b'{"text": "gut"}',
        b'{"text": "\xff"}',
        b'{"text": "offen',
        b'["kein Objekt"]',
        b'{"other": "x"}',
        b'{"text": null}',
        b'{"text": 5}',
        b"",
        b'{"text": " "}',
        b'{"text": "\\ud800"}',
        b"[" * 100_000,
        b'{"text": "auch gut"}',
    ]
    write(home / "a.jsonl", b"\n".join(lines))
    documents, unreadable = read_all(FilesSource(paths=("a.jsonl",)))
    assert [each.text for each in documents] == ["gut", "auch gut"]
    assert reasons(unreadable) == [
        "invalid UTF-8",
        "not JSON",
        "not a JSON object",
        "missing column",
        "no text",
        "text is not a string",
        "blank line",
        "blank line",
        "not JSON",
        "not JSON",
    ]


def test_the_source_states_a_language(home: Path) -> None:
    write(home / "a.txt", "eins\n")
    source = FilesSource(paths=("a.txt",), format="lines", language="de")
    assert read_all(source)[0][0].language == "de"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[str]:
    handler = partial(SimpleHTTPRequestHandler, directory=str(tmp_path))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_a_file_behind_http(home: Path, web: str) -> None:
    write(home / "a.jsonl", '{"text": "fern"}\n')
    documents, _ = read_all(FilesSource(paths=(f"{web}/a.jsonl",)))
    assert [(each.url, each.text) for each in documents] == [(f"{web}/a.jsonl:1", "fern")]


def test_object_storage(home: Path) -> None:
    store = fsspec.filesystem("memory")
    store.pipe({"/bucket/b.jsonl": b'{"text": "b"}\n', "/bucket/a.jsonl": b'{"text": "a"}\n'})
    source = FilesSource(paths=("memory://bucket/*.jsonl",))
    documents, _ = read_all(source)
    assert [(each.url, each.text) for each in documents] == [
        ("memory:///bucket/a.jsonl:1", "a"),
        ("memory:///bucket/b.jsonl:1", "b"),
    ]
    before = reader(source).units()
    store.pipe({"/bucket/a.jsonl": b'{"text": "neu"}\n'})
    after = reader(source).units()
    assert after[1] == before[1]
    assert replace(after[0], content="") == replace(before[0], content="")
    assert after[0] != before[0]


def test_an_unknown_store_is_named(home: Path) -> None:
    with pytest.raises(CorpusError, match="nosuch://bucket/a"):
        read_all(FilesSource(paths=("nosuch://bucket/a",)))
