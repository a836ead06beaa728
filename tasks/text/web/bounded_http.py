"""Scrapy's HTTP client with an end to the headers: Twisted bounds a line (16 KB), not the number of lines."""

from __future__ import annotations

from typing import Any

from scrapy.core.downloader.handlers.http11 import (
    HTTP11DownloadHandler,
    _LenientHTTP11ClientFactory,
    _LenientHTTP11ClientProtocol,
    _LenientHTTPClientParser,
)
from scrapy.crawler import Crawler
from twisted.web._newclient import ParseError

MAX_HEADER_BYTES = 65_536  # of status line, headers, and interim (1xx) responses; Apache and nginx send 8 KB at most


class TooManyHeaders(ParseError):
    """The headers of a response are over `MAX_HEADER_BYTES`."""


class _BoundedParser(_LenientHTTPClientParser):
    _header_bytes = 0

    def lineReceived(self, line: bytes) -> None:
        self._header_bytes += len(line) + 2
        if self._header_bytes > MAX_HEADER_BYTES:
            raise TooManyHeaders("headers", line[:80])
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        raise TooManyHeaders("header line", line[:80])


class _BoundedProtocol(_LenientHTTP11ClientProtocol):
    def request(self, request: Any) -> Any:
        response = super().request(request)
        # As in Scrapy's own class: the parser's class is fixed in Twisted, and the parser is there from here on.
        assert self._parser is not None
        self._parser.__class__ = _BoundedParser
        return response


class _BoundedFactory(_LenientHTTP11ClientFactory):
    def buildProtocol(self, addr: Any) -> _BoundedProtocol:
        return _BoundedProtocol(self._quiescentCallback)


class BoundedHandler(HTTP11DownloadHandler):
    """For `DOWNLOAD_HANDLERS`."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._pool._factory = _BoundedFactory
