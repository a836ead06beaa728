"""Small corpora for the tests of the text stages: real artifacts in a temporary store."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from tasks.artifacts import ArtifactRef, Draft, build, find
from tasks.text.documents import DOCUMENT_SCHEMA, DOCUMENTS, REJECTS, document_id, read_table, rows_table, write_table
from tasks.text.parts import Part, part_files
from tasks.text.web.pages import BodyWriter, Page, PageRow, write_pages


def ignore(done: int, total: int) -> None:
    """A progress callback for tests that do not look at it."""


def publish(stage: str, night: str, fill: Callable[[Draft], None]) -> ArtifactRef:
    key = f"{night:0<64}"
    with build(stage, "test", key, config=None) as out:
        fill(out)
    ref = find(stage, "test", key)
    assert ref is not None
    return ref


def documents(night: str, texts: Sequence[tuple[str, str, str | None]], parts: int = 1) -> ArtifactRef:
    """A clean artifact of (group, text, label), spread over parts."""
    found = [
        (
            *(document_id("review", group, text), group, "site", "", "", "en", "", text, [0]),
            *("review", label, group, [0], "{}"),
        )
        for group, text, label in texts
    ]
    size = max(1, -(-len(found) // parts))

    def fill(out: Draft) -> None:
        for number in range(parts):
            part = found[number * size : (number + 1) * size]
            write_table(Part(out.path, number).file(DOCUMENTS), rows_table(part, DOCUMENT_SCHEMA))

    return publish("clean", night, fill)


def rows(ref: ArtifactRef, file: str = DOCUMENTS) -> list[dict[str, Any]]:
    """Of a table, or of all parts of one."""
    files = [ref / file] if file.endswith(".parquet") else part_files(ref / file)
    return [row for path in files for row in read_table(path).to_pylist()]


def reasons(ref: ArtifactRef) -> list[tuple[str, str]]:
    """(text, reason) of every reject."""
    return [(row["text"], row["reason"]) for row in rows(ref, REJECTS)]


def crawl(night: str, pages: Sequence[Page]) -> ArtifactRef:
    """A scrape artifact of pages that were all fetched, bodies in a real WARC file."""

    def fill(out: Draft) -> None:
        writer = BodyWriter(out.path / "crawl.warc.gz")
        warc = out.path.with_name(out.path.name.removesuffix(".partial")) / "crawl.warc.gz"
        found = []
        for page in pages:
            headers = [("Content-Type", page.content_type or "")]
            offset = writer.write(page.url, 200, headers, page.body, page.fetched_at or "2026-11-22T00:00:00Z")
            row = PageRow(page.url, "fetched", status=200, fetched_at=page.fetched_at, content_type=page.content_type)
            row.body_sha256, row.canonical = hashlib.sha256(page.body).hexdigest(), page.canonical
            row.warc, row.warc_offset = str(warc), offset
            found.append(row)
        writer.close()
        write_pages(out.path, found)
        out.volatile |= {"crawl.warc.gz", "pages.parquet", "bodies.parquet"}

    return publish("scrape", night, fill)
