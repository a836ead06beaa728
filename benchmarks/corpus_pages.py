"""The pages that the corpus benchmarks read: the HTML of three Debian sites (`make corpora`), and their WARC file."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from io import BytesIO
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.artifacts import home

SITES = ("anarchism", "libreoffice-help/en-US", "linux-doc-6.1")
BASE = "http://127.0.0.1:8500/"
DATE = "2026-01-01T00:00:00Z"

Page = tuple[str, bytes]
"""Address, HTML."""


def page_files(every: int = 1, corpora: Path | None = None) -> list[tuple[str, Path]]:
    """(address, file) of the pages in the order of their names, of each `every` the first.

    Raises:
        FileNotFoundError: a site is not there; says which command fetches it.
    """
    root = corpora or home() / "data" / "corpora"
    files: list[Path] = []
    for site in SITES:
        found = sorted((root / site).rglob("*.html"))
        if not found:
            raise FileNotFoundError(f"{root / site}: no pages; `make corpora` fetches them")
        files += found
    return [(BASE + file.relative_to(root).as_posix(), file) for file in files[::every]]


def pages(every: int = 1, corpora: Path | None = None) -> Iterator[Page]:
    for url, file in page_files(every, corpora):
        yield url, file.read_bytes()


def write_warc(source: Iterable[Page], path: Path) -> int:
    """Write the pages as gzipped WARC response records, the bytes a function of the pages alone; returns their number.

    The payload type stands in each record, as Common Crawl has it, so that no reader needs to guess it.
    """
    count = 0
    temporary = path.with_name(f".{path.name}")
    with temporary.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for count, (url, body) in enumerate(source, 1):  # noqa: B007
            http = StatusAndHeaders("200 OK", [("Content-Type", "text/html; charset=utf-8")], protocol="HTTP/1.1")
            headers = {
                "WARC-Record-ID": f"<urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, url)}>",
                "WARC-Date": DATE,
                "WARC-Identified-Payload-Type": "text/html",
            }
            record = writer.create_warc_record(
                url, "response", payload=BytesIO(body), length=len(body), http_headers=http, warc_headers_dict=headers
            )
            writer.write_record(record)
    temporary.replace(path)
    return count
