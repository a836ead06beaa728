"""Crawls in this process's store, for tests: quick settings, and what came out by path."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.config.web import WebSource
from tasks.text.web.crawl import crawl
from tasks.text.web.pages import Page, PageRow, iter_pages, read_pages

QUICK = {"requests_per_second": 500.0, "concurrency": 16, "retries": 0, "timeout_s": 5.0}


def source(*seeds: str, **changes: Any) -> WebSource:
    """A quick crawl that may go to the hosts and ports of its own addresses."""
    starts = (*seeds, *changes.get("sitemap_urls", ()), *changes.get("feeds", ()))
    hosts = tuple(dict.fromkeys(start.split("/")[2] for start in starts))
    return WebSource(seeds=seeds, **(QUICK | {"allow_private_hosts": hosts} | changes))


def run(web: WebSource, night: str = "night", previous: ArtifactRef | None = None) -> ArtifactRef:
    key = artifacts.stage_key("scrape", web, [previous], night)
    with artifacts.build("scrape", "site", key, config=web, resume=True) as out:
        crawl(web, previous, night, out, lambda done, seen: None)
    found = artifacts.find("scrape", "site", key)
    assert found is not None
    return found


def path_of(url: str) -> str:
    """Path and query."""
    return "/" + url.split("/", 3)[3]


def rows_of(ref: ArtifactRef) -> dict[str, PageRow]:
    return {path_of(row.url): row for row in read_pages(Path(ref.path))}


def outcomes_of(ref: ArtifactRef) -> dict[str, str]:
    return {path: f"{row.outcome} {row.reason}".strip() for path, row in rows_of(ref).items()}


def bodies_of(ref: ArtifactRef) -> dict[str, Page]:
    return {path_of(page.url): page for page in iter_pages(ref)}


def page(*links: str, head: str = "", text: str = "") -> bytes:
    """An HTML page with these links."""
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    return f"<html><head>{head}</head><body>{text}{anchors}</body></html>".encode()
