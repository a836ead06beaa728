"""What a page says of other addresses: its links, and which address it wants to be known under."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from urllib.parse import urljoin

import lxml.etree
import lxml.html

from tasks.text.charset import decode

MAX_LINKS = 10_000
"""Of one page, in its order. A page of 10 MB can name half a million, which took 19 s to read."""
CHARSET_BYTES = 65_536
"""The charset is found on the page's head: on 5 MB of Latin-1 it took 12 s, in which nothing else was crawled."""
_LINK_VALUE = re.compile(r"<([^>]*)>([^<]*)")
_CANONICAL = re.compile(r"""rel\s*=\s*["']?(?:[^"';]*\s)?canonical\b""", re.IGNORECASE)


@dataclass(frozen=True)
class Links:
    """Absolute addresses, as written (not normalised)."""

    links: Sequence[str] = ()
    """In the `href` of anchors, in the page's order, at most `MAX_LINKS`."""
    canonical: str | None = None
    """Of the first `<link rel="canonical">`."""
    are_cut: bool = False
    """There were more."""


def page_links(body: bytes, content_type: str | None, url: str) -> Links:
    """The links of an HTML page; never raises for what a page holds."""
    root = _parse(_text(body, content_type))
    if root is None:
        return Links()
    base = _join(url, next(iter(root.xpath("//base/@href")), "")) or url
    hrefs = (str(element.get("href")) for element in root.iter("a", "area") if element.get("href") is not None)
    found = list(islice(hrefs, MAX_LINKS + 1))
    absolute = (_join(base, href) for href in found[:MAX_LINKS])
    canonical = next((str(link.get("href") or "") for link in root.iter("link") if _is_canonical(link)), "")
    return Links(
        [link for link in absolute if link],
        _join(base, canonical) if canonical.strip() else None,
        len(found) > MAX_LINKS,
    )


def header_canonical(values: Sequence[str], url: str) -> str | None:
    """The address of `Link: <...>; rel="canonical"` (RFC 6596, RFC 8288), absolute."""
    for value in values:
        for match in _LINK_VALUE.finditer(value):
            if _CANONICAL.search(match[2]):
                return _join(url, match[1])
    return None


def _is_canonical(link: lxml.html.HtmlElement) -> bool:
    return "canonical" in (link.get("rel") or "").lower().split()


def _join(base: str, href: str) -> str | None:
    try:
        return urljoin(base, href.strip())
    except ValueError:  # for example a broken IPv6 literal
        return None


def _text(body: bytes, content_type: str | None) -> str:
    if b"\x00" not in body[:CHARSET_BYTES]:  # UTF-16 without a mark is valid UTF-8 full of NULs
        with suppress(UnicodeDecodeError):
            return body.decode("utf-8-sig")
    return body.decode(decode(body[:CHARSET_BYTES], content_type)[1], "replace")


def _parse(text: str) -> lxml.html.HtmlElement | None:
    if not text.strip():
        return None
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True, huge_tree=True)  # else it ends at depth 256
    try:
        return lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, ValueError):  # nothing but comments, or NULs
        return None
