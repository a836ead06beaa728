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

from tasks.artifacts import ArtifactRef, Draft, store
from tasks.config import WebSource
from tasks.text.web.pages import PAGES, WARC, iter_pages, read_body
from tasks.text.web.urls import normalise_url

if TYPE_CHECKING:  # it runs as a process; named here so that its code counts in this stage's code hash
    from tasks.text.web import crawl_worker  # noqa: F401

__all__ = ["CrawlError", "crawl", "iter_pages", "read_body"]

LOG = "crawl.log"
SPEC = "crawl-spec.json"
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

    Args:
        previous: the artifact of the night before, or None.
        as_of: the night, recorded in the facts.
        progress: called with (addresses done, addresses seen).

    Raises:
        CrawlError: no page was fetched or confirmed; says what became of the seeds and counts the reasons. Or the
            worker died; has the tail of its log.
    """
    for seed in source.seeds:
        if normalise_url(seed) is None:
            raise CrawlError(f"seed {seed!r}: not an http(s) address, such as https://example.com/")
    spec = {
        "source": source.model_dump(mode="json"),
        "previous": previous and previous.path,
        "folder": str(out.path),
        "warc": published_path(out.path, WARC),
    }
    (out.path / SPEC).write_text(json.dumps(spec, indent=2), "utf-8")
    out.volatile |= {PAGES, WARC, LOG, SPEC}
    summary = _run_worker(out.path, progress)
    out.rows |= summary["rows"]
    out.dropped |= summary["dropped"]
    out.facts |= {"as_of": as_of, **summary["facts"]}
    if not summary["rows"]["fetched"] + summary["rows"]["not_modified"]:
        raise CrawlError(_nothing_found(out))


def published_path(draft: Path, file: str) -> str:
    """Where a file of a draft will lie, relative to the store, once the draft is published."""
    return (draft.with_name(draft.name.removesuffix(".partial")) / file).relative_to(store()).as_posix()


def _run_worker(folder: Path, progress: Callable[[int, int], None]) -> dict[str, Any]:
    command = [sys.executable, "-m", "tasks.text.web.crawl_worker", str(folder / SPEC)]
    summary: dict[str, Any] | None = None
    with (folder / LOG).open("wb") as log:
        worker = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log)
        try:
            for message in _messages(worker):
                if "done" in message:
                    progress(message["done"], message["seen"])
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
    seeds = "; ".join(f"{seed}: {outcome}" for seed, outcome in out.facts["seeds"].items())
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(out.dropped.items()))
    return (
        f"the crawl found no page. Seeds: {seeds or 'none was visited'}. Addresses not used, by reason: "
        f"{reasons or 'none'}. Check the seeds, include, exclude and allow_private_hosts of the recipe"
    )
