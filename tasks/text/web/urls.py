"""Which addresses a crawl knows as one, which it may visit, and which a page links to."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Sequence
from urllib.parse import urljoin, urlsplit, urlunsplit

import lxml.etree
import lxml.html
from w3lib.url import canonicalize_url

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARACTERS = 2_000
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def normalise_url(url: str) -> str | None:
    """The one form of an address that a crawl knows; None when it is not a plain http(s) address.

    Guarantees: idempotent. Scheme and host in lower case, default port, fragment and dot segments gone,
    percent-encoding and the order of query arguments canonical. Addresses with a user name, or longer than
    `MAX_URL_CHARACTERS`, are None.
    """
    try:
        parts = urlsplit(canonicalize_url(url.strip(), keep_fragments=False))
        port, host = parts.port, parts.hostname
    except ValueError:  # a port that is no number, a broken IPv6 literal, a label that IDNA refuses
        return None
    if parts.scheme not in DEFAULT_PORTS or not host or " " in host or parts.username is not None:
        return None
    authority = f"[{host}]" if ":" in host else host.rstrip(".")
    if port is not None and port != DEFAULT_PORTS[parts.scheme]:
        authority += f":{port}"
    path = urljoin("/", parts.path) if "/." in parts.path else parts.path or "/"
    result = urlunsplit((parts.scheme, authority, path, parts.query, ""))
    return result if len(result) <= MAX_URL_CHARACTERS else None


def host_and_port(url: str) -> tuple[str, int]:
    """Of a normalised URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def site_of(url: str) -> str:
    """The site that a normalised URL belongs to: its host, with or without `www.`, on any port."""
    return host_and_port(url)[0].removeprefix("www.")


class UrlPolicy:
    """Which of the site's addresses are visited, by the recipe's regular expressions (`re.search`)."""

    def __init__(self, seeds: Sequence[str], include: Sequence[str], exclude: Sequence[str]) -> None:
        self.seeds = frozenset(seeds)
        self.sites = frozenset(site_of(seed) for seed in seeds)
        self._include = [re.compile(pattern) for pattern in include]
        self._exclude = [re.compile(pattern) for pattern in exclude]

    def is_on_site(self, url: str) -> bool:
        return site_of(url) in self.sites

    def refusal(self, url: str) -> str:
        """Why the address is not visited; "" when it is. Seeds need no `include`: a crawl has to start somewhere."""
        if any(pattern.search(url) for pattern in self._exclude):
            return "excluded"
        if self._include and url not in self.seeds and not any(pattern.search(url) for pattern in self._include):
            return "not included"
        return ""


def is_public(address: IpAddress) -> bool:
    """Whether the whole internet can reach the address, seen through the forms that wrap an IPv4 address in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if wrapped is None and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped:
            return is_public(wrapped)
    return address.is_global and not address.is_multicast


def page_links(text: str, url: str) -> Iterator[str]:
    """Absolute addresses in the `href` of a page's anchors, in the page's order, as written (not normalised)."""
    if not text.strip():
        return
    parser = lxml.html.HTMLParser(encoding="utf-8", no_network=True)
    try:
        root = lxml.html.document_fromstring(text.encode("utf-8", "replace"), parser=parser)
    except (lxml.etree.ParserError, ValueError):  # nothing but comments, or NULs
        return
    base = urljoin(url, next(iter(root.xpath("//base/@href")), ""))
    for href in root.xpath("//a/@href | //area/@href"):
        try:
            yield urljoin(base, str(href).strip())
        except ValueError:  # for example a broken IPv6 literal
            continue
