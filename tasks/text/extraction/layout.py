"""The text that a reader sees in an element, without a judgement of what it is."""

from __future__ import annotations

from lxml import etree
from lxml.etree import _Element as Element

from tasks.text.extraction.vocabulary import BLOCKS

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


def _blanks(text: str | None) -> str:
    return " ".join(text.splitlines()) if text else ""
