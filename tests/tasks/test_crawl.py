import gzip
import hashlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest
from sites import answer, bad_site, free_port, review_site

from tasks import artifacts
from tasks.artifacts import ArtifactError, ArtifactRef
from tasks.config import WebSource
from tasks.text.web.crawl import CrawlError, crawl
from tasks.text.web.download import backoff_s
from tasks.text.web.pages import Page, PageRow, iter_pages, read_body, read_pages

FILMS = 40


@pytest.fixture(autouse=True, scope="module")
def _store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BERT_FOUNDRY_HOME", str(tmp_path_factory.mktemp("home")))
        yield


def source(*seeds: str, **changes: Any) -> WebSource:
    hosts = tuple(seed.split("/")[2] for seed in seeds)
    quick = {"requests_per_second": 500.0, "concurrency": 16, "allow_private_hosts": hosts, "retries": 2}
    return WebSource(seeds=seeds, **(quick | changes))


def run(web: WebSource, night: str, previous: ArtifactRef | None = None) -> ArtifactRef:
    key = artifacts.stage_key("scrape", web, [previous], night)
    calls: list[tuple[int, int]] = []
    with artifacts.build("scrape", "site", key, config=web) as out:
        crawl(web, previous, night, out, lambda done, seen: calls.append((done, seen)))
    assert calls
    assert all(done <= seen for done, seen in calls)
    found = artifacts.find("scrape", "site", key)
    assert found is not None
    return found


def rows_of(ref: ArtifactRef) -> dict[str, PageRow]:
    """By path and query."""
    return {"/" + row.url.split("/", 3)[3]: row for row in read_pages(Path(ref.path))}


def bodies_of(ref: ArtifactRef) -> dict[str, Page]:
    return {"/" + page.url.split("/", 3)[3]: page for page in iter_pages(ref)}


@dataclass
class Night:
    ref: ArtifactRef
    requests: list[dict[str, Any]]

    @property
    def rows(self) -> dict[str, PageRow]:
        return rows_of(self.ref)


@pytest.fixture(scope="module")
def nights(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Night]:
    """Day 1, the same day again, and day 2 of the review site, each crawled after the one before."""
    port, log = free_port(), tmp_path_factory.mktemp("site") / "requests.jsonl"
    web = source(f"http://127.0.0.1:{port}/")
    result: list[Night] = []
    for number, day in enumerate((1, 1, 2)):
        with review_site(day, port, data_folder, log, FILMS) as site:
            ref = run(web, f"night {number}", result[-1].ref if result else None)
            result.append(Night(ref, site.requests()))
    return result


def test_every_address_ends_in_one_row_and_all_are_counted(nights: list[Night]) -> None:
    for night in nights:
        rows, manifest = list(night.rows.values()), night.ref.manifest
        assert [row.url for row in rows] == sorted({row.url for row in rows})
        counts = Counter(row.outcome for row in rows)
        outcomes = ("fetched", "not_modified", "failed", "skipped", "redirected")
        assert manifest["rows"]["seen"] == len(rows) == sum(manifest["rows"][name] for name in outcomes)
        assert {name: manifest["rows"][name] for name in outcomes} == {name: counts[name] for name in outcomes}
        assert sum(manifest["dropped"].values()) == counts["failed"] + counts["skipped"]
        assert manifest["facts"]["as_of"].startswith("night")
        assert manifest["facts"]["off_site"] == 1
        assert all((row.outcome in outcomes and row.outcome != "fetched") or row.reason == "" for row in rows)


def test_each_trouble_of_the_site_has_its_reason(nights: list[Night]) -> None:
    rows = nights[0].rows
    reasons = {path: (rows[path].outcome, rows[path].reason) for path in ("/press", "/archive", "/today", "/tonight")}
    assert reasons == {
        "/press": ("failed", "http 404"),
        "/archive": ("failed", "http 410"),
        "/today": ("failed", "redirect loop"),
        "/tonight": ("failed", "redirect loop"),
    }
    assert (rows["/private/"].outcome, rows["/private/"].reason) == ("skipped", "robots.txt")
    assert (rows["/logo.svg"].outcome, rows["/logo.svg"].reason) == ("skipped", "content type image/svg+xml")
    assert rows["/statistics"].outcome == "fetched"
    moved = [row for path, row in rows.items() if path.startswith("/movie/")]
    assert moved
    for row in moved:
        assert (row.outcome, row.status, row.redirect_to) == ("redirected", 301, row.url.replace("/movie/", "/film/"))
        assert rows["/film/" + row.url.split("/movie/")[1]].outcome == "fetched"


def test_disallowed_pages_are_never_requested(nights: list[Night]) -> None:
    for night in nights:
        assert [line for line in night.requests if line["path"].startswith("/private")] == []


def test_a_server_error_is_tried_again(nights: list[Night]) -> None:
    answers: dict[str, list[int]] = {}
    for line in nights[0].requests:
        answers.setdefault(line["path"], []).append(line["status"])
    recovered = {path: statuses for path, statuses in answers.items() if 500 in statuses}
    assert sorted(map(len, recovered.values())) in ([2, 2, 3], [2, 2], [2, 3])  # one may also be the charset page
    for path, statuses in recovered.items():
        assert statuses == [500] * (len(statuses) - 1) + [200]
        assert nights[0].rows[path].outcome == "fetched"
    tried = nights[0].ref.manifest["facts"]["tried_again"]
    assert tried["http 500"] == sum(statuses.count(500) for statuses in recovered.values())
    # An answer can be lost on a machine that stalls for longer than the timeout: what the crawler counted, and no more.
    lost = sum(count for reason, count in tried.items() if reason != "http 500")
    assert sum(len(statuses) - 1 for path, statuses in answers.items() if path not in recovered) <= lost


def test_bodies_are_the_server_s_bytes(nights: list[Night]) -> None:
    sizes = {line["path"]: line["bytes"] for line in nights[0].requests if line["status"] == 200}
    rows, pages = nights[0].rows, bodies_of(nights[0].ref)
    assert pages.keys() == {path for path, row in rows.items() if row.outcome == "fetched"}
    for path, page in pages.items():
        assert len(page.body) == sizes[path]
        assert hashlib.sha256(page.body).hexdigest() == rows[path].body_sha256
    wrong = [path for path, row in rows.items() if row.content_type == "text/html; charset=iso-8859-1"]
    assert len(wrong) == 1
    body = pages[wrong[0]].body
    assert not body.isascii()
    assert 'charset="utf-8"' in body.decode("utf-8")
    assert read_body(rows[wrong[0]]) == ("text/html; charset=iso-8859-1", body)


def test_the_same_day_again_transfers_nothing_and_is_the_same_content(nights: list[Night]) -> None:
    first, again = nights[0], nights[1]
    assert again.ref.content == first.ref.content
    assert again.ref.path != first.ref.path
    counts = again.ref.manifest["rows"]
    assert (counts["fetched"], counts["new"], counts["changed"], counts["gone"]) == (0, 0, 0, 0)
    assert counts["not_modified"] == first.ref.manifest["rows"]["fetched"]
    films = [line for line in again.requests if line["path"].startswith("/film/") and line["status"] != 500]
    assert {(line["status"], line["bytes"]) for line in films} == {(304, 0)}
    assert {path: page.body for path, page in bodies_of(again.ref).items()} == {
        path: page.body for path, page in bodies_of(first.ref).items()
    }
    for path, row in again.rows.items():
        if row.outcome == "not_modified":
            assert (row.fetched_at, row.warc) == (first.rows[path].fetched_at, first.rows[path].warc)


def test_day_two_fetches_what_is_new_or_changed_and_nothing_else(nights: list[Night]) -> None:
    before, after = nights[1], nights[2]
    old, new = before.rows, after.rows
    counts = after.ref.manifest["rows"]
    same = {path for path, row in new.items() if row.outcome == "not_modified"}
    fetched = {path for path, row in new.items() if row.outcome == "fetched"}
    known = {path for path, row in old.items() if row.warc}
    assert counts["new"] == len(fetched - known) > 5
    assert counts["changed"] == len(fetched & known) > 2
    assert all(new[path].body_sha256 != old[path].body_sha256 for path in fetched & known)
    assert all(new[path].body_sha256 == old[path].body_sha256 for path in same)
    assert sum(path.startswith("/film/") for path in same) > 10
    assert sum(path.startswith("/film/") for path in same | fetched) == FILMS
    assert counts["gone"] == len(known - same - fetched)
    assert after.ref.content != before.ref.content
    sent = {line["path"] for line in after.requests if line["status"] == 200}
    assert sent == fetched | {"/robots.txt", "/sitemap.xml", "/logo.svg"}


def test_a_changed_body_in_a_warc_is_noticed(nights: list[Night]) -> None:
    rows = nights[0].rows
    with pytest.raises(ArtifactError, match="is not the one that was fetched"):
        read_body(replace(rows["/"], warc_offset=rows["/about"].warc_offset))
    torn = artifacts.store() / "scrape" / "torn.warc.gz"
    torn.write_bytes((artifacts.store() / str(rows["/"].warc)).read_bytes()[: (rows["/"].warc_offset or 0) + 600])
    with pytest.raises(ArtifactError, match=r"not a readable record|is not the one that was fetched"):
        read_body(replace(rows["/"], warc="scrape/torn.warc.gz"))
    with pytest.raises(ArtifactError, match="is missing"):
        read_body(replace(rows["/"], warc="scrape/none/crawl.warc.gz"))


def page(*links: str) -> bytes:
    return ("<html><body>" + "".join(f'<a href="{link}">x</a>' for link in links) + "</body></html>").encode()


def hostile(handler: BaseHTTPRequestHandler) -> None:
    path = handler.path
    names = (
        "/big",
        "/bomb",
        "/short",
        "/slow",
        "/hop/0",
        "/away",
        "/in",
        "/busy",
        "/down",
        "/nowhere",
        "/skip/me",
        "/drop",
    )
    if path == "/":
        answer(handler, 200, page(*names, "/a/b/../c?b=2&a=1#f", "/a/c?a=1&b=2", "http://user:pw@host/", "mailto:x@y"))
    elif path == "/big":
        answer(handler, 200, b"x" * 60_000)
    elif path == "/bomb":
        answer(handler, 200, gzip.compress(b"y" * 5_000_000), content_encoding="gzip")
    elif path == "/short":
        answer(handler, 200, b"<p>cut", content_length="1000")
        handler.close_connection = True
    elif path == "/slow":
        time.sleep(5)
    elif path.startswith("/hop/"):
        answer(handler, 302, location=f"/hop/{int(path[5:]) + 1}")
    elif path == "/away":
        answer(handler, 302, location="http://192.168.0.1/admin")
    elif path == "/in":  # the same host, another port: allowed by no one
        answer(handler, 302, location="http://127.0.0.1:1/admin")
    elif path == "/busy":
        busy = handler.server.__dict__.setdefault("busy", iter([429]))
        answer(handler, next(busy, 200), page(), retry_after="1")
    elif path == "/down":
        answer(handler, 503)
    elif path == "/nowhere":
        answer(handler, 302, location="javascript:alert(1)")
    elif path == "/drop":
        handler.connection.shutdown(socket.SHUT_RDWR)
    else:
        answer(handler, 200 if path == "/a/c?a=1&b=2" else 404, page())


def test_what_a_hostile_server_does_is_bounded_and_named() -> None:
    with bad_site(hostile) as base:
        web = source(f"{base}/", max_body_bytes=50_000, timeout_s=2.0, retries=1, exclude=("/skip/",))
        ref = run(web, "hostile")
    rows = rows_of(ref)
    outcomes = {path: f"{row.outcome} {row.reason}".strip() for path, row in rows.items()}
    assert outcomes.pop("/admin") == "skipped private address 127.0.0.1"
    for hop in range(10):
        assert outcomes.pop(f"/hop/{hop}") == "redirected"
    assert outcomes == {
        "/": "fetched",
        "/a/c?a=1&b=2": "fetched",
        "/away": "skipped redirect off site",
        "/big": "failed body over 50000 bytes",
        "/bomb": "failed body over 50000 bytes",
        "/busy": "fetched",
        "/down": "failed http 503",
        "/drop": "failed connection failed",
        "/hop/10": "failed more than 10 redirects",
        "/in": "redirected",
        "/nowhere": "failed redirect to no address",
        "/short": "failed body cut short",
        "/skip/me": "skipped excluded",
        "/slow": "failed timeout",
    }
    assert rows["/away"].redirect_to == "http://192.168.0.1/admin"
    tried = ref.manifest["facts"]["tried_again"]
    assert tried.pop("timeout") >= 1
    assert tried == {"body cut short": 1, "connection failed": 1, "http 429": 1, "http 503": 1}


def test_limits_on_pages_depth_and_patterns() -> None:
    def chain(handler: BaseHTTPRequestHandler) -> None:
        number = int(handler.path.strip("/") or 0) if handler.path != "/robots.txt" else -1
        answer(handler, 404 if number < 0 else 200, page(f"/{2 * number + 1}", f"/{2 * number + 2}"))

    with bad_site(chain) as base:
        few = run(source(f"{base}/", max_pages=4), "few")
        shallow = run(source(f"{base}/", max_depth=1), "shallow")
        some = run(source(f"{base}/", include=("/[1-5]$",)), "some")
    assert [path for path, row in rows_of(few).items() if row.outcome == "fetched"] == ["/", "/1", "/2", "/3"]
    assert few.manifest["dropped"] == {"over 4 pages": 5}
    assert shallow.manifest["dropped"] == {"depth over 1": 4}
    assert [path for path, row in rows_of(some).items() if row.outcome == "fetched"] == [
        "/",
        *(f"/{n}" for n in range(1, 6)),
    ]
    assert set(some.manifest["dropped"]) == {"not included"}


def test_a_bad_moment_of_the_server_keeps_known_pages_and_a_removed_page_is_gone() -> None:
    night = 1

    def routes(handler: BaseHTTPRequestHandler) -> None:
        statuses = {"/": 200, "/shaky": 200 if night == 1 else 503, "/removed": 200 if night == 1 else 404}
        answer(handler, statuses.get(handler.path, 404), page("/shaky", "/removed"))

    with bad_site(routes) as base:
        first = run(source(f"{base}/", retries=0), "before")
        night = 2
        second = run(source(f"{base}/", retries=0), "after", first)
    shaky = rows_of(second)["/shaky"]
    assert (shaky.outcome, shaky.reason, shaky.warc) == ("failed", "http 503", rows_of(first)["/shaky"].warc)
    assert bodies_of(second).keys() == {"/", "/shaky"}
    assert second.manifest["rows"]["gone"] == 1
    assert second.manifest["facts"]["kept_from_before"] == 1
    assert pq.read_table(second / "content.parquet").num_rows == 2


@pytest.mark.parametrize(("status", "reason"), [(503, r"robots\.txt unreachable \(503\)"), (404, None)])
def test_robots_that_fails_closes_the_site_and_one_that_is_absent_opens_it(status: int, reason: str | None) -> None:
    def routes(handler: BaseHTTPRequestHandler) -> None:
        answer(handler, status if handler.path == "/robots.txt" else 200, page())

    with bad_site(routes) as base:
        if reason is None:
            assert run(source(f"{base}/"), "open").manifest["rows"]["fetched"] == 1
        else:
            with pytest.raises(CrawlError, match=reason):
                run(source(f"{base}/", retries=0), "closed")


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_private_address_needs_permission(host: str) -> None:
    requests: list[str] = []

    def routes(handler: BaseHTTPRequestHandler) -> None:
        requests.append(handler.path)
        answer(handler, 200, page())

    with bad_site(routes) as base:
        seed = base.replace("127.0.0.1", host) + "/"
        with pytest.raises(CrawlError, match=r"skipped private address (127\.0\.0\.1|::1)"):
            run(source(seed, allow_private_hosts=("127.0.0.1:1",)), "private")
    assert requests == []
    assert not list(artifacts.store().glob("scrape/site-*/manifest.json.*"))


def test_a_crawl_of_nothing_says_what_happened_to_the_seeds_and_publishes_nothing() -> None:
    port = free_port()
    web = source(f"http://127.0.0.1:{port}/", retries=0)
    with pytest.raises(CrawlError, match=r"connection refused.*Check the seeds"):
        run(web, "nobody")
    assert artifacts.find("scrape", "site", artifacts.stage_key("scrape", web, [None], "nobody")) is None
    with pytest.raises(CrawlError, match=r"'ftp://x/': not an http"):
        run(source("ftp://x/"), "ftp")


def test_a_certificate_that_nobody_signed_is_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)

    def secure(plain: socket.socket) -> socket.socket:
        return context.wrap_socket(plain, server_side=True)

    with (
        bad_site(lambda handler: answer(handler, 200, page()), wrap=secure) as base,
        pytest.raises(CrawlError, match="tls not verified"),
    ):
        run(source(f"{base}/"), "tls")


SLOW_CRAWL = """
import sys, json
from tasks import artifacts
from tasks.config import WebSource
from tasks.text.web.crawl import crawl
web = WebSource.model_validate_json(sys.argv[1])
with artifacts.build("scrape", "slow", "0" * 64, config=web) as out:
    crawl(web, None, "night", out, lambda done, seen: print(done, flush=True))
"""


def endless(handler: BaseHTTPRequestHandler) -> None:
    if handler.path == "/robots.txt":
        answer(handler, 404)
    else:
        answer(handler, 200, page(f"/{int(handler.path.strip('/') or 0) + 1}"))


@pytest.mark.parametrize("victim", ["worker", "parent"])
def test_a_killed_process_publishes_nothing_and_leaves_none_behind(victim: str) -> None:
    with bad_site(endless) as base:
        web = source(f"{base}/", requests_per_second=20.0)
        command = [sys.executable, "-c", SLOW_CRAWL, json.dumps(web.model_dump(mode="json"))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
            assert parent.stdout is not None
            while int(parent.stdout.readline()) < 5:
                pass
            (worker,) = psutil.Process(parent.pid).children()
            os.kill(worker.pid if victim == "worker" else parent.pid, signal.SIGKILL)
            _, errors = parent.communicate(timeout=20)
        assert psutil.wait_procs([worker], timeout=10)[1] == []
    if victim == "worker":
        assert "CrawlError: the crawl worker died with status -9" in errors
    assert artifacts.find("scrape", "slow", "0" * 64) is None


def test_waiting_times_are_the_server_s_or_double_each_time() -> None:
    assert [backoff_s(attempt, None) for attempt in (0, 1, 2, 10)] == [0.5, 1.0, 2.0, 30.0]
    assert backoff_s(0, "7") == 7.0
    assert backoff_s(0, "99999") == 120.0
    assert backoff_s(3, "soon") == 4.0
    assert backoff_s(0, "Mon, 01 Jan 2001 00:00:00 GMT") == 0.0
