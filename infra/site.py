"""A film-review site on loopback: real texts, real HTTP, and the troubles that real sites have.

    python -m infra.site --day 1 --port 8400

It stands in for a site of one's own. A crawler needs nothing from here but the address; everything that it must cope
with (robots.txt, sitemap, pagination, redirects and a loop of them, 404 and 410, 500 that recovers, a slow page, a
wrong charset header, conditional requests) is served as HTTP has it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import Any, TextIO

from infra.site_pages import Page, Site, build_site, read_films
from tasks.artifacts import home

DATA = "data/film-reviews/rotten_tomatoes_corpus_full.csv.bz2"
NOT_FOUND = Page(
    b"<!DOCTYPE html><html><head><title>Not found</title></head><body><h1>404: no such page</h1></body></html>",
    status=404,
)
FAILURE = Page(b"<!DOCTYPE html><html><body><h1>500: please try again</h1></body></html>", status=500)

Send = Callable[[dict[str, Any]], Awaitable[None]]
App = Callable[[dict[str, Any], Any, Send], Awaitable[None]]


def create_app(site: Site, log: TextIO | None = None) -> App:
    """The ASGI application.

    Args:
        log: gets one JSON line a request: method, path, status, and the bytes of the body that was sent.
    """
    failed: Counter[str] = Counter()

    def answer(path: str, headers: Mapping[bytes, bytes]) -> Page:
        page = site.pages.get(path, NOT_FOUND)
        if failed[path] < page.failures:
            failed[path] += 1
            return FAILURE
        return Page(status=304, date=page.date) if page.status == 200 and is_unchanged(page, headers) else page

    async def app(scope: dict[str, Any], receive: Any, send: Send) -> None:
        if scope["type"] != "http":
            return
        path = _address(scope)
        page = answer(path, dict(scope["headers"]))
        original = site.pages.get(path, page)
        await asyncio.sleep(original.delay_s)
        body = b"" if scope["method"] == "HEAD" or page.status == 304 else page.body
        await send({"type": "http.response.start", "status": page.status, "headers": _headers(page, original)})
        await send({"type": "http.response.body", "body": body})
        if log is not None:
            line = {"method": scope["method"], "path": path, "status": page.status, "bytes": len(body)}
            log.write(json.dumps(line) + "\n")
            log.flush()

    return app


def is_unchanged(page: Page, headers: Mapping[bytes, bytes]) -> bool:
    """Whether the client's copy is current. If-None-Match wins over If-Modified-Since (RFC 9110, section 13.2.2)."""
    tags = headers.get(b"if-none-match")
    if tags is not None:
        return any(tag.strip().removeprefix("W/") in ("*", page.etag) for tag in tags.decode("latin-1").split(","))
    since = headers.get(b"if-modified-since")
    if since is None:
        return False
    try:
        return parsedate_to_datetime(since.decode("latin-1")) >= parsedate_to_datetime(_http_date(page.date))
    except (ValueError, TypeError):  # an unreadable date is ignored, as the RFC asks
        return False


def _headers(page: Page, original: Page) -> list[tuple[bytes, bytes]]:
    if page.status in (200, 304):
        headers = {"etag": original.etag, "last-modified": _http_date(page.date), "cache-control": "no-cache"}
        if page.status == 200:
            headers |= {"content-type": page.content_type, "content-length": str(len(page.body))}
    else:
        headers = {"content-type": page.content_type, "content-length": str(len(page.body))}
    if page.location is not None:
        headers["location"] = page.location
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


def _address(scope: Mapping[str, Any]) -> str:
    query: bytes = scope["query_string"]
    raw: bytes = scope["raw_path"]
    return raw.decode("latin-1") + (f"?{query.decode('latin-1')}" if query else "")


def _http_date(date: str) -> str:
    return format_datetime(datetime.fromisoformat(date).replace(hour=3, tzinfo=UTC), usegmt=True)


def main(arguments: list[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    data = options.data or home() / DATA
    if not data.is_file():
        print(f"{data}: no such file; `make data` (python -m infra.data) fetches it", file=sys.stderr)
        return 1
    base = f"http://{options.host}:{options.port}"
    site = build_site(read_films(data, options.films), options.day, options.seed, base)
    print(f"{base}: day {options.day}, {site.films} films, {site.reviews} reviews", flush=True)
    log = options.log.open("a", encoding="utf-8") if options.log else None
    _serve(create_app(site, log), options.host, options.port)
    return 0


def _serve(app: App, host: str, port: int) -> None:
    import uvicorn  # only the server needs it; building pages does not

    uvicorn.run(app, host=host, port=port, log_level="warning", access_log=False, lifespan="off", ws="none")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.site",
        description="Serve real film reviews as a web site would, for trying the crawler without a network.",
        epilog="Start it with --day 1, crawl, stop it, start it with --day 2 and crawl again: only what is new or "
        "changed is fetched. Open the printed address in a browser to look around.",
    )
    parser.add_argument("--day", type=int, choices=(1, 2), default=1, help="1: about 60%% of the films; 2: all of them")
    parser.add_argument("--port", type=int, default=8400, help="default: %(default)s")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--data", type=Path, help=f"the reviews' csv.bz2 (default: {DATA} in the home folder)")
    parser.add_argument("--films", type=int, metavar="N", help="serve N films only, for a quick look or a test")
    parser.add_argument("--seed", type=int, default=2024, help="decides which films are new (default: %(default)s)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="append one JSON line a request to FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
