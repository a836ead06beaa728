"""What a page says of itself: title, date, language."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from lxml.etree import _Element as Element

# In the order of trust; names of <meta name/property/itemprop>.
_NAMES = (
    "article:published_time datepublished og:published_time og:article:published_time dcterms.issued dcterms.date "
    "dcterms.created dc.date.issued dc.date.created dc.date citation_publication_date citation_date sailthru.date "
    "parsely-pub-date publishdate publish_date publish-date pubdate publication_date date date.created datecreated "
    "dc.created release_date originalpublicationdate timestamp article:modified_time datemodified last-modified"
)
_DATE_NAMES = _NAMES.split()
_LD_DATE = re.compile(r'"datePublished"\s*:\s*"([^"]{8,40})"')
_URL_DATE = re.compile(r"/((?:19|20)\d\d)[/-](0?[1-9]|1[0-2])[/-](0?[1-9]|[12]\d|3[01])(?=[/_.-]|$)")
_ISO = re.compile(r"((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)")
_CODE = re.compile(r"[a-z]{2,3}$")
_SEPARATOR = re.compile(r"\s+(?:[|–—·»«:]|::|-)\s+")

_SITE_NAME = 40
"""Characters: what stands behind a bar and is longer is no site's name."""


@dataclass
class Metadata:
    title: str = ""
    """Of the head, blanks collapsed."""
    social_title: str = ""
    """og:title: mostly without the site's name."""
    site: str = ""
    date: str = ""
    """YYYY-MM-DD or ""."""
    language: str = ""
    """ISO 639 code, lower case, or "": a hint, since templates are copied with their language."""


def metadata(tree: Element, url: str = "", *, dates: bool = True) -> Metadata:
    """Read from the whole page, since elements of the head stand in bodies too."""
    found: dict[str, str] = {}
    for element in tree.iter("meta"):
        name = element.get("property") or element.get("name") or element.get("itemprop") or element.get("http-equiv")
        content = element.get("content")
        if name and content:
            found.setdefault(name.lower(), content)
    return Metadata(
        title=" ".join((tree.findtext(".//title") or "").split()),
        social_title=" ".join(found.get("og:title", "").split()),
        site=" ".join(found.get("og:site_name", "").split()),
        date=next(filter(None, map(iso_date, _date_texts(tree, found, url))), "") if dates else "",
        language=_language(tree, found),
    )


def best_title(page: Metadata, own_heading: str, first_heading: str) -> str:
    """The main text's <h1>; else the page's title for social networks, its first <h1>, its <title>; else ""."""
    if own_heading:
        return own_heading
    return _without_site(page.social_title, page.site) or first_heading or _without_site(page.title, page.site)


def iso_date(text: str) -> str:
    """The day at the start of an ISO 8601 text, or ""; only days that exist and are not in the 19th century."""
    match = _ISO.match(text.strip())
    if not match:
        return ""
    try:
        return date(*map(int, match.groups())).isoformat()
    except ValueError:
        return ""


def _date_texts(tree: Element, found: dict[str, str], url: str) -> Iterator[str]:
    yield from (found[name] for name in _DATE_NAMES[:3] if name in found)
    for script in tree.iter("script"):
        if script.get("type") == "application/ld+json" and (match := _LD_DATE.search(script.text or "")):
            yield match.group(1)
    yield from (found[name] for name in _DATE_NAMES[3:] if name in found)
    yield from (element.get("datetime") or "" for element in tree.iter("time"))
    if match := _URL_DATE.search(url):
        year, month, day = match.groups()
        yield f"{year}-{month:0>2}-{day:0>2}"


def _language(tree: Element, found: dict[str, str]) -> str:
    attributes = [tree.get("lang"), tree.get("xml:lang"), *(body.get("lang") for body in tree.iter("body"))]
    for value in (*attributes, found.get("content-language"), found.get("og:locale"), found.get("language")):
        code = re.split(r"[-_,; ]", (value or "").strip().lower())[0]
        if _CODE.fullmatch(code):
            return code
    return ""


def _without_site(title: str, site: str) -> str:
    """Without the site's name at its end, where the page tells that name or a bar sets it off."""
    for separator in _SEPARATOR.finditer(title):
        last = title[separator.end() :]
        if last == site or ("|" in separator.group() and not _SEPARATOR.search(last) and len(last) < _SITE_NAME):
            return title[: separator.start()].strip() or title
    return title
