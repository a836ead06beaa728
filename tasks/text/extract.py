"""Where callers of before the package `tasks.text.extraction` find its parts."""

from __future__ import annotations

from collections.abc import Iterator

from lxml.etree import _Element as HtmlElement
from lxml.etree import tostring

from tasks.text.extraction.layout import element_text, first_title, fragments
from tasks.text.extraction.markup import parse
from tasks.text.extraction.peer import trafilatura_lines
from tasks.text.extraction.records import Record, check_selectors, records

__all__ = [
    "HtmlElement",
    "Record",
    "check_selectors",
    "element_text",
    "fragments",
    "main_text",
    "page_lines",
    "parse",
    "records",
    "title",
]

title = first_title


def main_text(page: HtmlElement) -> str:
    """The page's main text, one paragraph a line, or ""."""
    return "\n".join(
        text for text, _ in trafilatura_lines(tostring(page, method="html", encoding="utf-8"), "", tables=True)
    )


def page_lines(page: HtmlElement) -> Iterator[str]:
    """Every line and every piece between tags: what the lines of all pages are counted by."""
    yield from element_text(page).split("\n")
    yield from fragments(page)
