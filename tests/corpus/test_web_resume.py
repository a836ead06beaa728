"""A crawl that is killed, torn or out of disk goes on: nothing half is published, no stored page is fetched again."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest
from crawls import page, run, source
from sites import answer, bad_site
from warcio.archiveiterator import ArchiveIterator

from tasks import artifacts
from tasks.config.web import WebSource
from tasks.text.web.journal import JOURNAL, Journal, JournalError
from tasks.text.web.pages import PageRow, read_pages
from tasks.text.web.warc import WARCS

PAGES = 80
UNDER_WAY = 4
KEY = "0" * 64
SCRIPT = """
import resource, sys
from tasks import artifacts
from tasks.config.web import WebSource
from tasks.text.web.crawl import crawl
if limit := int(sys.argv[2]):
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
web = WebSource.model_validate_json(sys.argv[1])
with artifacts.build("scrape", "site", "0" * 64, config=web, resume=True) as out:
    crawl(web, None, "night", out, lambda done, seen: None)
"""


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))


class Pages:
    """A site of pages in a binary tree; it notes the bodies that it sends, and can call for help in the middle.

    From the call on it holds its answers back until `go_on`: a crawl whose parent is killed learns of it half a second
    later, in which it would fetch all that is left.
    """

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.due = sys.maxsize
        self.reached, self.may_answer = threading.Event(), threading.Event()

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/robots.txt":
            return answer(handler, 404)
        number = int(handler.path.strip("/") or 0)
        self.sent.append(handler.path)
        if len(self.sent) >= self.due:
            self.reached.set()
            self.may_answer.wait(60)
        links = [f"/{child}" for child in (2 * number + 1, 2 * number + 2) if child < PAGES]
        body = page(*links, text=f"<p>{number} {random.Random(number).random()}" * 50)
        return answer(handler, 200, body, etag=f'"{number}"')

    def call_after(self, pages: int) -> None:
        self.reached.clear()
        self.may_answer.clear()
        self.due = len(self.sent) + pages

    def go_on(self) -> None:
        self.due = sys.maxsize
        self.may_answer.set()


def attempt(web: WebSource, limit: int = 0) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, web.model_dump_json(), str(limit)], stderr=subprocess.PIPE, text=True
    )


def draft() -> Path:
    return artifacts.artifact_path("scrape", "site", KEY).with_name("site-0000000000000000.partial")


def stored() -> set[str]:
    """The paths that the draft's journal has a body of."""
    lines = (draft() / JOURNAL).read_bytes().splitlines(keepends=True)
    entries = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return {"/" + entry["row"]["url"].split("/", 3)[3] for entry in entries if "end" in entry}


def contents(folder: Path) -> list[tuple[object, ...]]:
    return [
        (row.url, row.outcome, row.reason, row.status, row.etag, row.content_type, row.body_sha256, row.depth)
        for row in read_pages(folder)
    ]


def check_warcs(folder: Path, urls: set[str] | None = None) -> None:
    """Each stored page is in exactly one whole record."""
    found: list[str] = []
    for warc in sorted(folder.glob(WARCS)):
        with warc.open("rb") as file:
            found += [r.rec_headers["WARC-Target-URI"] for r in ArchiveIterator(file) if r.rec_type == "response"]
    assert sorted(found) == sorted({row.url for row in read_pages(folder) if row.warc} if urls is None else urls)


def test_killed_at_random_points_it_goes_on_and_fetches_no_stored_page_again() -> None:
    site, point = Pages(), random.Random()
    changes = {"concurrency": UNDER_WAY, "warc_bytes": 10_000}
    moments: list[tuple[int, set[str]]] = []  # at each kill: how much the site had sent, and what of it was stored
    with bad_site(site) as base:
        web = source(f"{base}/", **changes)
        for victim in ("parent", "worker", "parent"):
            site.call_after(point.randrange(2, PAGES // 4))
            parent = attempt(web)
            assert site.reached.wait(120)
            (worker,) = psutil.Process(parent.pid).children()
            os.kill(worker.pid if victim == "worker" else parent.pid, signal.SIGKILL)
            parent.communicate(timeout=30)
            worker.wait(30)
            site.go_on()
            assert artifacts.find("scrape", "site", KEY) is None
            moments.append((len(site.sent), stored()))
            assert moments[-1][1] <= set(site.sent)
            assert len(set(site.sent) - moments[-1][1]) <= UNDER_WAY
        assert attempt(web).wait(120) == 0
        sent = list(site.sent)
        twin = Path(run(web).path)
    for position, pages in moments:
        assert pages.isdisjoint(sent[position:])
    assert set(sent) == {"/"} | {f"/{number}" for number in range(1, PAGES)}
    assert len(sent) <= PAGES + len(moments) * UNDER_WAY
    folder = artifacts.artifact_path("scrape", "site", KEY)
    assert contents(folder) == contents(twin)
    assert (folder / "content.parquet").read_bytes() == (twin / "content.parquet").read_bytes()
    check_warcs(folder)
    assert len(list(folder.glob(WARCS))) > 2
    assert artifacts.read_manifest(folder)["facts"]["resumed"] == len(moments[-1][1])
    assert not (folder / JOURNAL).exists()


def test_a_crawl_that_only_lacks_publication_is_not_begun_again() -> None:
    site = Pages()
    with bad_site(site) as base:
        web = source(f"{base}/", max_pages=3)
        folder = Path(run(web).path)
    (folder / artifacts.MANIFEST).unlink()
    folder.rename(folder.with_name(folder.name + ".partial"))
    again = run(web)  # the site is gone
    assert again.manifest["rows"]["fetched"] == 3
    assert len(site.sent) == 3


def test_a_file_that_may_not_grow_ends_the_crawl_and_the_rerun_completes_it() -> None:
    site = Pages()
    with bad_site(site) as base:
        web = source(f"{base}/", concurrency=UNDER_WAY)
        first = attempt(web, limit=20_000)
        errors = first.communicate(timeout=60)[1]
        assert first.returncode == 1
        assert "CrawlError: the crawl cannot go on: [Errno 27] File too large" in errors
        assert artifacts.find("scrape", "site", KEY) is None
        count, kept = len(site.sent), stored()
        assert 3 < len(kept) < PAGES
        assert attempt(web).wait(60) == 0
    assert kept.isdisjoint(site.sent[count:])
    folder = artifacts.artifact_path("scrape", "site", KEY)
    assert {row.outcome for row in read_pages(folder)} == {"fetched"}
    assert len(read_pages(folder)) == PAGES
    check_warcs(folder)


FULL_DISK = """
mount -t tmpfs -o size=60k none "$BERT_FOUNDRY_HOME" || exit 42
"$1" -c "$2" "$3" 0 && exit 43
mount -o remount,size=50m "$BERT_FOUNDRY_HOME" || exit 42
"$1" -c "$2" "$3" 0 || exit 44
cp -r "$BERT_FOUNDRY_HOME"/store/scrape/site-0000000000000000 "$4"
"""


def test_a_full_disk_ends_the_crawl_and_the_rerun_completes_it(tmp_path: Path) -> None:
    if not shutil.which("unshare") or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody mount a small disk")
    site = Pages()
    (tmp_path / "home").mkdir()
    with bad_site(site) as base:
        web = source(f"{base}/", concurrency=UNDER_WAY)
        command = ["unshare", "-rm", "sh", "-c", FULL_DISK, "sh", sys.executable, SCRIPT, web.model_dump_json()]
        done = subprocess.run([*command, str(tmp_path / "copy")], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "the crawl cannot go on: [Errno 28] No space left on device" in done.stderr
    assert len([row for row in read_pages(tmp_path / "copy") if row.outcome == "fetched"]) == PAGES
    assert len(site.sent) <= PAGES + 2 * UNDER_WAY
    check_warcs(tmp_path / "copy")


def journal(folder: Path, identity: object = 1, warc_bytes: int = 10**6) -> Journal:
    return Journal(folder, "scrape/x", identity, warc_bytes)


def fill(folder: Path, count: int, first: int = 0) -> None:
    opened = journal(folder)
    for number in range(first, first + count):
        row = PageRow(f"http://x/{number}", "fetched", body_sha256="", fetched_at="2026-11-22T00:00:00Z")
        opened.store(row, [("Content-Type", "text/html")], b"body %d" % number)
    opened.note(PageRow(f"http://x/none{first}", "failed", "http 404", 404))
    opened.close()


def kept_rows(folder: Path, identity: object = 1) -> list[str]:
    opened = journal(folder, identity)
    opened.close()
    return sorted(url.removeprefix("http://x/") for url in opened.rows)


def test_what_a_kill_tore_is_cut_off(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (warc,) = tmp_path.glob(WARCS)
    whole = warc.read_bytes()
    warc.write_bytes(whole + whole[: len(whole) // 2])  # a record without a line
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"row": {"url": "http://x/tor')
    (tmp_path / "crawl-00007.warc.gz").write_bytes(b"begun")
    assert kept_rows(tmp_path) == ["0", "1", "2", "none0"]
    assert warc.read_bytes() == whole
    assert not (tmp_path / "crawl-00007.warc.gz").exists()
    fill(tmp_path, 2, first=3)
    assert kept_rows(tmp_path) == ["0", "1", "2", "3", "4", "none0", "none3"]
    check_warcs(tmp_path, {f"http://x/{number}" for number in range(5)})


def test_lines_whose_record_a_power_cut_lost_are_forgotten(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    (warc,) = tmp_path.glob(WARCS)
    os.truncate(warc, warc.stat().st_size - 1)
    assert kept_rows(tmp_path) == ["0", "1", "none0"]
    check_warcs(tmp_path, {"http://x/0", "http://x/1"})


def test_what_another_crawl_left_is_discarded(tmp_path: Path) -> None:
    fill(tmp_path, 3)
    assert kept_rows(tmp_path, identity=2) == []
    check_warcs(tmp_path, set())


def test_two_crawls_never_write_into_one_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.text.web.journal.LOCK_TIMEOUT_S", 0.3)
    first = journal(tmp_path)
    with pytest.raises(JournalError, match="another crawl into this folder is still running"):
        journal(tmp_path)
    first.close()
    journal(tmp_path).close()
