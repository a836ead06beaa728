"""One polite, bounded, safe GET at a time, by Scrapy's downloader. Runs inside the crawl worker's event loop."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DownloadCancelledError,
    DownloadConnectionRefusedError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
    StopDownload,
)
from scrapy.resolver import CachingHostnameResolver
from twisted.internet.interfaces import IAddress, IHostResolution, IResolutionReceiver
from zope.interface import provider

from tasks.config import WebSource
from tasks.text.web.urls import host_and_port, is_public

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
MAX_RETRY_AFTER_S = 120.0
ALLOW_PRIVATE = "BERT_FOUNDRY_ALLOW_PRIVATE"  # names of this project's own entries in Scrapy's settings
PAGE_TYPES = ("text/html", "application/xhtml+xml", "text/plain")
UNUSED = (
    "offsite.OffsiteMiddleware",
    "robotstxt.RobotsTxtMiddleware",
    "httpauth.HttpAuthMiddleware",
    "retry.RetryMiddleware",
    "redirect.MetaRefreshMiddleware",
    "redirect.RedirectMiddleware",
    "cookies.CookiesMiddleware",
    "httpproxy.HttpProxyMiddleware",  # behind a proxy nobody could check the address that is connected to
    "httpcache.HttpCacheMiddleware",
)

logger = logging.getLogger(__name__)
refused: dict[tuple[str, int], str] = {}
"""By host and port: the address that `PublicResolver` refused. Twisted's resolvers have no way to give a reason."""


@dataclass(frozen=True)
class Reply:
    """What came back: a response, or `error` and status 0."""

    status: int = 0
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    error: str = ""
    lasting: bool = False  # the error will be the same next time

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").split(";")[0].strip().lower()

    @property
    def is_transient(self) -> bool:
        """Worth another try: no answer, 408, 429 or 5xx."""
        return not self.lasting if self.error else self.status in (408, 429) or self.status >= 500


class PublicResolver(CachingHostnameResolver):
    """Name resolution that yields public addresses only, unless host and port are allowed by name.

    Twisted connects to exactly the addresses that it gets here, literals included, so there is no moment between the
    check and the connection in which a name could change its address.
    """

    allowed: frozenset[str] = frozenset()

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: Any) -> PublicResolver:
        resolver = super().from_crawler(crawler, reactor)
        resolver.allowed = frozenset(crawler.settings.getlist(ALLOW_PRIVATE))
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
        if f"{hostName}:{portNumber}" not in self.allowed:
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


def scrapy_settings(source: WebSource) -> dict[str, Any]:
    """Scrapy as a downloader alone: what to visit, retry and follow is decided in the worker, where it is recorded."""
    return {
        "ROBOTSTXT_OBEY": False,  # obeyed by tasks.text.web.robots, which also knows RFC 9309's rule for 5xx
        "DOWNLOADER_MIDDLEWARES": {f"scrapy.downloadermiddlewares.{name}": None for name in UNUSED},
        "DOWNLOAD_DELAY": 1.0 / source.requests_per_second,
        "DOWNLOAD_DELAY_JITTER": 0,
        "CONCURRENT_REQUESTS": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": source.concurrency,
        "DOWNLOAD_TIMEOUT": source.timeout_s,
        "DOWNLOAD_MAXSIZE": source.max_body_bytes,  # on the wire and after decompression
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "TWISTED_DNS_RESOLVER": "tasks.text.web.download.PublicResolver",
        ALLOW_PRIVATE: list(source.allow_private_hosts),
        "USER_AGENT": source.user_agent,
        "COOKIES_ENABLED": False,
        "AUTOTHROTTLE_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "WARNING",
        "STATS_DUMP": False,
    }


@dataclass
class Fetcher:
    """GETs with retries. Counts requests and body bytes."""

    crawler: Crawler
    source: WebSource
    requests: int = field(default=0, init=False)
    bytes: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.crawler.signals.connect(self._stop_other_types, signals.headers_received)

    async def get(self, url: str, headers: dict[str, str] | None = None, *, page: bool = True) -> Reply:
        """The reply after at most `retries` further tries of what is transient; never raises for what a server does.

        Args:
            page: stop before the body of what is neither HTML nor plain text.
        """
        for attempt in range(self.source.retries + 1):
            reply = await self._once(url, headers or {}, page)
            if not reply.is_transient or attempt == self.source.retries:
                break
            await asyncio.sleep(backoff_s(attempt, reply.header("retry-after")))
        return reply

    def slow_down(self, host: str, delay_s: float) -> None:
        """Let at least `delay_s` pass between requests to the host from now on."""
        assert self.crawler.engine is not None
        downloader = self.crawler.engine.downloader
        if delay_s > 1.0 / self.source.requests_per_second:
            downloader.per_slot_settings[host] = {"delay": delay_s, "concurrency": self.source.concurrency}
            if host in downloader.slots:
                downloader.slots[host].delay = delay_s

    async def _once(self, url: str, headers: dict[str, str], page: bool) -> Reply:
        assert self.crawler.engine is not None
        self.requests += 1
        request = Request(url, headers=headers, dont_filter=True, meta={"page": page})
        try:
            response = await self.crawler.engine.download_async(request)
        except Exception as error:  # what a server can do to a client has no common base class
            return self._error(url, error)
        self.bytes += len(response.body)
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in response.headers.items()
            for value in values
        ]
        return Reply(response.status, response.body, pairs)

    def _error(self, url: str, error: Exception) -> Reply:
        address = refused.get(host_and_port(url))
        if isinstance(error, CannotResolveHostError):
            if address is not None:
                return Reply(error=f"private address {address}", lasting=True)
            return Reply(error="host not found")
        if isinstance(error, DownloadCancelledError | IgnoreRequest):
            return Reply(error=f"body over {self.source.max_body_bytes} bytes", lasting=True)
        for kind, reason in REASONS.items():
            if isinstance(error, kind):
                return Reply(error=reason)
        logger.warning("%s: %r", url, error)
        if "certificate" in repr(error).lower() or "ssl" in repr(error).lower():
            return Reply(error="tls not verified", lasting=True)
        return Reply(error="connection failed")

    def _stop_other_types(self, headers: Any, request: Request) -> None:
        media = (headers.get("Content-Type") or b"").decode("latin-1").split(";")[0].strip().lower()
        if request.meta.get("page") and media and media not in PAGE_TYPES:
            raise StopDownload(fail=False)


REASONS: dict[type[Exception], str] = {
    DownloadTimeoutError: "timeout",
    DownloadConnectionRefusedError: "connection refused",
    ResponseDataLossError: "body cut short",
}


def backoff_s(attempt: int, retry_after: str | None) -> float:
    """Seconds before the next try: what the server asks for, else 0.5, 1, 2, ... up to 30. No jitter: runs repeat."""
    own = min(FIRST_BACKOFF_S * 2**attempt, MAX_BACKOFF_S)
    if retry_after is None:
        return own
    if retry_after.strip().isdigit():
        return min(float(retry_after), MAX_RETRY_AFTER_S)
    try:
        wait = (parsedate_to_datetime(retry_after) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):  # an unreadable date, or one without a zone
        return own
    return min(max(wait, 0.0), MAX_RETRY_AFTER_S)
