"""Source warc: real records written by warcio, and everything that can be wrong with a file of them."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import brotli
import pytest
from backports import zstd
from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.config.sources import WarcSource
from tasks.text.documents import CorpusError
from tasks.text.sources.open import reader
from tests.corpus.source_reading import read_all, reasons, write

Headers = Sequence[tuple[str, str]]
HTML: Headers = [("Content-Type", "text/html; charset=utf-8")]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path))
    return tmp_path


def page(number: int) -> bytes:
    return f"<html><body><p>Page {number}: ".encode() + bytes(f"{zlib.crc32(b'%d' % number)} " * 40, "ascii")


def response(number: int, body: bytes | None = None, headers: Headers = HTML, status: str = "200 OK") -> bytes:
    """One record as a gzip member."""
    out = BytesIO()
    writer = WARCWriter(out, gzip=True)
    http = StatusAndHeaders(status, list(headers), protocol="HTTP/1.1")
    payload = BytesIO(page(number) if body is None else body)
    url = f"http://site/{number}"
    dated = {"WARC-Date": "2026-01-02T03:04:05Z"}
    writer.write_record(writer.create_warc_record(url, "response", payload, http_headers=http, warc_headers_dict=dated))
    return out.getvalue()


def conversion(text: bytes) -> bytes:
    out = BytesIO()
    writer = WARCWriter(out, gzip=True)
    headers = {"WARC-Date": "2026-01-02T03:04:05Z"}
    body = BytesIO(text)
    record = writer.create_warc_record(
        "http://site/t", "conversion", payload=body, warc_content_type="text/plain", warc_headers_dict=headers
    )
    writer.write_record(record)
    return out.getvalue()


def read(home: Path, data: bytes, **options: object):  # type: ignore[no-untyped-def]
    write(home / "a.warc.gz", data)
    return read_all(WarcSource(paths=("a.warc.gz",), **options))


def test_responses_and_what_is_passed_over(home: Path) -> None:
    out = BytesIO()
    writer = WARCWriter(out, gzip=True)
    writer.write_record(writer.create_warcinfo_record("a", {"format": "WARC 1.0"}))
    request = StatusAndHeaders("GET / HTTP/1.1", [("Host", "site")], is_http_request=True)
    writer.write_record(writer.create_warc_record("http://site/", "request", BytesIO(), http_headers=request))
    data = out.getvalue() + response(1) + response(2, status="404 Not Found")
    data += response(3, headers=[("Content-Type", "image/png")]) + response(4, b" ") + conversion("Grüße\n".encode())
    documents, unreadable = read(home, data)
    assert [(each.url, each.fetched_at, each.content_type) for each in documents] == [
        ("http://site/1", "2026-01-02T03:04:05Z", "text/html; charset=utf-8"),
        ("http://site/t", "2026-01-02T03:04:05Z", None),
    ]
    assert (documents[0].body, documents[1].text) == (page(1), "Grüße\n")
    assert documents[0].meta["warc"] == "a.warc.gz"
    assert reasons(unreadable) == [
        "record type warcinfo",
        "record type request",
        "http 404",
        "content type not asked for",
        "empty page",
    ]


@pytest.mark.parametrize("pack", [gzip.decompress, lambda data: zstd.compress(gzip.decompress(data))])
def test_plain_and_zstd(home: Path, pack: Callable[[bytes], bytes]) -> None:
    documents, unreadable = read(home, b"".join(pack(response(number)) for number in range(20)))
    assert [each.body for each in documents] == [page(number) for number in range(20)]
    assert unreadable == []


def chunked(data: bytes) -> bytes:
    return b"%x;x=y\r\n%s\r\n" % (len(data) // 2, data[: len(data) // 2]) + (
        b"%X\r\n%s\r\n0\r\n\r\n" % (len(data) - len(data) // 2, data[len(data) // 2 :])
    )


@pytest.mark.parametrize(
    ("name", "pack"),
    [
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", lambda data: zlib.compress(data, wbits=-15)),
        ("br", brotli.compress),
        ("zstd", zstd.compress),
        ("gzip, br", lambda data: brotli.compress(gzip.compress(data))),
        ("gzip", lambda data: data),  # Common Crawl's: expanded, with the header left
        ("br", lambda data: data),
    ],
)
@pytest.mark.parametrize("in_chunks", [False, True])
def test_encodings_of_the_transfer_go(home: Path, name: str, pack: Callable[[bytes], bytes], in_chunks: bool) -> None:
    headers = [*HTML, ("Content-Encoding", name), ("Transfer-Encoding", "chunked")]
    body = chunked(pack(page(1))) if in_chunks else pack(page(1))
    documents, _ = read(home, response(1, body, headers))
    assert documents[0].body == page(1)


@pytest.mark.parametrize(
    ("name", "pack"),
    [("gzip", gzip.compress), ("br", lambda data: brotli.compress(data, quality=5)), ("deflate", zlib.compress)],
)
def test_a_bomb_in_a_body(home: Path, name: str, pack: Callable[[bytes], bytes]) -> None:
    bomb = pack(b"\0" * 30_000_000)
    headers = [*HTML, ("Content-Encoding", name)]
    tracemalloc.start()
    documents, unreadable = read(home, response(1, bomb, headers) + response(2), max_record_bytes=1_000_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (reasons(unreadable), len(documents)) == (["record too large"], 1)
    assert peak < 20_000_000


def test_a_record_too_large_is_passed_over(home: Path) -> None:
    documents, unreadable = read(home, response(1) + response(2, b"x" * 50_000) + response(3), max_record_bytes=10_000)
    assert [each.url for each in documents] == ["http://site/1", "http://site/3"]
    assert [(each.url, each.reason) for each in unreadable] == [("http://site/2", "record too large")]


@pytest.mark.parametrize("damage", ["flipped bytes", "a torn start", "not a record", "a header without end"])
def test_broken_records_cost_themselves_alone(home: Path, damage: str) -> None:
    members = [response(number) for number in range(10)]
    torn = bytearray(members[4])
    if damage == "flipped bytes":
        torn[150:250] = b"\x55" * 100
    elif damage == "a torn start":
        torn = torn[200:]
    elif damage == "not a record":
        torn = bytearray(gzip.compress(b"garbage\r\n" * 100))
    else:
        torn = bytearray(gzip.compress(b"WARC/1.0\r\nX: " + b"a" * 1_000_000))
    members[4] = bytes(torn)
    documents, unreadable = read(home, b"".join(members))
    assert [each.url for each in documents] == [f"http://site/{number}" for number in range(10) if number != 4]
    assert reasons(unreadable) == ["broken WARC record"]


def test_a_broken_record_in_a_plain_file(home: Path) -> None:
    plain = [gzip.decompress(response(number)) for number in range(6)]
    plain[2] = plain[2].replace(b"WARC/1.0", b"WXRC/1.0")
    plain[4] = gzip.decompress(response(4, b"<p>a page on \r\n\r\nWARC/1.0\r\n files"))
    documents, unreadable = read(home, b"".join(plain))
    assert [each.url[-1] for each in documents] == ["0", "1", "3", "4", "5"]
    assert reasons(unreadable) == ["broken WARC record"]


@pytest.mark.parametrize("cut", [20, 100, 200, 300, -30])
def test_truncated(home: Path, cut: int) -> None:
    data = b"".join(response(number) for number in range(5))
    last = len(data) - len(response(4))
    documents, unreadable = read(home, data[: last + cut] if cut > 0 else data[:cut])
    assert len(documents) == 4
    assert reasons(unreadable) == ["broken WARC record"]


@pytest.mark.parametrize("cut", [10, 100, 300, -30])
def test_a_truncated_plain_file(home: Path, cut: int) -> None:
    plain = [gzip.decompress(response(number)) for number in range(3)]
    documents, unreadable = read(home, plain[0] + plain[1] + plain[2][:cut])
    assert (len(documents), reasons(unreadable)) == (2, ["broken WARC record"])


def test_a_wrong_length_is_told(home: Path) -> None:
    record = gzip.decompress(conversion(b"hello"))
    wrong = gzip.compress(record.replace(b"Content-Length: 5", b"Content-Length: 50000"))
    documents, unreadable = read(home, conversion(b"one") + wrong + conversion(b"two"))
    assert [each.text for each in documents] == ["one", "two"]
    assert reasons(unreadable) == ["broken WARC record"]


def test_what_is_no_http_response(home: Path) -> None:
    data = gzip.decompress(response(1)).replace(b"HTTP/1.1 200", b"HTCP/1.1 200")
    assert reasons(read(home, gzip.compress(data))[1]) == ["broken HTTP response"]
    assert reasons(read(home, conversion(b"\xff\xfe"))[1]) == ["invalid UTF-8"]


@pytest.mark.parametrize("data", [b"PK\x03\x04 a zip", b"", b"<html>"])
def test_what_is_no_warc_is_an_error(home: Path, data: bytes) -> None:
    with pytest.raises(CorpusError, match=r"a\.warc\.gz: not a WARC file"):
        read(home, data)


def test_a_listing_as_common_crawl_has_it(home: Path) -> None:
    names = [f"crawl-data/{number}.warc.gz" for number in range(3)]
    for number, name in enumerate(names):
        write(home / "mirror" / name, response(number))
    write(home / "warc.paths.gz", gzip.compress("\n".join(names).encode()))
    source = WarcSource(listing="warc.paths.gz", prefix="mirror/", max_files=2)
    assert [unit.path for unit in reader(source).units()] == [f"mirror/{name}" for name in names[:2]]
    assert [each.url for each in read_all(source)[0]] == ["http://site/0", "http://site/1"]
