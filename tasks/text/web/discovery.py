"""Where a crawl begins besides its seeds: the pages that sitemaps and feeds name."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bert_core.files import write_json
from tasks.config.web import WebSource
from tasks.text.web.download import Fetcher, Reply
from tasks.text.web.listings import ListingError, parse_feed, parse_sitemap
from tasks.text.web.pages import FEEDS
from tasks.text.web.robots import RobotsFiles
from tasks.text.web.urls import UrlPolicy, normalise_url, origin_of

MAX_SITEMAPS = 1_000


@dataclass
class Feed:
    """What is kept of a feed for the next night."""

    etag: str | None = None
    last_modified: str | None = None
    entries: list[str] = field(default_factory=list)
    """Normalised, in the order in which they were first seen."""


class Discovery:
    """Reads sitemaps and feeds; each, by its address, ends with a few words on what became of it."""

    def __init__(self, source: WebSource, policy: UrlPolicy, find: Callable[[str, int], None]) -> None:
        self.sitemaps: dict[str, str] = {}
        self.feeds: dict[str, str] = {}
        self._source = source
        self._policy = policy
        self._find = find

    async def read_sitemaps(self, fetcher: Fetcher, robots: RobotsFiles) -> None:
        """Note the pages of the recipe's sitemaps, of those that the robots.txt of the seeds' origins name, and of
        those that they name in turn; all must lie on the crawl's site."""
        waiting = list(self._source.sitemap_urls)
        if self._source.sitemaps:
            for origin in sorted({origin_of(seed) for seed in self._policy.seeds}):
                waiting += (await robots.of(origin)).sitemaps
        while waiting and len(self.sitemaps) < MAX_SITEMAPS:
            url = normalise_url(waiting.pop(0))
            if url is not None and url not in self.sitemaps and self._policy.is_on_site(url):
                waiting += await self._read_sitemap(url, fetcher, robots)

    async def read_feeds(
        self, fetcher: Fetcher, robots: RobotsFiles, previous: Path | None, gone: Callable[[str], bool], folder: Path
    ) -> None:
        """Note the entries of the recipe's feeds, asked for conditionally, and keep them for the next night.

        A feed shows its latest entries only. What it showed on earlier nights is noted too, unless it is `gone`.
        """
        known = read_feeds(previous)
        kept: dict[str, Feed] = {}
        for address in self._source.feeds:
            if (url := normalise_url(address)) is None or url in kept:
                continue
            feed = known.get(url, Feed())
            feed.entries = [entry for entry in feed.entries if not gone(entry)]
            kept[url] = await self._read_feed(url, feed, fetcher, robots)
            for entry in kept[url].entries:
                self._find(entry, 0)
        if kept:
            write_json(folder / FEEDS, {url: asdict(feed) for url, feed in kept.items()})

    async def _read_sitemap(self, url: str, fetcher: Fetcher, robots: RobotsFiles) -> list[str]:
        """Note the pages of a sitemap; returns the sitemaps that it names."""
        reason = (await robots.of(url)).refusal(url)
        reply = Reply() if reason else await fetcher.get_listing(url)
        if reason := reason or _failure(reply):
            self.sitemaps[url] = reason
            return []
        try:
            kind, addresses = parse_sitemap(reply.body, self._source.max_body_bytes)
        except ListingError as error:
            self.sitemaps[url] = str(error)
            return []
        self.sitemaps[url] = f"{len(addresses)} addresses"
        if kind == "sitemapindex":
            return addresses
        for address in addresses:
            self._find(address, 0)
        return []

    async def _read_feed(self, url: str, feed: Feed, fetcher: Fetcher, robots: RobotsFiles) -> Feed:
        """The feed as of tonight; as it was before, when it cannot be read or did not change."""
        reason = (await robots.of(url)).refusal(url)
        reply = Reply() if reason else await fetcher.get_listing(url, conditions(feed.etag, feed.last_modified))
        before = f", {len(feed.entries)} addresses of earlier nights" if feed.entries else ""
        if reply.status == 304:
            self.feeds[url] = f"unchanged{before}"
            return feed
        if reason := reason or _failure(reply):
            self.feeds[url] = f"{reason}{before}"
            return feed
        try:
            found = parse_feed(reply.body, url, self._source.max_body_bytes)
        except ListingError as error:
            self.feeds[url] = f"{error}{before}"
            return feed
        self.feeds[url] = f"{len(found)} addresses{before}"
        entries = [entry for address in found if (entry := self._policy.form(address))]
        return Feed(reply.header("etag"), reply.header("last-modified"), list(dict.fromkeys([*feed.entries, *entries])))


def read_feeds(folder: Path | None) -> Mapping[str, Feed]:
    """What a night kept of its feeds, by address."""
    if folder is None or not (folder / FEEDS).exists():
        return {}
    return {url: Feed(**feed) for url, feed in json.loads((folder / FEEDS).read_text("utf-8")).items()}


def conditions(etag: str | None, last_modified: str | None) -> dict[str, str]:
    """Headers that let the server answer 304."""
    headers = {"If-None-Match": etag, "If-Modified-Since": last_modified}
    return {name: value for name, value in headers.items() if value}


def _failure(reply: Reply) -> str:
    return reply.error or ("" if reply.status == 200 else f"http {reply.status}")
