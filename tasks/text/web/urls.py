"""Which addresses a crawl knows as one, and which of them it may visit."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urljoin, urlsplit, urlunsplit

from w3lib.url import canonicalize_url

from tasks.config import WebSource
from tasks.text.web.parameters import without_visits

DEFAULT_PORTS = {"http": 80, "https": 443}
MAX_URL_CHARACTERS = 2_000
_HOST = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]+")  # a name, or an IPv6 literal without a zone
IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
EXCLUDED, NOT_INCLUDED = "excluded", "not included"
"""Reasons that are the recipe's own wish."""


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
    if parts.scheme not in DEFAULT_PORTS or not host or not _HOST.fullmatch(host) or parts.username is not None:
        return None
    authority = f"[{host}]" if ":" in host else host.rstrip(".")
    if port is not None and port != DEFAULT_PORTS[parts.scheme]:
        authority += f":{port}"
    path = urljoin("/", parts.path) if "/." in parts.path else parts.path or "/"
    result = urlunsplit((parts.scheme, authority, path, parts.query, ""))
    return result if len(result) <= MAX_URL_CHARACTERS else None


def resolve(base: str, href: str) -> str | None:
    """`href` as a page at `base` means it, normalised; None when it is no address."""
    try:
        return normalise_url(urljoin(base, href.strip()))
    except ValueError:  # for example a broken IPv6 literal
        return None


def host_and_port(url: str) -> tuple[str, int]:
    """Of a normalised URL."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def origin_of(url: str) -> str:
    """Scheme, host and port of a normalised URL: what a robots.txt is for."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def site_of(url: str) -> str:
    """The site that a normalised URL belongs to: its host, with or without `www.`, on any port."""
    return host_and_port(url)[0].removeprefix("www.")


class UrlPolicy:
    """Which addresses are the crawl's, in which form, and which of them are visited, by the recipe."""

    def __init__(self, source: WebSource) -> None:
        self._tracking = [name.lower() for name in source.tracking_parameters]
        self.seeds = frozenset(self.form(seed) or seed for seed in source.seeds)
        starts = [*self.seeds, *source.sitemap_urls, *source.feeds]
        self.sites = frozenset(site_of(url) for start in starts if (url := normalise_url(start))) | frozenset(
            host.lower().removeprefix("www.") for host in source.hosts
        )
        self._include = [re.compile(pattern) for pattern in source.include]
        self._exclude = [re.compile(pattern) for pattern in source.exclude]

    def form(self, address: str) -> str | None:
        """`normalise_url`, without session ids and tracking parameters. Idempotent; never raises."""
        url = normalise_url(address)
        return url and without_visits(url, self._tracking)

    def is_on_site(self, url: str) -> bool:
        return site_of(url) in self.sites

    def refusal(self, url: str) -> str:
        """Why the address is not visited; "" when it is. Seeds need no `include`: a crawl has to start somewhere."""
        if any(pattern.search(url) for pattern in self._exclude):
            return EXCLUDED
        if self._include and url not in self.seeds and not any(pattern.search(url) for pattern in self._include):
            return NOT_INCLUDED
        return ""


def is_public(address: IpAddress) -> bool:
    """Whether the whole internet can reach the address, seen through the forms that wrap an IPv4 address in IPv6."""
    if isinstance(address, ipaddress.IPv6Address):
        wrapped = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if wrapped is None and address in ipaddress.ip_network("64:ff9b::/96"):  # NAT64, RFC 6052
            wrapped = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if wrapped is None and int(address) >> 32 == 0 and int(address) > 1:  # ::127.0.0.1, "IPv4-compatible"
            wrapped = ipaddress.IPv4Address(int(address))
        if wrapped:
            return is_public(wrapped)
    return address.is_global and not address.is_multicast
