"""The text that a reader sees in an element, without a judgement of what it is."""

from __future__ import annotations

from collections.abc import Iterator

from lxml import etree
from lxml.etree import _Element as Element

from tasks.text.extraction.vocabulary import BLOCKS
from tasks.text.normalise import one_line

_SILENT = frozenset(["script", "style", "noscript", "template", "head"])


def element_text(element: Element) -> str:
    """Blanks in the markup are blanks, blocks start new lines."""
    parts: list[str] = []
    silent: Element | None = None  # what is inside it is not text
    for event, each in etree.iterwalk(element, events=("start", "end")):
        if event == "start":
            if silent is None:
                if each.tag in _SILENT:
                    silent = each
                else:
                    parts.append("\n" if each.tag in BLOCKS else "")
                    parts.append(_blanks(each.text))
        else:
            if silent is None:
                parts.append("\n" if each.tag in BLOCKS else "")
            if silent is each:
                silent = None
            if silent is None and each is not element:
                parts.append(_blanks(each.tail))
    return "".join(parts).strip()


def fragments(element: Element) -> Iterator[str]:
    """The pieces between tags: a menu that one extractor gives as one line is several lines to another."""
    return (str(text) for text in element.itertext() if not str(text).isspace())


def first_title(page: Element) -> str:
    """The first non-empty <h1>, else the <title>, else ""."""
    for element in page.iter("h1"):
        if text := one_line(element_text(element)):
            return text
    return one_line(page.findtext(".//title") or "")


def _blanks(text: str | None) -> str:
    return " ".join(text.splitlines()) if text else ""
