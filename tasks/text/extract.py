"""HTML to text: labelled records where the recipe gives selectors, otherwise the page's main text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from cssselect import HTMLTranslator, SelectorError
from lxml import etree, html
from lxml.html import HtmlElement

from tasks.config import RecordSelector
from tasks.text.documents import CorpusError
from tasks.text.normalise import canonical, one_line

# Elements that start a new line when a browser lays a page out (HTML Standard, section 15.3, display: block and kin).
_BLOCK_NAMES = """
    address article aside blockquote br dd details div dl dt fieldset figcaption figure footer form h1 h2 h3 h4 h5 h6
    header hr li main nav ol p pre section summary table tbody td tfoot th thead tr ul
"""
_BLOCKS = frozenset(_BLOCK_NAMES.split())
_SILENT = frozenset(["script", "style", "noscript", "template", "head"])


@dataclass(frozen=True)
class Record:
    kind: str
    text: str
    label: str | None
    """None: the recipe reads no label for this kind. "": it does, and the page has none."""


def parse(markup: str) -> HtmlElement | None:
    """The page's tree, or None if there is no element in it. Never fails on bad markup."""
    if not markup.strip():
        return None
    parser = html.HTMLParser(encoding="utf-8", huge_tree=True)
    try:
        return html.document_fromstring(markup.replace("\x00", "").encode("utf-8", "replace"), parser=parser)
    except etree.ParserError:
        return None


def title(page: HtmlElement) -> str:
    """The first non-empty <h1>, else the <title>, else ""."""
    for element in page.iter("h1", "title"):
        if element.tag == "h1" and (text := one_line(element_text(element))):
            return text
    return one_line(page.findtext(".//title") or "")


def records(page: HtmlElement, selectors: Sequence[RecordSelector]) -> Iterator[Record]:
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


def main_text(page: HtmlElement) -> str:
    """The page's main text, one paragraph a line, or "" (trafilatura: Barbaresi, ACL 2021 demo)."""
    import trafilatura  # 0.3 s to import, and a recipe with records alone hardly needs it

    return trafilatura.extract(page, include_comments=False, deduplicate=False) or ""


def element_text(element: HtmlElement) -> str:
    """The text that a reader sees in an element: blanks in the markup are blanks, blocks start new lines."""
    parts: list[str] = []
    _collect_text(element, parts)
    return "".join(parts).strip()


def fragments(element: HtmlElement) -> Iterator[str]:
    """The pieces between tags: a menu that one extractor gives as one line is several lines to another."""
    return (text for text in element.itertext() if not text.isspace())


def _collect_text(element: HtmlElement, parts: list[str]) -> None:
    if isinstance(element.tag, str) and element.tag not in _SILENT:  # comments have a function for a tag
        block = element.tag in _BLOCKS
        parts.append("\n" if block else "")
        parts.append(" ".join(element.text.splitlines()) if element.text else "")
        for child in element:
            _collect_text(child, parts)
            parts.append(" ".join(child.tail.splitlines()) if child.tail else "")
        parts.append("\n" if block else "")


def _record_text(item: HtmlElement, selector: RecordSelector) -> str:
    parts = _xpath(selector.text, "descendant::")(item) if selector.text else [item]
    return "\n".join(element_text(part) for part in parts)


def _record_label(item: HtmlElement, selector: RecordSelector) -> str | None:
    if not selector.label:
        return None
    found = _xpath(selector.label, "descendant::")(item)
    return canonical(element_text(found[0])) if found else ""


@cache
def _xpath(css: str, prefix: str) -> etree.XPath:
    return etree.XPath(HTMLTranslator().css_to_xpath(css, prefix=prefix))
