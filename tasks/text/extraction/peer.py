"""trafilatura (Barbaresi, ACL 2021 demo), asked where our own choice is not sure; run in a process that can be stopped.

What it finds is laid out in lines by the same walk as a page, so that headings keep their levels.
"""

from __future__ import annotations

from lxml import etree
from lxml.etree import _Element as Element

from tasks.text.extraction.outline import outline

_NAMES = {"list": "ul", "item": "li", "row": "tr", "cell": "td", "lb": "br", "code": "pre", "quote": "blockquote"}
_INLINE = frozenset(["hi", "ref", "del", "graphic", "span"])

Lines = list[tuple[str, int]]
"""Text and heading level of each line."""


def trafilatura_lines(data: bytes, url: str, *, tables: bool) -> Lines:
    """Main text of a page in UTF-8; [] if none is found."""
    import trafilatura  # 0.3 s to import; most processes that import this module never extract

    tree = etree.fromstring(data, parser=_parser())
    if tree is None:
        return []
    found = trafilatura.bare_extraction(
        tree, url=url or None, include_comments=False, include_tables=tables, with_metadata=False
    )
    body = getattr(found, "body", None)
    return [] if body is None else [(line.text, line.level) for line in outline(_as_html(body), max_depth=2_000).lines]


def searched_date(data: bytes, url: str) -> str:
    """htmldate's guess, YYYY-MM-DD, or ""."""
    import htmldate

    return htmldate.find_date(data.decode("utf-8", "replace"), url=url or None, original_date=True) or ""


def _parser() -> etree.HTMLParser:
    from lxml import html

    return html.HTMLParser(encoding="utf-8", remove_comments=True, remove_pis=True)


def _as_html(body: Element) -> Element:
    for element in body.iter(etree.Element):
        if element.tag == "head":
            level = element.get("rend", "")
            element.tag = level if level in ("h1", "h2", "h3", "h4", "h5", "h6") else "h2"
        else:
            element.tag = "span" if element.tag in _INLINE else _NAMES.get(str(element.tag), element.tag)
    body.tag = "body"
    root = etree.Element("html")
    root.append(body)
    return root
