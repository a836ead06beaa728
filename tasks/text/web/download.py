"""One polite, bounded, safe GET at a time, by Scrapy's downloader. Runs inside the crawl worker's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
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
    ResponseDataLossError,
    StopDownload,
)
from twisted.web._newclient import ParseError

from tasks.config.web import WebSource
from tasks.text.web.bounded_http import BoundedHandler, TooManyHeaders
from tasks.text.web.decoding import ACCEPTED, BodyError, decode_body
from tasks.text.web.resolver import ALLOW_PRIVATE, PublicResolver, refused
from tasks.text.web.urls import host_and_port, origin_of, resolve

FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 30.0
MAX_RETRY_AFTER_S = 120.0
PAGE_TYPES = ("text/html", "application/xhtml+xml", "text/plain")
REDIRECTS = (301, 302, 303, 307, 308)
MAX_LISTING_REDIRECTS = 5
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
    "httpcompression.HttpCompressionMiddleware",  # tasks.text.web.decoding has a reason for each failure
)

GIVEN_UP = "host gave no answer again and again"
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """What came back: a response, or `error` and status 0."""

    status: int = 0
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = ()
    error: str = ""
    lasting: bool = False  # the error will be the same next time

    def header(self, name: str) -> str | None:
        return next(iter(self.header_values(name)), None)

    def header_values(self, name: str) -> list[str]:
        return [value for key, value in self.headers if key.lower() == name]

    @property
    def media_type(self) -> str:
        return (self.header("content-type") or "").split(";")[0].strip().lower()

    @property
    def is_transient(self) -> bool:
        """Worth another try: no answer, 408, 429 or 5xx."""
        return not self.lasting if self.error else self.status in (408, 429) or self.status >= 500

    def redirect_target(self, url: str) -> str | None:
        """Where a redirect leads, normalised; None when this is none, or leads to no address."""
        location = self.header("location") if self.status in REDIRECTS else None
        return resolve(url, location) if location else None


def scrapy_settings(source: WebSource) -> dict[str, Any]:
    """Scrapy as a downloader alone: what to visit, retry and follow is decided in the worker, where it is recorded."""
    return {
        "ROBOTSTXT_OBEY": False,  # obeyed by tasks.text.web.robots, which also knows RFC 9309's rule for 5xx
        "DOWNLOADER_MIDDLEWARES": {f"scrapy.downloadermiddlewares.{name}": None for name in UNUSED},
        "DOWNLOAD_HANDLERS": {
            **dict.fromkeys(("file", "data", "ftp", "s3"), None),
            **dict.fromkeys(("http", "https"), BoundedHandler),
        },
        "DOWNLOAD_DELAY": 1.0 / source.requests_per_second,
        "DOWNLOAD_DELAY_JITTER": 0,
        "CONCURRENT_REQUESTS": 0,
        "CONCURRENT_REQUESTS_PER_DOMAIN": source.concurrency,
        "DOWNLOAD_TIMEOUT": source.timeout_s,
        "DOWNLOAD_MAXSIZE": source.max_body_bytes,  # on the wire
        "DOWNLOAD_WARNSIZE": 0,
        "DOWNLOAD_VERIFY_CERTIFICATES": True,
        "TWISTED_DNS_RESOLVER": PublicResolver,
        ALLOW_PRIVATE: list(source.allow_private_hosts),
        "USER_AGENT": source.user_agent,
        "DEFAULT_REQUEST_HEADERS": {
            "Accept": "text/html,application/xhtml+xml,text/plain;q=0.9,*/*;q=0.5",
            "Accept-Encoding": ACCEPTED,
        },
        "COOKIES_ENABLED": False,
        "AUTOTHROTTLE_ENABLED": False,
        "TELNETCONSOLE_ENABLED": False,
        "REMOTE_CONTROL_ENABLED": False,
        "LOG_LEVEL": "WARNING",
        "STATS_DUMP": False,
    }


@dataclass
class Fetcher:
    """GETs with retries. Counts requests, bytes of bodies as sent, and by reason what was tried again.

    A host that left `give_up_after` addresses in a row without an answer, each through all its tries, is asked no more:
    a site of 100,000 pages that goes down would hold the night up for days.
    """

    crawler: Crawler
    source: WebSource
    requests: int = field(default=0, init=False)
    body_bytes: int = field(default=0, init=False)
    tried_again: Counter[str] = field(default_factory=Counter, init=False)
    _unanswered: Counter[str] = field(default_factory=Counter, init=False)
    """Addresses in a row, by origin."""

    def __post_init__(self) -> None:
        self.crawler.signals.connect(self._stop_other_types, signals.headers_received)
        self.crawler.signals.connect(self._stop_after_head, signals.bytes_received)

    async def get(
        self, url: str, headers: dict[str, str] | None = None, *, page: bool = True, head_bytes: int = 0
    ) -> Reply:
        """The reply after at most `retries` further tries of what is transient; never raises for what a server does.

        Args:
            page: stop before the body of what is neither HTML nor plain text.
            head_bytes: only the first so many bytes of the body are wanted, however long it is; 0: all.
        """
        origin = origin_of(url)
        if self._unanswered[origin] >= self.source.give_up_after:
            return Reply(error=GIVEN_UP)
        meta = {"page": page, "head": head_bytes} | ({"download_maxsize": 0} if head_bytes else {})
        for attempt in range(self.source.retries + 1):
            reply = self._decoded(await self._once(url, headers or {}, dict(meta)), head_bytes)
            if not reply.is_transient or attempt == self.source.retries:
                break
            self.tried_again[reply.error or f"http {reply.status}"] += 1
            await asyncio.sleep(backoff_s(attempt, reply.header("retry-after")))
        self._unanswered[origin] = self._unanswered[origin] + 1 if reply.is_transient else 0
        return reply

    async def get_listing(self, url: str, headers: dict[str, str] | None = None, *, head_bytes: int = 0) -> Reply:
        """Of robots.txt, sitemaps and feeds, which are read but are not pages; RFC 9309 asks for five redirects."""
        for _ in range(MAX_LISTING_REDIRECTS + 1):
            reply = await self.get(url, headers, page=False, head_bytes=head_bytes)
            target = reply.redirect_target(url)
            if target is None:
                return reply
            url = target
        return Reply(error=f"more than {MAX_LISTING_REDIRECTS} redirects", lasting=True)

    def slow_down(self, host: str, delay_s: float) -> None:
        """Let at least `delay_s` pass between requests to the host from now on."""
        assert self.crawler.engine is not None
        downloader = self.crawler.engine.downloader
        if delay_s > 1.0 / self.source.requests_per_second:
            downloader.per_slot_settings[host] = {"delay": delay_s, "concurrency": self.source.concurrency}
            if host in downloader.slots:
                downloader.slots[host].delay = delay_s

    async def _once(self, url: str, headers: dict[str, str], meta: dict[str, Any]) -> Reply:
        assert self.crawler.engine is not None
        self.requests += 1
        request = Request(url, headers=headers, dont_filter=True, meta=meta)
        try:
            response = await self.crawler.engine.download_async(request)
        except Exception as error:  # what a server can do to a client has no common base class
            return self._error(url, error)
        self.body_bytes += len(response.body)
        pairs = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, values in response.headers.items()
            for value in values
        ]
        if not 200 <= response.status <= 599:
            return Reply(error="no HTTP status", lasting=True)
        return Reply(response.status, response.body, pairs)

    def _decoded(self, reply: Reply, head_bytes: int) -> Reply:
        try:
            limit = head_bytes or self.source.max_body_bytes
            body = decode_body(reply.body, reply.header_values("content-encoding"), limit, cut=head_bytes > 0)
        except BodyError as error:
            return Reply(reply.status, headers=reply.headers, error=error.reason, lasting=error.lasting)
        return replace(reply, body=body)

    def _error(self, url: str, error: Exception) -> Reply:
        if isinstance(error, CannotResolveHostError):
            address = refused.get(host_and_port(url))
            if address is not None:
                return Reply(error=f"private address {address}", lasting=True)
            return Reply(error="host not found")
        if isinstance(error, DownloadCancelledError):
            return Reply(error=f"body over {self.source.max_body_bytes} bytes", lasting=True)
        causes = causes_of(error)
        for kind, (reason, lasting) in REASONS.items():
            if any(isinstance(cause, kind) for cause in causes):
                return Reply(error=reason, lasting=lasting)
        logger.warning("%s: %r", url, error)
        if "certificate" in repr(causes).lower() or "ssl" in repr(causes).lower():
            return Reply(error="tls not verified", lasting=True)
        return Reply(error="connection failed")

    def _stop_other_types(self, headers: Any, request: Request) -> None:
        media = (headers.get("Content-Type") or b"").decode("latin-1").split(";")[0].strip().lower()
        if request.meta.get("page") and media and media not in PAGE_TYPES:
            raise StopDownload(fail=False)

    def _stop_after_head(self, data: bytes, request: Request) -> None:
        if request.meta["head"]:
            request.meta["got"] = request.meta.get("got", 0) + len(data)
            if request.meta["got"] >= request.meta["head"]:
                raise StopDownload(fail=False)


REASONS: dict[type[BaseException], tuple[str, bool]] = {
    DownloadTimeoutError: ("timeout", False),
    DownloadConnectionRefusedError: ("connection refused", False),
    ResponseDataLossError: ("body cut short", False),
    TooManyHeaders: ("too many headers", True),
    ParseError: ("not HTTP", True),
    ValueError: ("not HTTP", True),  # two lengths, or one that is no number
}
"""What went wrong, and whether it will the next time. The first that fits counts."""


def causes_of(error: BaseException) -> list[BaseException]:
    """The error, what it was raised from, and the failures that Twisted packed into it."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        cause = waiting.pop(0)
        if cause is not None and cause not in found:
            found.append(cause)
            waiting += [cause.__cause__, *(failure.value for failure in getattr(cause, "reasons", None) or ())]
    return found


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
