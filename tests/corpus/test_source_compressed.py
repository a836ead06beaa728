"""Compressed sources: every kind, in layers, truncated, broken, and bombs that must not cost memory or time."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tracemalloc
import zlib
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
from backports import zstd

from tasks.config.sources import FilesSource, ReadLimits
from tests.corpus.source_reading import read_all, reasons, write

KINDS: dict[str, Callable[[bytes], bytes]] = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": lambda data: zstd.compress(
        data, options={zstd.CompressionParameter.checksum_flag: 1}
    ),  # as its command line
}
NAMES = {"gz": "gzip", "bz2": "bzip2", "zst": "zstd"}
LINES = "".join(sha256(b"%d" % number).hexdigest() + "\n" for number in range(22_000)).encode()  # two blocks of bzip2


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def lines(**limits: int | float) -> FilesSource:
    return FilesSource(paths=("a.txt.x",), format="lines", limits=ReadLimits(**limits))


@pytest.mark.parametrize("kind", KINDS)
def test_members_follow_each_other(home: Path, kind: str) -> None:
    compress = KINDS[kind]
    write(home / "a.txt.x", compress(LINES) + compress(b"") + compress(b"last\n"))
    documents, unreadable = read_all(lines())
    assert (len(documents), documents[-1].text, unreadable) == (22_001, "last", [])


def test_the_suffix_of_the_compression_is_no_format(home: Path) -> None:
    write(home / "in/a.jsonl.gz", gzip.compress(b'{"text": "eins"}'))
    write(home / "in/b.html.zst", zstd.compress(b"<p>zwei"))
    documents, _ = read_all(FilesSource(paths=("in",)))
    assert [each.text or each.body for each in documents] == ["eins", b"<p>zwei"]


def test_layers(home: Path) -> None:
    write(home / "a.txt.x", gzip.compress(zstd.compress(bz2.compress(b"eins\n"))))
    assert read_all(lines())[0][0].text == "eins"
    write(home / "a.txt.x", gzip.compress(gzip.compress(gzip.compress(gzip.compress(b"eins\n")))))
    assert reasons(read_all(lines())[1]) == ["decompression bomb"]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_gives_the_lines_before(home: Path, kind: str) -> None:
    data = KINDS[kind](LINES)
    write(home / "a.txt.x", data[: len(data) * 3 // 4])
    documents, unreadable = read_all(lines())
    whole = LINES.decode().split("\n")
    assert len(documents) > 8_000
    assert [each.text for each in documents] == whole[: len(documents)]
    assert reasons(unreadable) == [f"truncated {NAMES.get(kind, kind)}"]


@pytest.mark.parametrize("kind", KINDS)
def test_broken_in_the_middle(home: Path, kind: str) -> None:
    data = bytearray(KINDS[kind](LINES))
    data[len(data) // 2 : len(data) // 2 + 50] = b"\x55" * 50
    write(home / "a.txt.x", bytes(data))
    assert reasons(read_all(lines())[1])[-1].startswith("broken ")


def test_after_the_end(home: Path) -> None:
    write(home / "a.txt.x", gzip.compress(b"eins\n") + b"\0" * 1_000)
    assert read_all(lines())[1] == []
    write(home / "a.txt.x", gzip.compress(b"eins\n") + b"garbage")
    documents, unreadable = read_all(lines())
    assert (len(documents), reasons(unreadable)) == (1, ["broken gzip"])


def gzip_bomb(megabytes: int, piece: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(piece * (1_000_000 // len(piece))) for _ in range(megabytes)) + packer.flush()


def test_a_bomb_ends_the_file(home: Path) -> None:
    write(home / "a.txt.x", gzip_bomb(50, b"x" * 999 + b"\n"))
    documents, unreadable = read_all(lines())
    assert reasons(unreadable) == ["decompression bomb"]
    assert len(documents) < 20_000


@pytest.mark.parametrize("suffix", ["txt", "html", "md", "pdf"])
def test_a_bomb_as_a_document_costs_no_memory(home: Path, suffix: str) -> None:
    write(home / f"a.{suffix}.gz", gzip.compress(gzip_bomb(50, b"x")))
    source = FilesSource(paths=(f"a.{suffix}.gz",), limits=ReadLimits(max_record_bytes=1_000_000))
    tracemalloc.start()
    _, unreadable = read_all(source)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons(unreadable) == ["record too large"]
    assert peak < 20_000_000


def test_a_bomb_as_a_line_costs_no_memory(home: Path) -> None:
    write(home / "a.txt.x", gzip_bomb(50, b"x"))
    tracemalloc.start()
    _, unreadable = read_all(lines(max_record_bytes=1_000_000, max_ratio=10_000))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert reasons(unreadable) == ["record too large"]
    assert peak < 12_000_000


def test_an_absolute_cap(home: Path) -> None:
    write(home / "a.txt.x", gzip.compress(LINES))
    documents, unreadable = read_all(lines(max_expanded_bytes=100_000))
    assert reasons(unreadable) == ["decompression bomb"]
    assert len(documents) < 20_000
