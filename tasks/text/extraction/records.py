"""Labelled records of a page, by the recipe's CSS selectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from cssselect import HTMLTranslator, SelectorError
from lxml import etree
from lxml.etree import _Element as Element

from tasks.config.extract import RecordSelector
from tasks.text.documents import CorpusError
from tasks.text.extraction.layout import element_text
from tasks.text.normalise import canonical


@dataclass(frozen=True)
class Record:
    kind: str
    text: str
    label: str | None
    """None: the recipe reads no label for this kind. "": it does, and the page has none."""


def records(page: Element, selectors: Sequence[RecordSelector]) -> Iterator[Record]:
    """The page's records, kind by kind in the recipe's order, and within a kind in the page's order."""
    for selector in selectors:
        for item in _xpath(selector.item, "descendant-or-self::")(page):
            yield Record(selector.kind, _record_text(item, selector), _record_label(item, selector))


def check_selectors(selectors: Sequence[RecordSelector]) -> None:
    """Compile every selector.

    Raises:
        CorpusError: one is not CSS; names the kind, the key and the selector.
    """
    for selector in selectors:
        for key in ("item", "text", "label"):
            value = getattr(selector, key)
            if value or key == "item":
                try:
                    _xpath(value, "descendant::")
                except SelectorError as error:
                    raise CorpusError(
                        f"records of kind {selector.kind!r}: {key} = {value!r} is not a CSS selector: {error}"
                    ) from None


def _record_text(item: Element, selector: RecordSelector) -> str:
    parts = _xpath(selector.text, "descendant::")(item) if selector.text else [item]
    return "\n".join(element_text(part) for part in parts)


def _record_label(item: Element, selector: RecordSelector) -> str | None:
    if not selector.label:
        return None
    found = _xpath(selector.label, "descendant::")(item)
    return canonical(element_text(found[0])) if found else ""


@cache
def _xpath(css: str, prefix: str) -> etree.XPath:
    return etree.XPath(HTMLTranslator().css_to_xpath(css, prefix=prefix))
