"""One crawl: what was found, what is to be visited, what became of it.

Every address that is found ends in exactly one row. Addresses are visited in waves, sorted: which ones fall under a
limit on pages or depth, or count as a trap, depends on the site alone, not on which answer was first. A crawl that goes
on after a kill walks the same way again, and takes from the journal what is stored instead of asking for it.
"""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.artifacts import ArtifactError, store
from tasks.config.web import WebSource
from tasks.text.web.discovery import Discovery, conditions
from tasks.text.web.download import Fetcher
from tasks.text.web.journal import Journal
from tasks.text.web.links import Links, page_links
from tasks.text.web.outcomes import canonical_of, drop_counts, judge, mark_redirect_loops, now
from tasks.text.web.pages import PageRow, iter_rows, write_pages
from tasks.text.web.robots import RobotsFiles
from tasks.text.web.traps import SAME_BODY, Traps
from tasks.text.web.urls import UrlPolicy, origin_of

MAX_REDIRECTS = 10
OUTCOMES = ("fetched", "not_modified", "failed", "skipped", "redirected")
GONE = (404, 410)


@dataclass(frozen=True)
class Place:
    """Where a crawl works."""

    folder: Path
    """Of the draft."""
    published: str
    """Where the folder will lie, relative to the store."""
    previous: Path | None
    """The night before."""


class Crawl:
    """What `run` found, for `summary`."""

    def __init__(self, source: WebSource, place: Place) -> None:
        self.source = source
        self.policy = UrlPolicy(source)
        self.rows: dict[str, PageRow] = {}
        self.off_site: set[str] = set()
        self._place = place
        self._discovery = Discovery(source, self.policy, self._find)
        self._known, self._gone = rows_before(place.previous)
        self._traps = Traps(source.traps)
        self._found: dict[str, tuple[int, int]] = {}  # of the next wave: depth and redirects on the way
        self._visited = 0
        self._resumed = 0
        self._cut = 0
        self._waiting = 0

    async def run(self, fetcher: Fetcher) -> None:
        """Visit everything, then write the rows.

        Raises:
            OSError: what was fetched cannot be written.
            JournalError: another crawl writes into the folder.
        """
        place, source = self._place, self.source
        self._fetcher = fetcher
        self._robots = RobotsFiles(fetcher, source.user_agent)
        identity = [source.model_dump(mode="json"), place.previous and str(place.previous)]
        self._journal = Journal(place.folder, place.published, identity, source.warc_bytes)
        for seed in sorted(self.policy.seeds):
            self._find(seed, 0)
        await self._discovery.read_sitemaps(fetcher, self._robots)
        await self._discovery.read_feeds(fetcher, self._robots, place.previous, self._gone.__contains__, place.folder)
        while self._found:
            wave, self._found = self._found, {}
            await self._visit_wave(wave)
        self._journal.close()
        mark_redirect_loops(self.rows)
        write_pages(place.folder, list(self.rows.values()))

    def progress(self) -> dict[str, int]:
        return {"done": len(self.rows) - self._waiting, "seen": len(self.rows) + len(self._found)}

    def summary(self) -> dict[str, Any]:
        """What the manifest says: rows, dropped and facts."""
        with_body = {url: row for url, row in self.rows.items() if row.warc is not None}
        fetched = [row for row in with_body.values() if row.outcome == "fetched"]
        outcomes = Counter(row.outcome for row in self.rows.values())
        rows = {"seen": len(self.rows)} | {name: outcomes[name] for name in OUTCOMES}
        rows["new"] = sum(row.url not in self._known for row in fetched)
        rows["changed"] = sum(
            row.url in self._known and self._known[row.url].body_sha256 != row.body_sha256 for row in fetched
        )
        rows["gone"] = len(self._known.keys() - with_body.keys())
        facts = {
            "requests": self._fetcher.requests,
            "bytes": self._fetcher.body_bytes,
            "tried_again": dict(sorted(self._fetcher.tried_again.items())),
            "off_site": len(self.off_site),
            "kept_from_before": sum(row.outcome == "failed" for row in with_body.values()),
            "resumed": self._resumed,
            "pages_cut_at_links": self._cut,
            "sitemaps": self._discovery.sitemaps,
            "feeds": self._discovery.feeds,
            "seeds": {
                seed: f"{row.outcome} {row.reason}".strip()
                for seed in sorted(self.policy.seeds)
                if (row := self.rows.get(seed))
            },
        }
        return {"rows": rows, "dropped": drop_counts(self.rows.values()), "facts": facts}

    def _find(self, address: str, depth: int, redirects: int = 0) -> None:
        """Note an address for the next wave, unless it is known, not on the site, or no address at all."""
        url = self.policy.form(address)
        if url is None or url in self.rows:
            return
        if not self.policy.is_on_site(url):
            self.off_site.add(url)
            return
        found = self._found.get(url, (depth, redirects))
        self._found[url] = (min(found[0], depth), min(found[1], redirects))

    async def _visit_wave(self, wave: dict[str, tuple[int, int]]) -> None:
        visits = []
        for url, (depth, redirects) in sorted(wave.items()):
            if url in self.rows:
                continue
            if reason := await self._refusal(url, depth):
                self.rows[url] = PageRow(url, "skipped", reason, fetched_at=now(), depth=depth)
            else:
                self._visited += 1
                # A row for each from the start, so that a page that links to its siblings does not find them anew.
                self.rows[url] = PageRow(url, "failed", "not visited", depth=depth)
                visits.append((url, depth, redirects))
        self._waiting = len(visits)
        await self._visit_all(visits)
        self._drop_common_bodies([url for url, _, _ in visits])

    async def _refusal(self, url: str, depth: int) -> str:
        """Why an address is not visited; "" when it is. Traps come last: they count what would else be visited."""
        if depth > self.source.max_depth:
            return f"depth over {self.source.max_depth}"
        if reason := self.policy.refusal(url):
            return reason
        if self._traps.refuses_origin(origin_of(url)):
            return "trap: many ports"
        if reason := (await self._robots.of(url)).refusal(url) or self._traps.refusal(url):
            return reason
        return f"over {self.source.max_pages} pages" if self._visited >= self.source.max_pages else ""

    async def _visit_all(self, visits: Sequence[tuple[str, int, int]]) -> None:
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

    async def _visit(self, url: str, depth: int, redirects: int) -> None:
        row, links = await self._resume(url) or await self._fetch(url)
        row.depth = depth
        self.rows[url] = row
        if row.outcome == "redirected" and row.redirect_to is not None:
            if redirects < MAX_REDIRECTS:
                self._find(row.redirect_to, depth, redirects + 1)
            else:
                row.outcome, row.reason = "failed", f"more than {MAX_REDIRECTS} redirects"
        elif row.body_sha256 is not None and not self._traps.is_common(row.body_sha256):
            for link in links.links:
                self._find(link, depth + 1)
            if row.canonical is not None:
                self._find(row.canonical, depth + 1)

    async def _resume(self, url: str) -> tuple[PageRow, Links] | None:
        """What an earlier attempt stored of the address, if anything, and if it can still be read."""
        row = self._journal.rows.pop(url, None)
        if row is None:
            return None
        await asyncio.sleep(0)  # the loop has progress to report
        try:
            links = self._links(row, self._journal.read(row)) if row.warc is not None else Links()
        except ArtifactError:  # a power cut kept the journal's line and lost the record's bytes
            return None
        self._resumed += 1
        return row, links

    async def _fetch(self, url: str) -> tuple[PageRow, Links]:
        known = self._known.get(url)
        reply = await self._fetcher.get(url, conditions(known.etag, known.last_modified) if known else None)
        row, body = judge(url, reply, known, self.policy), reply.body
        if known is not None and row.warc is not None:
            try:
                body = self._journal.read(known)
            except ArtifactError:  # the earlier night's file is damaged: without conditions, the body comes anew
                del self._known[url]
                return await self._fetch(url)
        links = self._links(row, body) if row.body_sha256 is not None else Links()
        if row.outcome == "fetched":
            row.canonical = row.canonical or canonical_of(url, links.canonical, self.policy)
            self._journal.store(row, reply.headers, body)
        elif not (row.outcome == "failed" and reply.is_transient):  # that is worth a try when the crawl goes on
            self._journal.note(row)
        return row, links

    def _links(self, row: PageRow, body: bytes) -> Links:
        if (row.content_type or "text/html").split(";")[0].strip().lower() == "text/plain":
            return Links()
        links = page_links(body, row.content_type, row.url)
        self._cut += links.are_cut
        return links

    def _drop_common_bodies(self, urls: Sequence[str]) -> None:
        """After a wave, in its order: one body under many addresses is one page, or a trap without end."""
        for url in urls:
            row = self.rows[url]
            if row.body_sha256 is not None and row.warc is not None and self._traps.count_body(row.body_sha256):
                self.rows[url] = replace(row, outcome="skipped", reason=SAME_BODY, warc=None, warc_offset=None)


def rows_before(previous: Path | None) -> tuple[dict[str, PageRow], set[str]]:
    """Of the night before, by URL: the rows whose body is still there, and the addresses that were gone."""
    known, gone, present = dict[str, PageRow](), set[str](), dict[str, bool]()
    for row in iter_rows(previous) if previous is not None else ():
        if row.status in GONE:
            gone.add(row.url)
        if row.warc is not None:
            row.warc, row.content_type = sys.intern(row.warc), row.content_type and sys.intern(row.content_type)
            if row.warc not in present:
                present[row.warc] = (store() / row.warc).is_file()
            if present[row.warc]:
                known[row.url] = row
    return known, gone
