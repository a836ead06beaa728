"""A page to its text: bounded in size, depth and time, with everything that the later stages want to know of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from tasks.config.extract import ExtractConfig
from tasks.text.charset import decode
from tasks.text.extraction import markup
from tasks.text.extraction.choose import choose
from tasks.text.extraction.guard import Crashed, Guard, OverTime
from tasks.text.extraction.metadata import best_title, iso_date, metadata
from tasks.text.extraction.outline import Outline, outline
from tasks.text.extraction.peer import Lines
from tasks.text.extraction.records import Record, records

TOO_LARGE = "page too large"
TOO_DEEP = "page too deep"
OVER_TIME = "extraction over its time"
CRASHED = "extraction crashed"
EMPTY = "empty page"
NO_TEXT = "no main text"
NO_RECORDS = "no records"
_HTML = frozenset(["", "text/html", "application/xhtml+xml"])
_DEFAULT = ExtractConfig()


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was found in a page: records where its selectors match, else its main text."""

    text: str
    """Paragraphs, headings, items and rows, one a line; no empty lines, no blanks around lines. "" with records."""
    levels: tuple[int, ...]
    """One for each line: 1 to 6 = heading of that level, 0 = other."""
    records: tuple[Record, ...] = ()
    title: str = ""
    date: str = ""
    """Published, YYYY-MM-DD, or ""."""
    language: str = ""
    """ISO 639 code that the page states, or "": a hint."""
    charset: str = ""
    engine: str = ""
    """fast, trafilatura, or plain."""
    lines: tuple[str, ...] = ()
    """Every line of the whole page, if they were wanted: what boilerplate is counted by."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A page without a document."""

    reason: str
    """A few words, without figures of the page."""
    detail: str = ""
    charset: str = ""
    lines: tuple[str, ...] = ()


def extract(
    body: bytes | str,
    *,
    content_type: str | None = None,
    url: str = "",
    config: ExtractConfig = _DEFAULT,
    want_lines: bool = False,
) -> Extracted | Refused:
    """The page's records, or its main text with its headings; or why there is none. Never raises for what a page holds.

    Takes at most `config.timeout_s`, and about a second more where the process that can be stopped must be started.
    """
    if len(body) > config.max_page_bytes:
        return Refused(TOO_LARGE, f"{len(body)} bytes, at most {config.max_page_bytes}")
    media = (content_type or "").split(";")[0].strip().lower()
    if media not in _HTML and media != "text/plain":
        return Refused(f"content type {media}")
    text, charset = (body, "") if isinstance(body, str) else decode(body, content_type)
    if media == "text/plain":
        return _plain(text, charset, config, want_lines)
    data = text.encode("utf-8", "replace")
    try:
        if markup.is_costly(data):
            request = {"task": "page", "url": url, "charset": charset, "want_lines": want_lines}
            request |= {"config": config.model_dump_json()}
            return from_json(guard().ask(request, data, timeout_s=config.timeout_s))
        return extract_here(data, charset, url, config, want_lines)
    except OverTime:
        return Refused(OVER_TIME, f"more than {config.timeout_s} s", charset)
    except Crashed:
        return Refused(CRASHED, "", charset)


def extract_here(
    data: bytes, charset: str, url: str, config: ExtractConfig, want_lines: bool = False
) -> Extracted | Refused:
    """As `extract`, of a page in UTF-8; the fast engine works in this process, with nothing to stop it.

    Raises:
        OverTime, Crashed: of the process that trafilatura works in.
    """
    try:
        tree = markup.parse(data, max_depth=config.max_depth)
        if tree is None:
            return Refused(EMPTY, charset=charset)
        found = tuple(records(tree, config.records))
        facts = metadata(tree, url, dates=config.dates != "none")
        page = outline(tree, max_depth=config.max_depth, may_hide=markup.may_hide(data))
    except markup.TooDeep:
        return Refused(TOO_DEEP, f"more than {config.max_depth} elements inside each other", charset)
    lines = tuple(line.text for line in page.lines) if want_lines else ()
    if not found and not config.page_text:
        return Refused(NO_RECORDS, "", charset, lines)
    text, engine = ([], "fast") if found else _main_text(page, data, url, config)
    if not found and not text:
        return Refused(NO_TEXT, "", charset, lines)
    if not facts.date and config.dates == "search":
        request = {"task": "date", "url": url}
        facts.date = iso_date(guard().ask(request, data, timeout_s=config.timeout_s))
    return Extracted(
        text="\n".join(line for line, _ in text),
        levels=tuple(level for _, level in text),
        records=found,
        title=best_title(facts, _heading(text), _heading((line.text, line.level) for line in page.lines)),
        date=facts.date,
        language=facts.language,
        charset=charset,
        engine=engine,
        lines=lines,
    )


def _main_text(page: Outline, data: bytes, url: str, config: ExtractConfig) -> tuple[Lines, str]:
    """The lines, and the engine that found them."""
    choice = choose(page, keep_tables=config.keep_tables) if config.engine != "trafilatura" else None
    if choice is None or (config.engine == "auto" and not choice.is_sure):
        request = {"task": "trafilatura", "url": url, "tables": config.keep_tables}
        found = [tuple(line) for line in guard().ask(request, data, timeout_s=config.timeout_s)]
        if found or choice is None:
            return found, "trafilatura"
    return [(line.text, line.level) for line in choice.kept], "fast"


def _heading(lines: Iterable[tuple[str, int]]) -> str:
    return next((text for text, level in lines if level == 1), "")


def _plain(text: str, charset: str, config: ExtractConfig, want_lines: bool) -> Extracted | Refused:
    """A page of plain text: its lines, without headings."""
    lines = tuple(line for raw in text.replace("\x00", "").splitlines() if (line := " ".join(raw.split())))
    counted = lines if want_lines else ()
    if not config.page_text:
        return Refused(NO_RECORDS, "", charset, counted)
    if not lines:
        return Refused(EMPTY, "", charset)
    return Extracted("\n".join(lines), (0,) * len(lines), charset=charset, engine="plain", lines=counted)


def to_json(found: Extracted | Refused) -> dict[str, Any]:
    return asdict(found)


def from_json(found: dict[str, Any]) -> Extracted | Refused:
    found["lines"] = tuple(found["lines"])
    if "reason" in found:
        return Refused(**found)
    found["levels"] = tuple(found["levels"])
    found["records"] = tuple(Record(**record) for record in found["records"])
    return Extracted(**found)


@cache
def guard() -> Guard:
    """The process's own; its child starts at the first page that needs it, and ends with this process."""
    return Guard()
