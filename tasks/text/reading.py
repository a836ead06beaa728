"""Stage extract: what the sources hold becomes raw documents, one part for each unit of a source."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from bert_core.config import dump_json
from tasks.artifacts import ArtifactRef, Draft, code_hash
from tasks.config import ExtractConfig, Source, WebSource
from tasks.text import documents as tables
from tasks.text import extraction
from tasks.text.documents import CorpusError
from tasks.text.extraction import Extracted, Refused
from tasks.text.parts import Part, Progress, Receipt, Workers, build_parts
from tasks.text.quality.boilerplate import LineCounter
from tasks.text.sources.open import reader
from tasks.text.sources.raw import RawDocument, Reader, Unit, Unreadable
from tasks.text.web.units import page_units, read_pages_unit

LINES = "lines"
"""Counts of lines by site, for `clean` to know boilerplate by."""
FOLDERS = (tables.DOCUMENTS, tables.REJECTS, LINES)
PAGES_PER_UNIT = 1_000


@dataclass(frozen=True)
class CrawledPages:
    """The pages of a crawl as a source that is read in pieces."""

    crawl: ArtifactRef

    def units(self) -> list[Unit]:
        return page_units(self.crawl, PAGES_PER_UNIT)

    def read(self, unit: Unit) -> Iterator[RawDocument]:
        for page in read_pages_unit(self.crawl, unit):
            meta = {"canonical": page.canonical} if page.canonical else {}
            yield RawDocument(
                page.url, body=page.body, content_type=page.content_type, fetched_at=page.fetched_at, meta=meta
            )


Row = tuple[object, ...]
"""Of a document, in the order of EXTRACTED_SCHEMA."""


@dataclass(frozen=True)
class Reject:
    """A record that does not become a document."""

    url: str
    source: str
    kind: str
    reason: str
    detail: str = ""


@dataclass(frozen=True)
class Work:
    """A unit, the name of its source, and what reads it."""

    source: str
    unit: Unit
    reader: Reader


def extract(
    sources: Sequence[Source],
    found: Sequence[ArtifactRef],
    config: ExtractConfig,
    previous: ArtifactRef | None,
    out: Draft,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write documents, rejects and counts of lines, a part for each unit.

    Args:
        found: for each source its scrape artifact, or the inventory of its files.
        previous: the extract artifact of the night before: units that it has already are not read again.

    Raises:
        CorpusError: a selector is not CSS, or the sources hold nothing.
    """
    extraction.check_selectors(config.records)
    items = []
    for source, ref in zip(sources, found, strict=True):
        pieces: Reader = CrawledPages(ref) if isinstance(source, WebSource) else reader(source)
        items += [Work(source.name, unit, pieces) for unit in pieces.units()]
    names = {source.name: source for source in sources}
    same = f"{code_hash(__name__)}\n{dump_json(config)}"
    keys = [_key(same, names[item.source], item) for item in items]
    build_parts(items, keys, ExtractPart(config), out, workers, progress, folders=FOLDERS, previous=previous)
    tables.check_balance(out)
    if not out.rows.get("kept"):
        raise CorpusError(_nothing(out))


@dataclass(frozen=True)
class ExtractPart:
    """Makes the part of a unit."""

    config: ExtractConfig

    def __call__(self, work: Work, part: Part) -> Receipt:
        receipt, lines = Receipt(), LineCounter()
        with ExitStack() as stack:
            documents = stack.enter_context(_table(stack, part, tables.DOCUMENTS, tables.EXTRACTED_SCHEMA))
            rejects = stack.enter_context(_table(stack, part, tables.REJECTS, tables.REJECT_SCHEMA))
            for raw in work.reader.read(work.unit):
                for row in self._rows(raw, work.source, lines):
                    receipt.rows["seen"] += 1
                    if isinstance(row, Reject):
                        reason = row.reason
                        rejects.add(tables.reject(vars(row), reason, row.detail[: tables.HEAD_CHARACTERS]))
                        receipt.dropped[reason] += 1
                    else:
                        documents.add(row)
                        receipt.rows["kept"] += 1
        with part.writing(LINES, ".npy") as path:
            lines.save(path)
        return receipt

    def _rows(self, raw: RawDocument | Unreadable, source: str, lines: LineCounter) -> Iterator[Row | Reject]:
        if isinstance(raw, Unreadable):
            yield Reject(raw.url, source, "", raw.reason, raw.detail)
        elif raw.text is not None:
            if raw.text.strip():
                is_document = raw.label is None and "\n" in raw.text.strip()
                yield _row(raw, source, raw.text, raw.levels, is_main_text=is_document)
            else:
                yield Reject(raw.url, source, raw.kind, "empty text")
        else:
            assert raw.body is not None, raw.url
            yield from self._of_page(raw, raw.body, source, lines)

    def _of_page(self, raw: RawDocument, body: bytes, source: str, lines: LineCounter) -> Iterator[Row | Reject]:
        found = extraction.extract(
            body, content_type=raw.content_type, url=raw.url, config=self.config, want_lines=True
        )
        lines.add_page(site_of(raw.url, source), found.lines)
        if isinstance(found, Refused):
            yield Reject(raw.url, source, raw.kind, found.reason, found.detail)
            return
        page = _with_facts(raw, found)
        for record in found.records:
            labelled = replace(page, kind=record.kind, label=record.label if record.label is not None else raw.label)
            yield _row(labelled, source, record.text, (), is_main_text=False)
        if not found.records:
            yield _row(page, source, found.text, found.levels, is_main_text=raw.label is None)


def site_of(url: str, source: str) -> str:
    """What shares boilerplate: the address's host and port; the source, for what has no address."""
    return urlsplit(url).netloc if url.startswith(("http://", "https://")) else source


def _with_facts(raw: RawDocument, found: Extracted) -> RawDocument:
    """What the source says goes before what the page says."""
    meta = {**raw.meta, "charset": found.charset, "engine": found.engine}
    return replace(
        raw,
        title=raw.title or found.title,
        date=raw.date or found.date,
        language=raw.language or found.language,
        meta={key: value for key, value in meta.items() if value},
    )


def _row(raw: RawDocument, source: str, text: str, levels: Sequence[int], *, is_main_text: bool) -> Row:
    meta = json.dumps(dict(raw.meta), sort_keys=True, ensure_ascii=False)
    return (
        *(raw.url, source, raw.fetched_at, raw.date, raw.language, raw.title, text, list(levels), raw.kind, raw.label),
        *(raw.group or raw.url, raw.context or raw.url, is_main_text, meta),
    )


def _table(stack: ExitStack, part: Part, name: str, schema: tables.Schema) -> tables.TableWriter:
    return tables.TableWriter(stack.enter_context(part.writing(name)), schema)


def _key(same: str, source: Source, work: Work) -> str:
    """Of what a part depends on: code, rules, and the source's settings and bytes; a crawl's are in its bytes alone."""
    settings = source.name if isinstance(source, WebSource) else dump_json(source)
    return hashlib.sha256(f"{same}\n{settings}\n{work.unit.identity}".encode()).hexdigest()


def _nothing(out: Draft) -> str:
    if not out.rows.get("seen"):
        return "the corpus is empty: the sources gave no page and no record; check their addresses and paths"
    return (
        f"the corpus is empty: none of {out.rows['seen']} records became a document ({tables.reasons(out)}); "
        "check extract.records, extract.page_text and the sources' formats and columns"
    )
