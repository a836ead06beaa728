"""Stage clean: pages or lines to documents, every candidate either kept or dropped with its reason."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import CleanConfig
from tasks.text import documents as tables
from tasks.text import extract, filters
from tasks.text.charset import decode
from tasks.text.documents import CorpusError
from tasks.text.filters import LineCounts
from tasks.text.language import identify_all, identify_in
from tasks.text.normalise import normalise
from tasks.text.sentences import sentence_starts
from tasks.text.web.pages import Page, iter_pages

Progress = Callable[[int, int], None]
_HTML = ("text/html", "application/xhtml+xml")
PAGE = "page"
"""The kind of a document that is a page's main text."""


@dataclass(frozen=True)
class Candidate:
    """What may become a document."""

    url: str
    source: str
    fetched_at: str
    text: str
    kind: str
    group: str
    label: str | None = None
    title: str = ""
    meta: str = "{}"
    context: str = ""
    """What is in one language with it: its page, or its file."""
    is_main_text: bool = False
    """A page's main text, from which boilerplate lines are taken away."""
    reason: str = ""
    """Why it is dropped; "" so far not."""
    language: str = ""


def clean(config: CleanConfig, pages: ArtifactRef, out: Draft, progress: Progress) -> None:
    """Clean the pages of a scrape artifact, or the lines of a collect artifact, into documents.parquet.

    Raises:
        CorpusError: nothing was kept; the message has the counts by reason.
    """
    if (pages / "raw.parquet").exists():
        candidates, lines = _from_lines(pages), LineCounts()
    else:
        lines = LineCounts()
        candidates = from_pages(config, iter_pages(pages), lines, progress, pages.manifest["rows"].get("seen", 0))
    write_clean(config, candidates, lines, out, progress)


def from_pages(
    config: CleanConfig, pages: Iterable[Page], lines: LineCounts, progress: Progress, total: int = 0
) -> Iterator[Candidate]:
    """Every record of every page; the main text of pages without records; one dropped candidate for other pages.

    Counts the lines of every page on the way, since what is boilerplate is only known after the last.
    """
    extract.check_selectors(config.records)
    for done, page in enumerate(pages, 1):
        yield from _from_page(config, page, lines)
        if done % 100 == 0:
            progress(done, max(done, total))


def write_clean(
    config: CleanConfig, candidates: Iterable[Candidate], lines: LineCounts, out: Draft, progress: Progress
) -> None:
    """Judge the candidates and write documents.parquet and rejects.parquet, in the order in which they come."""
    every = list(candidates)  # `lines` is complete now
    judged = _without_repeats(_in_language([_filtered(each, lines, config) for each in every], config))
    kept = [each for each in judged if not each.reason]
    dropped = [each for each in judged if each.reason]
    for each in dropped:
        out.drop(each.reason)
    out.rows |= {"seen": len(judged), "kept": len(kept)}
    out.rows |= {f"kept {kind}": sum(each.kind == kind for each in kept) for kind in sorted({k.kind for k in kept})}
    tables.check_balance(out)
    if not kept:
        raise CorpusError(_nothing_kept(out, config))
    starts = sentence_starts([each.text for each in kept], config.language)
    rows = [_row(each, sentences) for each, sentences in zip(kept, starts, strict=True)]
    tables.write_table(out.path / tables.DOCUMENTS, tables.rows_table(rows, tables.DOCUMENT_SCHEMA))
    rejects = [(each.url, each.kind, each.reason, each.text[: tables.HEAD_CHARACTERS]) for each in dropped]
    tables.write_table(out.path / tables.REJECTS, tables.rows_table(rejects, tables.CLEAN_REJECT_SCHEMA))
    progress(len(judged), len(judged))


def _from_page(config: CleanConfig, page: Page, lines: LineCounts) -> Iterator[Candidate]:
    empty = Candidate(
        url=page.url,
        source=urlsplit(page.url).netloc,
        fetched_at=page.fetched_at,
        text="",
        kind=PAGE,
        group=page.url,
        context=page.url,
        is_main_text=True,
    )
    media = (page.content_type or "text/html").split(";")[0].strip().lower()
    if media not in (*_HTML, "text/plain"):
        yield replace(empty, reason=f"content type {media}")
        return
    text, charset = decode(page.body, page.content_type)
    found = replace(empty, meta=json.dumps({"charset": charset}))
    if media == "text/plain":
        yield replace(found, text=normalise(text), reason="" if config.page_text else "no records")
    elif (tree := extract.parse(text)) is None:
        yield replace(found, reason="empty page")
    else:
        lines.add_page([*extract.element_text(tree).split("\n"), *extract.fragments(tree)])
        yield from _from_tree(config, tree, replace(found, title=extract.title(tree)))


def _from_tree(config: CleanConfig, tree: extract.HtmlElement, page: Candidate) -> Iterator[Candidate]:
    records = list(extract.records(tree, config.records))
    for record in records:
        yield replace(page, is_main_text=False, kind=record.kind, text=normalise(record.text), label=record.label)
    if not records:
        text = normalise(extract.main_text(tree)) if config.page_text else ""
        yield replace(page, text=text, reason="" if text else "no main text" if config.page_text else "no records")


def _from_lines(ref: ArtifactRef) -> Iterator[Candidate]:
    table = tables.read_table(ref / "raw.parquet", tables.RAW_SCHEMA)
    for row in table.to_pylist():
        yield Candidate(**row | {"text": normalise(row["text"])}, context=row["source"])


def _filtered(each: Candidate, lines: LineCounts, config: CleanConfig) -> Candidate:
    """Label, boilerplate and quality. A page's main text loses its boilerplate lines; a record is never edited."""
    reason = each.reason or filters.bad_label(each.label, config)
    if reason:
        return replace(each, reason=reason)
    own = lines.own(each.text, config)
    if each.text and not own:
        return replace(each, reason="boilerplate")
    if not each.is_main_text:
        return replace(each, reason=filters.quality(each.text, config) or "")
    reason = filters.quality(own, config, (*filters.QUALITY, filters.unsentenced))
    return replace(each, text=own, reason=reason or "")


def _in_language(candidates: Sequence[Candidate], config: CleanConfig) -> list[Candidate]:
    texts: dict[str, list[str]] = defaultdict(list)
    for each in candidates:
        if not each.reason:
            texts[each.context].append(each.text)
    contexts = {context: identify_all(found) for context, found in texts.items()}
    judged = []
    for each in candidates:
        if not each.reason:
            language, score = identify_in(each.text, contexts[each.context])
            reason = filters.wrong_language(language, score, config) or ""
            each = replace(each, language=language, reason=reason)
        judged.append(each)
    return judged


def _without_repeats(candidates: Sequence[Candidate]) -> list[Candidate]:
    """A second document of one page with the same kind and text would have the first one's id."""
    first: dict[tuple[str, str, str], Candidate] = {}
    result = []
    for each in candidates:
        if not each.reason and (winner := first.setdefault((each.kind, each.group, each.text), each)) is not each:
            other = ", other label" if winner.label != each.label else ""
            each = replace(each, reason=f"repeated on its page{other}")
        result.append(each)
    return result


def _row(each: Candidate, sentences: list[int]) -> tuple[object, ...]:
    identity = tables.document_id(each.kind, each.group, each.text)
    return (
        identity,
        each.url,
        each.source,
        each.fetched_at,
        each.language,
        each.title,
        each.text,
        each.kind,
        each.label,
        each.group,
        sentences,
        each.meta,
    )


def _nothing_kept(out: Draft, config: CleanConfig) -> str:
    if not out.rows["seen"]:
        return "the corpus is empty: the source gave no page and no line; check the source's addresses or files"
    return (
        f"the corpus is empty: all {out.rows['seen']} candidates were dropped ({tables.reasons(out)}); "
        f"check clean.language = {config.language!r}, clean.labels = {list(config.labels)}, the selectors in "
        "clean.records and the limits in clean"
    )
