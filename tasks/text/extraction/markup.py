"""Markup to a tree, with bounds on what that may cost."""

from __future__ import annotations

import re

from lxml import etree
from lxml.etree import _Element as Element

# libxml2's own limits without its "huge" switch: 256 levels, 10,000,000 bytes in one text. Within them it is linear in
# the size of the page; beyond, an end tag without its start costs a look at each open element (0.4 s a MB at 250).
_LIBRARY_DEPTH = 250
_LIBRARY_TEXT = 9_000_000
# Attributes of one element are compared with each other: 20,000 take libxml2 a second, 4 kB hold a thousand at most.
_PLAIN_BYTES = 64_000
_LONG_TAG = 4_096
_GUARDED_BYTES = 1_000_000
_TAG = re.compile(rb"""<[a-zA-Z](?:[^>"']|"[^"]*"|'[^']*'|["'])*+""")
# A literal first: the search jumps from one to the next. Behind a blank, for `aria-hidden` hides nothing from readers.
_HIDES = (re.compile(rb"hidden(?<=\shidden)[\s=>/]"), re.compile(rb"display:\s*none"))


class TooDeep(Exception):
    """Elements are nested deeper than the cap."""


def parse(markup: str | bytes, *, max_depth: int | None = None) -> Element | None:
    """The page's tree, or None if there is no element in it. Never fails on bad markup; bytes are UTF-8.

    Comments and processing instructions are not in the tree; no entity is expanded but those of HTML.

    Raises:
        TooDeep: if `max_depth` is given and the library gave up below it; without, the tree ends where it did.
    """
    data = markup.encode("utf-8", "replace") if isinstance(markup, str) else markup
    if b"\x00" in data:
        data = data.replace(b"\x00", b"")
    huge = (max_depth or 0) > _LIBRARY_DEPTH or len(data) > _LIBRARY_TEXT
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=huge, remove_comments=True, remove_pis=True)
    try:
        tree = etree.fromstring(data, parser=parser)
    except etree.ParserError:  # "Document is empty"
        return None
    except etree.XMLSyntaxError:  # the same, where there are bytes that are no element
        return None
    if max_depth is not None and any("Excessive depth" in error.message for error in parser.error_log):
        raise TooDeep
    return tree if tree is None or tree.tag == "html" else _wrapped(tree)


def is_costly(data: bytes) -> bool:
    """Whether parsing may take more than a second or so, however rarely: then it is done where it can be stopped."""
    if len(data) <= _PLAIN_BYTES:
        return False
    return len(data) > _GUARDED_BYTES or max(map(len, _TAG.findall(data)), default=0) > _LONG_TAG


def may_hide(data: bytes) -> bool:
    """Whether an element may be hidden by its own attributes."""
    return any(hides.search(data) for hides in _HIDES)


def _wrapped(tree: Element) -> Element:
    """A frameset or a bare fragment as a document."""
    root = etree.Element("html")
    root.append(tree)
    return root
