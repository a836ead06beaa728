"""E-mail and internet protocol addresses."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from tasks.text.privacy.spans import Span, not_after, not_before

# RFC 5321 allows 64 octets before the @ and 63 in a label. Latin letters alone: where words have no blanks between
# them, what follows an address would be part of it. Matched around each @, so that no text makes the search slow.
_LATIN = "A-Za-z0-9\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f"
_LOCAL = re.compile(rf"[{_LATIN}_][{_LATIN}._%+-]{{0,63}}\Z")
_DOMAIN = re.compile(rf"(?:[{_LATIN}][{_LATIN}-]{{0,62}}\.)+[A-Za-z]{{2,24}}(?![{_LATIN}_-])")
_SPELT = re.compile(
    r"(?<![\w.%+-])[\w.%+-]{1,64}+ ?[(\[{<] ?at ?[)\]}>] ?[^\W_][\w-]{0,62}"
    r"(?:(?: ?[(\[{<] ?(?:dot|punkt|point|punto) ?[)\]}>] ?|\.)[\w-]{1,63}){1,5}",
    re.IGNORECASE,
)
_IPV4 = re.compile(not_after(r"\w.:/-") + r"(?<!\d,)\d{1,3}(?:\.\d{1,3}){3}" + not_before(r"\w-") + r"(?!\.\w)")
_IPV6 = re.compile(
    not_after(r"\w:.") + r"(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}" + not_before(r"\w:") + r"(?!\.\d)"
)
_VERSION = re.compile(
    r"(?:\bv|version|release|rev(?:ision)?|firmware|driver|build|kernel|update|ver|section|chapter|oid|errata)"
    r"[ .:=(#]*\Z",
    re.IGNORECASE,
)
_ADDRESS = re.compile(
    r"(?:\b(?:ip|ipv4|address|addr|adresse|host|server|dst|src|from|ping|inet|via|gateway|dns|net|network|ssh)\b"
    r"|地址|位址|服务器|伺服器|アドレス|サーバ|주소)[^\n]{0,12}\Z",
    re.IGNORECASE,
)
_SMALL = 32
_V6_HINT = re.compile("::|[0-9A-Fa-f]:[0-9A-Fa-f]{1,4}:")


def emails(text: str) -> Iterator[Span]:
    """Addresses of RFC 5321 in Latin letters, without quoted parts; also "name (at) host (dot) org"."""
    at = text.find("@")
    while at >= 0:
        local, domain = _LOCAL.search(text, max(0, at - 64), at), _DOMAIN.match(text, at + 1)
        if local and domain:
            yield Span(local.start(), domain.end(), "email")
        at = text.find("@", at + 1)
    lower = text.lower() if "at" in text or "AT" in text else ""
    if any(mark in lower for mark in ("(at)", "[at]", "{at}", "<at>", "( at )", "[ at ]")):
        yield from (Span(*match.span(), "email") for match in _SPELT.finditer(text))


def ip_addresses(text: str) -> Iterator[Span]:
    """Addresses that the whole internet can reach: private, loopback and documentation ones name nobody.

    A version or section number of four parts is no address: not after a word such as "version", and not when three
    parts are below 32, unless a word such as "IP" or "host" goes before. So it is with nearly every version (6.1.0.0,
    6.1.8.91), and with one address in 140.
    """
    for match in _IPV4.finditer(text) if text.count(".") > 2 else ():
        if _is_public_v4(match[0]) and not _is_version(text, match.start(), match[0]):
            yield Span(*match.span(), "ip")
    for match in _IPV6.finditer(text) if _V6_HINT.search(text) else ():
        if _is_public_v6(match[0]):
            yield Span(*match.span(), "ip")


def _is_version(text: str, start: int, found: str) -> bool:
    before = max(0, start - 30)
    if _VERSION.search(text, before, start):
        return True
    is_small = sum(int(part) < _SMALL for part in found.split(".")) >= 3
    return is_small and not _ADDRESS.search(text, before, start)


def _is_public_v4(found: str) -> bool:
    if any(part != str(int(part)) or int(part) > 255 for part in found.split(".")):
        return False
    address = ipaddress.IPv4Address(found)
    return address.is_global and not address.is_multicast


def _is_public_v6(found: str) -> bool:
    """Of the block that is handed out, 2000::/3: "::" and "a::b" are programs, 10:20:30 is a time."""
    try:
        address = ipaddress.IPv6Address(found)
    except ValueError:
        return False
    return int(address) >> 125 == 1 and address.is_global
