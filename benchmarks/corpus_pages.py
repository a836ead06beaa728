"""The pages that the corpus benchmarks read: the HTML of three Debian sites (`make corpora`), and their WARC file."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from io import BytesIO
from itertools import islice
from pathlib import Path

from warcio.statusandheaders import StatusAndHeaders
from warcio.warcwriter import WARCWriter

from tasks.artifacts import home

SITES = ("anarchism", "libreoffice-help/en-US", "linux-doc-6.1")
BASE = "http://127.0.0.1:8500/"
DATE = "2026-01-01T00:00:00Z"
PAGES_PER_FILE = 250

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


def write_warcs(source: Iterable[Page], folder: Path) -> int:
    """Write the pages as `folder/00000.warc.gz`, ...: files of 250, as an archive comes; returns how many pages."""
    folder.mkdir(parents=True)
    waiting = iter(source)
    count, number = 0, 0
    while batch := list(islice(waiting, PAGES_PER_FILE)):
        write_warc(batch, folder / f"{number:05d}.warc.gz")
        count, number = count + len(batch), number + 1
    return count


def write_warc(source: Iterable[Page], path: Path) -> None:
    """Write the pages as gzipped WARC response records, the bytes a function of the pages alone.

    The payload type stands in each record, as Common Crawl has it, so that no reader needs to guess it.
    """
    with path.open("wb") as out:
        writer = WARCWriter(out, gzip=True)
        for url, body in source:
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
