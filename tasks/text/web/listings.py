"""What sitemaps and feeds name. They are XML of strangers: no entity is expanded, nothing is loaded from elsewhere."""

from __future__ import annotations

from urllib.parse import urljoin

import lxml.etree
from scrapy.utils.sitemap import Sitemap

from tasks.text.web.decoding import BodyError, decode_body

FEED_ROOTS = ("rss", "RDF", "feed")
ENTRIES = ("item", "entry")


class ListingError(ValueError):
    """The body is no sitemap, or no feed; the message says what it is."""


def parse_sitemap(body: bytes, max_bytes: int) -> tuple[str, list[str]]:
    """Kind (`urlset` or `sitemapindex`) and addresses, by sitemaps.org: XML or text, plain or as a gzip file.

    Raises:
        ListingError: it is something else, or unpacks to more than `max_bytes`.
    """
    body = _unpacked(body, max_bytes)
    if not body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "urlset", _text_sitemap(body)
    try:
        sitemap = Sitemap(body)
        if sitemap.type not in ("urlset", "sitemapindex"):
            raise ListingError("not a sitemap: its root is another element")
        return sitemap.type, [entry["loc"] for entry in sitemap if entry.get("loc")]
    except (lxml.etree.XMLSyntaxError, StopIteration) as error:
        raise ListingError("not a sitemap: broken XML") from error


def parse_feed(body: bytes, url: str, max_bytes: int) -> list[str]:
    """Addresses of the entries of an RSS 0.9-2.0 or Atom feed (RFC 4287), absolute, in their order.

    Raises:
        ListingError: it is something else, or unpacks to more than `max_bytes`.
    """
    parser = lxml.etree.XMLParser(
        recover=True, resolve_entities=False, no_network=True, load_dtd=False, remove_comments=True, remove_pis=True
    )
    try:
        root = lxml.etree.fromstring(_unpacked(body, max_bytes), parser, base_url=url)
    except lxml.etree.XMLSyntaxError as error:
        raise ListingError("not a feed: broken XML") from error
    if root is None or _name(root) not in FEED_ROOTS:
        raise ListingError("not a feed: its root is another element")
    found = []
    for entry in root.iter():
        if _name(entry) in ENTRIES and (link := _entry_link(entry)):
            try:
                found.append(urljoin(entry.base or url, link))
            except ValueError:  # for example a broken IPv6 literal
                continue
    return list(dict.fromkeys(found))


def _entry_link(entry: lxml.etree._Element) -> str:
    """The page's own address (`feedburner:origLink`), else the alternate link, else a guid that is an address."""
    texts = {_name(child): (child.text or "").strip() for child in reversed(entry)}
    links = [child for child in entry if _name(child) == "link"]
    alternate = [child for child in links if child.get("href") and child.get("rel", "alternate") == "alternate"]
    alternate.sort(key=lambda child: child.get("type", "text/html") not in ("text/html", "application/xhtml+xml"))
    plain = next((child.text.strip() for child in links if child.text and child.text.strip()), "")
    guid = texts.get("guid", "")
    return (
        texts.get("origLink")
        or plain
        or next((child.get("href") or "" for child in alternate), "")
        or (guid if guid.startswith(("http://", "https://")) else "")
    )


def _name(element: lxml.etree._Element) -> str:
    """The tag without its namespace; "" for what is no element, such as an entity."""
    return element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""


def _text_sitemap(body: bytes) -> list[str]:
    lines = [line.strip() for line in body.decode("utf-8-sig", "replace").splitlines()]
    if not any(line.startswith(("http://", "https://")) for line in lines):
        raise ListingError("not a sitemap: neither XML nor a list of addresses")
    return [line for line in lines if line]


def _unpacked(body: bytes, max_bytes: int) -> bytes:
    if body[:2] != b"\x1f\x8b":
        return body
    try:
        return decode_body(body, ["gzip"], max_bytes)
    except BodyError as error:
        raise ListingError(error.reason) from error
