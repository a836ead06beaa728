"""Crawl of a web site into WARC and Parquet, conditional on what the night before fetched."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bert_core.files import write_json
from tasks.artifacts import ArtifactRef, Draft, store
from tasks.config.web import WebSource
from tasks.text.web.journal import JOURNAL
from tasks.text.web.pages import BODIES, FEEDS, PAGES, iter_pages, read_body
from tasks.text.web.urls import normalise_url
from tasks.text.web.warc import WARCS

if TYPE_CHECKING:  # it runs as a process; named here so that its code counts in this stage's code hash
    from tasks.text.web import crawl_worker  # noqa: F401

__all__ = ["CrawlError", "crawl", "iter_pages", "read_body"]

LOG = "crawl.log"
SPEC = "crawl-spec.json"
SUMMARY = "crawl-summary.json"
"""What the worker counted; that it is there means that the crawl is done, and only its publication may be missing."""
SILENCE_S = 120.0  # the worker says something twice a second, whatever the site does
LOG_TAIL_BYTES = 2_000


class CrawlError(RuntimeError):
    """The crawl found no page, or its worker died."""


def crawl(
    source: WebSource, previous: ArtifactRef | None, as_of: str, out: Draft, progress: Callable[[int, int], None]
) -> None:
    """Fetch what is new or changed on the site since `previous`; every address found ends in one row of pages.parquet.

    The files' meaning is in `tasks.text.web.pages`. Pages that the site answers with 304 point into the earlier night's
    WARC. `content.parquet` alone decides the content hash: a night without news has the hash of the night before.

    A draft that an attempt before was killed in is continued: what it stored is not fetched again.

    Args:
        previous: the artifact of the night before, or None.
        as_of: the night, recorded in the facts.
        progress: called with (addresses done, addresses seen).

    Raises:
        CrawlError: no page was fetched or confirmed; says what became of the seeds and counts the reasons. Or the
            worker could not go on (a full disk) or died; says why, or has the tail of its log.
    """
    for address in (*source.seeds, *source.sitemap_urls, *source.feeds):
        if normalise_url(address) is None:
            raise CrawlError(f"{address!r}: not an http(s) address, such as https://example.com/")
    summary = _finished(out.path) or _crawl(source, previous, out, progress)
    out.volatile |= {PAGES, BODIES, FEEDS, LOG, SPEC, SUMMARY} | {path.name for path in out.path.glob(WARCS)}
    out.rows |= summary["rows"]
    out.dropped |= summary["dropped"]
    out.facts |= {"as_of": as_of, **summary["facts"]}
    if not summary["rows"]["fetched"] + summary["rows"]["not_modified"]:
        raise CrawlError(_nothing_found(out))
    write_json(out.path / SUMMARY, summary)
    (out.path / JOURNAL).unlink(missing_ok=True)


def published_path(draft: Path) -> str:
    """Where a draft will lie, relative to the store, once it is published."""
    return draft.with_name(draft.name.removesuffix(".partial")).relative_to(store()).as_posix()


def _finished(folder: Path) -> dict[str, Any] | None:
    path = folder / SUMMARY
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def _crawl(
    source: WebSource, previous: ArtifactRef | None, out: Draft, progress: Callable[[int, int], None]
) -> dict[str, Any]:
    spec = {
        "source": source.model_dump(mode="json"),
        "previous": previous and previous.path,
        "folder": str(out.path),
        "published": published_path(out.path),
    }
    (out.path / SPEC).write_text(json.dumps(spec, indent=2), "utf-8")
    return _run_worker(out.path, progress)


def _run_worker(folder: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tasks.text.web.crawl_worker", str(folder / SPEC)]
    summary: dict[str, Any] | None = None
    with (folder / LOG).open("wb") as log:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            for message in _messages(worker):
                if "done" in message:
                    progress(message["done"], message["seen"])
                elif "error" in message:
                    raise CrawlError(f"the crawl cannot go on: {message['error']}. Run it again: what is stored stays")
                else:
                    summary = message
            code = worker.wait(SILENCE_S)
        finally:
            worker.kill()  # of a worker that ended this is nothing
            worker.wait()
    if code != 0 or summary is None:
        raise CrawlError(f"the crawl worker died with status {code}; the end of its log:\n{_tail(folder / LOG)}")
    return summary


def _messages(worker: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    """The worker's lines until it closes its output."""
    assert worker.stdout is not None
    pending = b""
    while True:
        if not select.select([worker.stdout], [], [], SILENCE_S)[0]:
            raise CrawlError(
                f"the crawl worker (process {worker.pid}) said nothing for {SILENCE_S:.0f} s; it was ended"
            )
        chunk = os.read(worker.stdout.fileno(), 65_536)
        if not chunk:
            return
        *lines, pending = (pending + chunk).split(b"\n")
        yield from map(json.loads, lines)


def _tail(log: Path) -> str:
    data = log.read_bytes()[-LOG_TAIL_BYTES:]
    return data.decode("utf-8", "replace").strip() or "(the log is empty)"


def _nothing_found(out: Draft) -> str:
    starts = {**out.facts["seeds"], **out.facts["sitemaps"], **out.facts["feeds"]}
    outcomes = "; ".join(f"{start}: {outcome}" for start, outcome in starts.items())
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(out.dropped.items()))
    return (
        f"the crawl found no page. Seeds, sitemaps, feeds: {outcomes or 'none was visited'}. Addresses not used, by "
        f"reason: {reasons or 'none'}. Check the seeds, include, exclude and allow_private_hosts of the recipe"
    )
