"""Name resolution that yields public addresses only."""

from __future__ import annotations

import ipaddress
from typing import Any

from scrapy.crawler import Crawler
from scrapy.resolver import CachingHostnameResolver
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import provider

from tasks.text.web.urls import is_public

ALLOW_PRIVATE = "BERT_FOUNDRY_ALLOW_PRIVATE"
"""This project's own entry in Scrapy's settings: the `host:port` that may have any address."""
refused: dict[tuple[str, int], str] = {}
"""By host and port: the address that `PublicResolver` refused. Twisted's resolvers have no way to give a reason."""


class PublicResolver(CachingHostnameResolver):
    """Name resolution that yields public addresses only, unless host and port are allowed by name.

    Twisted connects to exactly the addresses that it gets here, literals included, so there is no moment between the
    check and the connection in which a name could change its address. The system's resolver turns every form of a
    literal (`127.1`, `0177.0.0.1`, `2130706433`) into an address before it is looked at.
    """

    allowed: frozenset[tuple[str, int]] = frozenset()

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: Any) -> PublicResolver:
        resolver = super().from_crawler(crawler, reactor)
        resolver.allowed = frozenset(allowed_host(entry) for entry in crawler.settings.getlist(ALLOW_PRIVATE))
        return resolver

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,
        hostName: str,
        portNumber: int = 0,
        addressTypes: Any = None,
        transportSemantics: str = "TCP",
    ) -> IHostResolution:
        receiver: Any = resolutionReceiver
        if (hostName.lower(), portNumber) not in self.allowed:
            receiver = _PublicOnly(resolutionReceiver, hostName, portNumber)
        return super().resolveHostName(receiver, hostName, portNumber, addressTypes, transportSemantics)


@provider(IResolutionReceiver)
class _PublicOnly:
    def __init__(self, receiver: Any, host: str, port: int) -> None:
        self._receiver = receiver
        self._key = (host, port)

    def resolutionBegan(self, resolution: IHostResolution) -> None:
        self._receiver.resolutionBegan(resolution)

    def addressResolved(self, address: IAddress) -> None:
        host = str(address.host).split("%")[0]  # an IPv6 zone is no part of the address
        if is_public(ipaddress.ip_address(host)):
            self._receiver.addressResolved(address)
        else:
            refused[self._key] = host

    def resolutionComplete(self) -> None:
        self._receiver.resolutionComplete()


def allowed_host(entry: str) -> tuple[str, int]:
    """Host and port of `localhost:8400` or `[::1]:8400`; port -1, which none has, where there is no number."""
    host, _, port = entry.lower().rpartition(":")
    return host.strip("[]"), int(port) if port.isdigit() else -1
