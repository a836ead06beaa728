"""The process that crawls: `python -m tasks.text.web.crawl_worker spec.json`, started by `tasks.text.web.crawl`.

A process of its own, since Twisted's reactor runs once in a process. It prints a JSON line of progress twice a second,
which is also how it notices that its parent is gone, and ends with a line that holds the counts.

Every address that is found ends in exactly one row. Addresses are visited in waves, sorted: which ones fall under a
limit on pages or depth depends on the site alone, not on which answer was first.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import lxml.etree
import scrapy
from scrapy.crawler import AsyncCrawlerProcess
from scrapy.utils.gz import gunzip
from scrapy.utils.sitemap import Sitemap

from tasks.artifacts import store
from tasks.config import WebSource
from tasks.text.charset import decode
from tasks.text.web.download import PAGE_TYPES, Fetcher, Reply, scrapy_settings
from tasks.text.web.pages import WARC, BodyReader, BodyWriter, PageRow, read_pages, write_pages
from tasks.text.web.robots import Robots
from tasks.text.web.urls import UrlPolicy, host_and_port, normalise_url, page_links

MAX_REDIRECTS = 10
MAX_SITEMAPS = 1_000
STATUS_EVERY_S = 0.5
REDIRECTS = (301, 302, 303, 307, 308)


class Crawl:
    """One crawl: what was found, what is to be visited, what became of it."""

    def __init__(self, source: WebSource, folder: Path, warc: str, previous: Path | None) -> None:
        seeds = [normalise_url(seed) or seed for seed in source.seeds]
        self.source = source
        self.policy = UrlPolicy(seeds, source.include, source.exclude)
        self.rows: dict[str, PageRow] = {}
        self.off_site: set[str] = set()
        self.sitemaps: dict[str, str] = {}  # what became of each
        self.is_finished = False
        self._folder = folder
        self._warc = warc
        self._known = readable_rows(previous)
        self._robots: dict[str, Robots] = {}
        self._found: dict[str, tuple[int, int]] = {}  # of the next wave: depth and redirects on the way
        self._pages = 0
        self._waiting = 0

    async def run(self, fetcher: Fetcher) -> None:
        """Visit everything, then write the rows."""
        self._fetcher = fetcher
        self._bodies = BodyWriter(self._folder / WARC)
        with BodyReader() as self._old_bodies:
            for seed in sorted(self.policy.seeds):
                self._find(seed, 0)
            if self.source.sitemaps:
                await self._read_sitemaps()
            while self._found:
                wave, self._found = self._found, {}
                await self._visit_wave(wave)
        self._bodies.close()
        mark_redirect_loops(self.rows)
        write_pages(self._folder, list(self.rows.values()))
        self.is_finished = True

    def progress(self) -> dict[str, int]:
        return {"done": len(self.rows) - self._waiting, "seen": len(self.rows) + len(self._found)}

    def summary(self) -> dict[str, Any]:
        """What the manifest says: rows, dropped and facts."""
        with_body = {url: row for url, row in self.rows.items() if row.warc is not None}
        fetched = [row for row in with_body.values() if row.outcome == "fetched"]
        outcomes = Counter(row.outcome for row in self.rows.values())
        names = ("fetched", "not_modified", "failed", "skipped", "redirected")
        rows = {"seen": len(self.rows)} | {name: outcomes[name] for name in names}
        rows["new"] = sum(row.url not in self._known for row in fetched)
        rows["changed"] = sum(
            row.url in self._known and self._known[row.url].body_sha256 != row.body_sha256 for row in fetched
        )
        rows["gone"] = len(self._known.keys() - with_body.keys())
        dropped = Counter(row.reason for row in self.rows.values() if row.outcome in ("failed", "skipped"))
        facts = {
            "requests": self._fetcher.requests,
            "bytes": self._fetcher.bytes,
            "off_site": len(self.off_site),
            "kept_from_before": sum(row.outcome == "failed" for row in with_body.values()),
            "sitemaps": self.sitemaps,
            "seeds": {
                seed: f"{row.outcome} {row.reason}".strip()
                for seed in sorted(self.policy.seeds)
                if (row := self.rows.get(seed))
            },
        }
        return {"rows": rows, "dropped": dict(dropped), "facts": facts}

    def _find(self, address: str, depth: int, redirects: int = 0) -> None:
        """Note an address for the next wave, unless it is known, not on the site, or no address at all."""
        url = normalise_url(address)
        if url is None or url in self.rows:
            return
        if not self.policy.is_on_site(url):
            self.off_site.add(url)
            return
        found = self._found.get(url, (depth, redirects))
        self._found[url] = (min(found[0], depth), min(found[1], redirects))

    async def _visit_wave(self, wave: dict[str, tuple[int, int]]) -> None:
        wave = {url: found for url, found in sorted(wave.items()) if url not in self.rows}
        for origin in sorted({origin_of(url) for url in wave}):
            await self._rules(origin)
        visits = []
        for url, (depth, redirects) in wave.items():
            reason = self._refusal(url, depth)
            if reason:
                self.rows[url] = PageRow(url, "skipped", reason, fetched_at=now(), depth=depth)
            else:
                self._pages += 1
                # A row for each from the start, so that a page that links to its siblings does not find them anew.
                self.rows[url] = PageRow(url, "failed", "not visited", depth=depth)
                visits.append((url, depth, redirects))
        self._waiting = len(visits)
        await self._visit_all(visits)

    async def _visit_all(self, visits: list[tuple[str, int, int]]) -> None:
        # Twice as many as may be under way: one that waits for its next try does not hold up the others.
        waiting = iter(visits)

        async def work() -> None:
            for visit in waiting:
                await self._visit(*visit)
                self._waiting -= 1

        count = min(len(visits), 2 * self.source.concurrency * len(self.policy.sites))
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(work())

    def _refusal(self, url: str, depth: int) -> str:
        if depth > self.source.max_depth:
            return f"depth over {self.source.max_depth}"
        reason = self.policy.refusal(url) or self._robots[origin_of(url)].refusal(url)
        if not reason and self._pages >= self.source.max_pages:
            return f"over {self.source.max_pages} pages"
        return reason

    async def _visit(self, url: str, depth: int, redirects: int) -> None:
        known = self._known.get(url)
        reply = await self._fetcher.get(url, conditions(known))
        row = self._judge(url, reply, known)
        row.depth = depth
        self.rows[url] = row
        if row.outcome == "redirected" and row.redirect_to is not None:
            if redirects < MAX_REDIRECTS:
                self._find(row.redirect_to, depth, redirects + 1)
            else:
                row.outcome, row.reason = "failed", f"more than {MAX_REDIRECTS} redirects"
        elif row.warc is not None:
            body = reply.body if row.outcome == "fetched" else self._old_bodies.read(row)
            self._follow(row, body)

    def _judge(self, url: str, reply: Reply, known: PageRow | None) -> PageRow:
        if reply.status == 304 and known is not None:
            return PageRow(**{**vars(known), "outcome": "not_modified", "reason": "", "status": 304})
        if reply.status in REDIRECTS:
            return self._redirected(url, reply)
        if reply.status in (200, 203) and not reply.error:
            return self._fetched(url, reply)
        reason = reply.error or f"http {reply.status}"
        if known is not None and reply.is_transient:  # a server's bad moment must not take its pages out of the corpus
            return PageRow(**{**vars(known), "outcome": "failed", "reason": reason, "status": reply.status})
        outcome = "skipped" if reason.startswith("private address") else "failed"
        return PageRow(url, outcome, reason, status=reply.status, fetched_at=now())

    def _redirected(self, url: str, reply: Reply) -> PageRow:
        row = PageRow(url, "redirected", status=reply.status, fetched_at=now())
        location = reply.header("location") or ""
        try:
            target = normalise_url(urljoin(url, location)) if location else None
        except ValueError:
            target = None
        if target is None:
            row.outcome, row.reason = "failed", f"redirect to no address: {location[:100]!r}"
        elif target == url:
            row.outcome, row.reason, row.redirect_to = "failed", "redirect loop", target
        elif not self.policy.is_on_site(target):
            row.outcome, row.reason, row.redirect_to = "skipped", "redirect off site", target
            self.off_site.add(target)
        else:
            row.redirect_to = target
        return row

    def _fetched(self, url: str, reply: Reply) -> PageRow:
        date = now()
        media = reply.media_type
        if media not in PAGE_TYPES and not (not media and reply.body.lstrip()[:1] == b"<"):
            return PageRow(url, "skipped", f"content type {media or 'unknown'}", reply.status, date)
        return PageRow(
            url,
            "fetched",
            status=reply.status,
            fetched_at=date,
            etag=reply.header("etag"),
            last_modified=reply.header("last-modified"),
            content_type=reply.header("content-type"),
            body_sha256=hashlib.sha256(reply.body).hexdigest(),
            warc=self._warc,
            warc_offset=self._bodies.write(url, reply.status, reply.headers, reply.body, date),
        )

    def _follow(self, row: PageRow, body: bytes) -> None:
        if (row.content_type or "text/html").split(";")[0].strip().lower() != "text/plain":
            for link in page_links(decode(body, row.content_type)[0], row.url):
                self._find(link, row.depth + 1)

    async def _rules(self, origin: str) -> Robots:
        if origin not in self._robots:
            reply = await self._get_with_redirects(f"{origin}/robots.txt")
            robots = Robots.from_reply(reply.status, reply.body, reply.error, self.source.user_agent)
            self._robots[origin] = robots
            self._fetcher.slow_down(host_and_port(f"{origin}/")[0], robots.delay_s)
        return self._robots[origin]

    async def _get_with_redirects(self, url: str) -> Reply:
        """Of robots.txt and sitemaps, which are read but are not pages; RFC 9309 asks for five redirects."""
        for _ in range(6):
            reply = await self._fetcher.get(url, page=False)
            target = normalise_url(urljoin(url, reply.header("location") or "")) if reply.status in REDIRECTS else None
            if target is None:
                return reply
            url = target
        return Reply(error="more than 5 redirects", lasting=True)

    async def _read_sitemaps(self) -> None:
        waiting: list[str] = []
        for origin in sorted({origin_of(seed) for seed in self.policy.seeds}):
            waiting += (await self._rules(origin)).sitemaps
        while waiting and len(self.sitemaps) < MAX_SITEMAPS:
            url = normalise_url(waiting.pop(0))
            if url is None or url in self.sitemaps or not self.policy.is_on_site(url):
                continue
            waiting += await self._read_sitemap(url)

    async def _read_sitemap(self, url: str) -> list[str]:
        """Note the pages of a sitemap; returns the sitemaps that it names."""
        if reason := (await self._rules(origin_of(url))).refusal(url):
            self.sitemaps[url] = reason
            return []
        reply = await self._get_with_redirects(url)
        if reply.error or reply.status != 200:
            self.sitemaps[url] = reply.error or f"http {reply.status}"
            return []
        try:
            kind, addresses = parse_sitemap(reply.body, self.source.max_body_bytes)
        except (lxml.etree.XMLSyntaxError, StopIteration, OSError, EOFError, ValueError) as error:
            self.sitemaps[url] = f"not a sitemap: {error!r}"[:200]
            return []
        self.sitemaps[url] = f"{len(addresses)} addresses"
        if kind == "sitemapindex":
            return addresses
        for address in addresses:
            self._find(address, 0)
        return []


def parse_sitemap(body: bytes, max_bytes: int) -> tuple[str, list[str]]:
    """Kind (`urlset` or `sitemapindex`) and addresses; a gzip file is unpacked up to `max_bytes`."""
    if body[:2] == b"\x1f\x8b":
        body = gunzip(body, max_size=max_bytes)
    sitemap = Sitemap(body)
    return sitemap.type, [entry["loc"] for entry in sitemap if entry.get("loc")]


def readable_rows(previous: Path | None) -> dict[str, PageRow]:
    """The rows of the night before whose body is still there, by URL."""
    if previous is None:
        return {}
    rows = [row for row in read_pages(previous) if row.warc is not None]
    present = {warc: (store() / warc).is_file() for warc in {str(row.warc) for row in rows}}
    return {row.url: row for row in rows if present[str(row.warc)]}


def conditions(known: PageRow | None) -> dict[str, str]:
    """Headers that let the server answer 304."""
    headers = {}
    if known is not None and known.etag:
        headers["If-None-Match"] = known.etag
    if known is not None and known.last_modified:
        headers["If-Modified-Since"] = known.last_modified
    return headers


def mark_redirect_loops(rows: dict[str, PageRow]) -> None:
    """Redirects that never arrive become failures: all of the loop, and all that lead into it."""
    for start in rows.values():
        url, passed = start.url, set[str]()
        while (row := rows.get(url)) is not None and row.redirect_to is not None:
            if url in passed:
                start.outcome, start.reason = "failed", "redirect loop"
                break
            passed.add(url)
            url = row.redirect_to


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class CrawlSpider(scrapy.Spider):
    """Scrapy's hook for the crawl: it opens the engine and keeps it open."""

    name = "crawl"
    crawl: Crawl

    async def start(self) -> AsyncIterator[Any]:
        status = asyncio.create_task(self._report())
        try:
            await self.crawl.run(Fetcher(self.crawler, self.crawl.source))
        finally:
            status.cancel()
        for nothing in list[Any]():  # Scrapy asks for a generator, and the requests went another way
            yield nothing

    async def _report(self) -> None:
        while True:
            say(self.crawl.progress())
            await asyncio.sleep(STATUS_EVERY_S)


def say(message: dict[str, Any]) -> None:
    """A line to the parent; without a parent there is nobody to crawl for."""
    try:
        print(json.dumps(message), flush=True)
    except BrokenPipeError:
        os._exit(1)


def main(arguments: Iterable[str]) -> int:
    (path,) = arguments
    spec = json.loads(Path(path).read_text("utf-8"))
    source = WebSource.model_validate(spec["source"])
    previous = Path(spec["previous"]) if spec["previous"] else None
    warnings.simplefilter("ignore")
    crawl = Crawl(source, Path(spec["folder"]), spec["warc"], previous)
    process = AsyncCrawlerProcess(scrapy_settings(source))
    process.crawl(type("BoundSpider", (CrawlSpider,), {"crawl": crawl}))
    process.start()
    if not crawl.is_finished:  # Scrapy logged why, and went on to close the engine
        return 1
    say(crawl.summary())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
