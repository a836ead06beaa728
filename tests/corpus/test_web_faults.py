"""Servers that lie, stall, flood and explode: every one has its reason, in bounded time and memory."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import brotli
import psutil
import pytest
from backports import zstd
from crawls import bodies_of, outcomes_of, page, rows_of, run, source
from sites import answer, bad_site

from tasks.config.web import TrapLimits
from tasks.text.web.decoding import BodyError, decode_body
from tasks.text.web.download import Reply
from tasks.text.web.outcomes import drop_counts, judge
from tasks.text.web.pages import PageRow
from tasks.text.web.urls import UrlPolicy

LIMIT = 100_000
ZEROS = bytes(300_000_000)
"""What a bomb unpacks to: three thousand times the limit, and more memory than the worker is allowed below."""
FLOOD_S = 20.0
PAGE = page("/linked", text="<p>" + "text of some length " * 100)


@pytest.fixture(autouse=True)
def _store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))


def zipped(data: bytes) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return packer.compress(data) + packer.flush()


def with_window(log: int) -> bytes:
    """A frame that asks for a window of 2**log bytes to be kept."""
    packer = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: log})
    return packer.compress(PAGE) + packer.flush()  # in two steps: a frame whose length is known asks for no more


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


ENCODED: dict[str, tuple[str, Callable[[], bytes], str]] = {
    "/gzip": ("gzip", lambda: gzip.compress(PAGE), "fetched"),
    "/gzip-members": ("x-gzip", lambda: gzip.compress(PAGE[:50]) + gzip.compress(PAGE[50:]), "fetched"),
    "/gzip-and-garbage": ("gzip", lambda: gzip.compress(PAGE) + b"\0\0\0", "fetched"),
    "/deflate": ("deflate", lambda: zlib.compress(PAGE), "fetched"),
    "/raw-deflate": ("deflate", lambda: raw_deflate(PAGE), "fetched"),
    "/brotli": ("br", lambda: brotli.compress(PAGE), "fetched"),
    "/zstd": ("zstd", lambda: zstd.compress(PAGE), "fetched"),
    "/zstd-frames": ("zstd", lambda: zstd.compress(PAGE[:50]) + zstd.compress(PAGE[50:]), "fetched"),
    "/nested": ("gzip, br", lambda: brotli.compress(gzip.compress(PAGE)), "fetched"),
    "/identity": ("identity", lambda: PAGE, "fetched"),
    "/gzip-bomb": ("gzip", lambda: zipped(ZEROS)[: LIMIT - 1], f"failed body over {LIMIT} bytes"),
    "/brotli-bomb": ("br", lambda: brotli.compress(ZEROS, quality=1), f"failed body over {LIMIT} bytes"),
    "/zstd-bomb": ("zstd", lambda: zstd.compress(ZEROS, 1), f"failed body over {LIMIT} bytes"),
    "/nested-bomb": ("gzip, gzip", lambda: gzip.compress(zipped(ZEROS)), f"failed body over {LIMIT} bytes"),
    "/inner-bomb": ("zstd, br", lambda: brotli.compress(zstd.compress(ZEROS, 1)), f"failed body over {LIMIT} bytes"),
    "/gzip-cut": ("gzip", lambda: gzip.compress(PAGE)[:-20], "failed body cut short"),
    "/brotli-cut": ("br", lambda: brotli.compress(PAGE)[:-5], "failed body cut short"),
    "/zstd-cut": ("zstd", lambda: zstd.compress(PAGE)[:-5], "failed body cut short"),
    "/gzip-wrong-sum": ("gzip", lambda: gzip.compress(PAGE)[:-8] + bytes(8), "failed body damaged (gzip)"),
    "/not-gzip": ("gzip", lambda: PAGE, "failed body damaged (gzip)"),
    "/not-brotli": ("br", lambda: b"\xff" * 100, "failed body damaged (br)"),
    "/not-zstd": ("zstd", lambda: PAGE, "failed body damaged (zstd)"),
    "/zstd-window": ("zstd", lambda: with_window(27), "failed body damaged (zstd)"),
    "/unknown": ("compress", lambda: PAGE, "failed content encoding not known"),
    "/layers": ("gzip, gzip, gzip, gzip", lambda: PAGE, "failed more than 3 content encodings"),
}


def encoded(handler: BaseHTTPRequestHandler, bodies: dict[str, bytes]) -> None:
    if handler.path in bodies:
        answer(handler, 200, bodies[handler.path], content_encoding=ENCODED[handler.path][0])
    else:
        answer(handler, 200 if handler.path == "/" else 404, page(*bodies))


@contextmanager
def worker_memory() -> Iterator[list[int]]:
    """The largest resident sizes, in bytes, that the kernel had seen of the crawl's worker whenever it was asked.

    Not `ru_maxrss` of the children: that of a process that was started counts its parent's memory too, from between the
    fork and the exec.
    """
    seen: list[int] = []
    over = threading.Event()

    def watch() -> None:
        while not over.wait(0.01):
            for child in psutil.Process().children():
                with suppress(psutil.Error, OSError):
                    if "tasks.text.web.crawl_worker" in child.cmdline():
                        status = Path(f"/proc/{child.pid}/status").read_text()
                        seen.extend(int(line.split()[1]) * 1024 for line in status.splitlines() if "VmHWM" in line)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield seen
    finally:
        over.set()
        watcher.join()


def test_encodings_are_undone_within_the_limit_or_have_their_reason() -> None:
    bodies = {path: make() for path, (_, make, _) in ENCODED.items()}
    with bad_site(partial(encoded, bodies=bodies)) as base, worker_memory() as memory:
        ref = run(source(f"{base}/", max_body_bytes=LIMIT))
    outcomes = outcomes_of(ref)
    assert outcomes.pop("/linked") == "failed http 404"
    assert outcomes == {"/": "fetched", **{path: outcome for path, (_, _, outcome) in ENCODED.items()}}
    pages = bodies_of(ref)
    assert {path for path, found in pages.items() if found.body == PAGE} == outcomes.keys() - {"/"} & {
        path for path, outcome in outcomes.items() if outcome == "fetched"
    }
    assert len(memory) > 10
    assert max(memory) < len(ZEROS)


def test_the_head_of_a_compressed_body_is_enough_where_only_that_is_asked_for() -> None:
    whole = b"User-agent: *\nDisallow: /x\n" * 10_000
    for encoding, packed in {
        "gzip": gzip.compress(whole),
        "br": brotli.compress(whole),
        "zstd": zstd.compress(whole),
    }.items():
        assert decode_body(packed, [encoding], 1_000, cut=True) == whole[:1_000]
        assert whole.startswith(decode_body(packed[:60], [encoding], 1_000, cut=True))
    with pytest.raises(BodyError, match="over 1000 bytes"):
        decode_body(gzip.compress(whole), ["gzip"], 1_000)


def send(handler: BaseHTTPRequestHandler, *lines: str) -> None:
    handler.wfile.write("\r\n".join((*lines, "", "")).encode("latin-1"))


def until_it_hangs_up(step: Callable[[], object], pause_s: float = 0.0) -> None:
    deadline = time.monotonic() + FLOOD_S
    with suppress(OSError):
        while time.monotonic() < deadline:
            step()
            time.sleep(pause_s)


HTML = ("HTTP/1.1 200 OK", "content-type: text/html")
NAMED = {
    "/endless": f"failed body over {LIMIT} bytes",
    "/endless-chunks": f"failed body over {LIMIT} bytes",
    "/announced": f"failed body over {LIMIT} bytes",
    "/drip": "failed timeout",
    "/header-drip": "failed timeout",
    "/header-flood": "failed too many headers",
    "/long-header": "failed too many headers",
    "/hundreds": "failed too many headers",
    "/silence": "failed timeout",
    "/hang-up": "failed connection failed",
    "/short": "failed body cut short",
    "/short-chunks": "failed body cut short",
    "/long": "fetched",
    "/no-length": "fetched",
    "/two-lengths": "failed not HTTP",
    "/negative-length": "failed not HTTP",
    "/no-number": "failed not HTTP",
    "/bad-chunks": "failed body cut short",
    "/http-0.9": "failed not HTTP",
    "/status-999": "failed no HTTP status",
    "/status-99999": "failed no HTTP status",
    "/status-teapot": "failed not HTTP",
    "/no-colon": "fetched",
    "/nuls": "fetched",
    "/wrong-charset": "fetched",
    "/unknown-charset": "fetched",
    "/empty": "fetched",
    "/deep": "fetched",
    "/far-line": "fetched",
    "/loop": "failed redirect loop",
    "/loop/a": "failed redirect loop",
    "/loop/b": "failed redirect loop",
    "/type": "skipped content type unknown",
    "/no-type": "skipped content type unknown",
    "/location": "failed redirect to no address",
    "/no-location": "failed redirect to no address",
    "/session": "failed redirect to itself with a session id",
}


def faulty(handler: BaseHTTPRequestHandler) -> None:
    path = handler.path
    handler.close_connection = True
    write = handler.wfile.write
    if path == "/":
        answer(handler, 200, page(*NAMED, "/half-headers"))
    elif path == "/endless":
        send(handler, *HTML)
        until_it_hangs_up(lambda: write(b"x" * 10_000))
    elif path == "/endless-chunks":
        send(handler, *HTML, "transfer-encoding: chunked")
        until_it_hangs_up(lambda: write(b"3e8\r\n" + b"x" * 1_000 + b"\r\n"))
    elif path == "/announced":
        answer(handler, 200, b"x", content_length="99999999999")
    elif path == "/drip":
        send(handler, *HTML, "content-length: 1000")
        until_it_hangs_up(lambda: write(b"x"), 0.1)
    elif path == "/header-drip":
        write(b"HTTP/1.1 200 OK\r\n")
        until_it_hangs_up(lambda: write(b"x: y\r\n"), 0.1)
    elif path == "/header-flood":
        write(b"HTTP/1.1 200 OK\r\n")
        until_it_hangs_up(lambda: write(b"x: y\r\n" * 1_000))
    elif path == "/long-header":
        write(b"HTTP/1.1 200 OK\r\nx: ")
        until_it_hangs_up(lambda: write(b"y" * 10_000))
    elif path == "/hundreds":
        until_it_hangs_up(lambda: write(b"HTTP/1.1 100 Continue\r\n\r\n" * 1_000))
    elif path == "/silence":
        until_it_hangs_up(lambda: None if handler.rfile.read(1) else write(b"x" * 10_000_000))
    elif path == "/half-headers":
        write(b"HTTP/1.1 200 OK\r\ncontent-ty")
    elif path == "/short":
        answer(handler, 200, PAGE, content_length=str(len(PAGE) + 1))
    elif path == "/short-chunks":
        send(handler, *HTML, "transfer-encoding: chunked")
        write(b"ff\r\n<p>")
    elif path == "/long":
        answer(handler, 200, PAGE + b"HTTP/1.1 200 OK\r\n\r\nsmuggled", content_length=str(len(PAGE)))
    elif path == "/no-length":
        send(handler, *HTML)
        write(PAGE)
    elif path == "/two-lengths":
        send(handler, *HTML, "content-length: 3", "content-length: 5")
        write(b"<p>xx")
    elif path == "/negative-length":
        send(handler, *HTML, "content-length: -5")
        write(b"<p>xx")
    elif path == "/no-number":
        send(handler, *HTML, "content-length: many")
        write(b"<p>xx")
    elif path == "/bad-chunks":
        send(handler, *HTML, "transfer-encoding: chunked")
        write(b"zz\r\n<p>\r\n0\r\n\r\n")
    elif path == "/http-0.9":
        write(PAGE + b"\n")
    elif path.startswith("/status-"):
        send(handler, f"HTTP/1.1 {path[8:]} Yes", "content-length: 0")
    elif path == "/no-colon":
        send(handler, *HTML, "what is this", f"content-length: {len(PAGE)}")
        write(PAGE)
    elif path == "/nuls":
        answer(handler, 200, b"\x00<p>\x00" + PAGE)
    elif path == "/wrong-charset":
        answer(handler, 200, "<p>Größe".encode("latin-1"), content_type="text/html; charset=utf-8")
    elif path == "/unknown-charset":
        answer(handler, 200, "<p>Größe".encode("latin-1"), content_type="text/html; charset=klingon")
    elif path == "/empty":
        answer(handler, 200, b"")
    elif path == "/deep":
        answer(handler, 200, b"<i>" * 10_000 + b"<a href=/linked>x</a>")
    elif path == "/far-line":
        answer(handler, 200, b"<p>" + b"x" * 90_000)
    elif path.startswith("/loop"):
        answer(handler, 301, location="/loop/b" if path == "/loop/a" else "/loop/a")
    elif path == "/type":
        answer(handler, 200, b"x", content_type=f"text/{'x' * 100}")
    elif path == "/no-type":
        send(handler, "HTTP/1.1 200 OK", "content-length: 3")
        write(b"GIF")
    elif path == "/location":
        answer(handler, 302, location="http://[")
    elif path == "/no-location":
        answer(handler, 302)
    elif path.startswith("/session"):
        answer(handler, 302, location="/session;jsessionid=0123456789")
    elif path != "/hang-up":
        answer(handler, 404)


def test_what_a_faulty_server_sends_has_its_reason_in_bounded_time() -> None:
    with bad_site(faulty) as base:
        started = time.monotonic()
        ref = run(source(f"{base}/", max_body_bytes=LIMIT, timeout_s=1.5, concurrency=64))
        took = time.monotonic() - started
    outcomes = outcomes_of(ref)
    assert outcomes.pop("/linked") == "failed http 404"
    assert outcomes.pop("/half-headers") in ("failed connection failed", "failed timeout")  # as the machine is busy
    assert outcomes == {"/": "fetched", **NAMED}
    assert took < FLOOD_S
    assert bodies_of(ref)["/long"].body == PAGE
    assert rows_of(ref)["/wrong-charset"].content_type == "text/html; charset=utf-8"


def test_reasons_cannot_be_multiplied_by_the_server() -> None:
    policy = UrlPolicy(source("http://x/"))
    rows = [judge(f"http://x/{n}", Reply(200, b"x", [("Content-Type", f"a/{n}")]), None, policy) for n in range(1_000)]
    counts = drop_counts([*rows, PageRow("http://x/", "fetched")])
    assert len(counts) == 51
    assert counts["content type other"] == 950
    assert sum(counts.values()) == 1_000


ROBOTS_CLOSED = b"User-agent: *\nDisallow: /\n"
ROBOTS: dict[str, tuple[Callable[[BaseHTTPRequestHandler], None], str]] = {
    # RFC 9309, 2.3.1.3: "unavailable", everything may be fetched
    **{
        f"{status}": (partial(answer, status=status, body=ROBOTS_CLOSED), "fetched")
        for status in (400, 401, 403, 404, 410)
    },
    # 2.3.1.4: "unreachable", nothing may
    **{
        f"{status}": (partial(answer, status=status), f"skipped robots.txt unreachable ({status})")
        for status in (429, 500, 503, 599)
    },
    "silent": (lambda handler: time.sleep(3), "skipped robots.txt unreachable (timeout)"),
    "hang-up": (lambda handler: None, "skipped robots.txt unreachable (connection failed)"),
    "closed": (partial(answer, status=200, body=ROBOTS_CLOSED), "skipped robots.txt"),
    "html": (partial(answer, status=200, body=PAGE), "fetched"),
    "empty": (partial(answer, status=200), "fetched"),
    "binary": (partial(answer, status=200, body=bytes(range(256)) * 100), "fetched"),
    # 2.2.1: the group for this robot, compared without case, goes before `*`; a mark at the start is no part of it
    "ours": (
        partial(answer, status=200, body=ROBOTS_CLOSED + b"User-Agent: BERT-Foundry\nAllow: /\n"),
        "fetched",
    ),
    "mark": (partial(answer, status=200, body=b"\xef\xbb\xbf" + ROBOTS_CLOSED), "skipped robots.txt"),
    # 2.2.2: the longest match; of equals, allow
    "longest": (partial(answer, status=200, body=ROBOTS_CLOSED + b"Allow: /pa\nDisallow: /p\n"), "fetched"),
    "equal": (partial(answer, status=200, body=b"User-agent: *\nDisallow: /page\nAllow: /page\n"), "fetched"),
    "pattern": (partial(answer, status=200, body=b"User-agent: *\nDisallow: /*e$\n"), "skipped robots.txt"),
    # 2.5: at least 500 KiB are parsed; the rule that is cut there is not half read
    "long": (partial(answer, status=200, body=b"#\n" * 200_000 + ROBOTS_CLOSED), "skipped robots.txt"),
    "longer": (partial(answer, status=200, body=b"#\n" * 300_000 + ROBOTS_CLOSED), "fetched"),
    "cut": (
        partial(answer, status=200, body=b"User-agent: *\n#" + b"x" * 511_976 + b"\nDisallow: /other\n"),
        "fetched",
    ),
    "gzip": (
        partial(answer, status=200, body=gzip.compress(ROBOTS_CLOSED), content_encoding="gzip"),
        "skipped robots.txt",
    ),
    "bomb": (partial(answer, status=200, body=zipped(ZEROS), content_encoding="gzip"), "fetched"),
}


def robots_site(handler: BaseHTTPRequestHandler, robots: Callable[[BaseHTTPRequestHandler], None], hops: int) -> None:
    """`hops` redirects before the robots.txt."""
    handler.close_connection = True
    number = int(handler.path.partition("?")[2].rstrip("=") or 0)
    if handler.path.startswith("/robots.txt") and number < hops:
        answer(handler, 301, location=f"/robots.txt?{number + 1}")
    elif handler.path.startswith("/robots.txt"):
        robots(handler)
    else:
        answer(handler, 200, page())


def test_robots_txt_is_obeyed_as_rfc_9309_has_it() -> None:
    sites = {name: (robots, 0) for name, (robots, _) in ROBOTS.items()}
    closed = ROBOTS["closed"][0]
    sites |= {"five hops": (closed, 5), "six hops": (closed, 6)}
    expected = {name: outcome for name, (_, outcome) in ROBOTS.items()}
    expected |= {
        "five hops": "skipped robots.txt",
        "six hops": "skipped robots.txt unreachable (more than 5 redirects)",
    }
    with ExitStack() as stack:
        bases = {
            name: stack.enter_context(bad_site(partial(robots_site, robots=robots, hops=hops)))
            for name, (robots, hops) in sites.items()
        }
        target = bases["closed"]
        bases["elsewhere"] = stack.enter_context(
            bad_site(partial(robots_site, robots=partial(answer, status=302, location=f"{target}/robots.txt"), hops=0))
        )
        expected["elsewhere"] = "skipped robots.txt"
        web = source(*(f"{base}/page" for base in bases.values()), traps=TrapLimits(origins=100), timeout_s=2.0)
        ref = run(web)
    seeds = ref.manifest["facts"]["seeds"]
    assert {name: seeds[f"{base}/page"] for name, base in bases.items()} == expected


class Falters:
    """A page with 60 links; `is_well` says whether one of them is answered. Remembers the pages that were asked for."""

    def __init__(self, is_well: Callable[[int], bool]) -> None:
        self.is_well = is_well
        self.asked: list[str] = []

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        if handler.path == "/robots.txt":
            return answer(handler, 404)
        self.asked.append(handler.path)
        if handler.path == "/":
            return answer(handler, 200, page(*(f"/{number}" for number in range(60))))
        number = int(handler.path[1:])
        return answer(handler, 200, page(text=handler.path)) if self.is_well(number) else answer(handler, 503)


def test_a_host_that_goes_down_is_given_up_for_the_night_and_its_pages_are_kept() -> None:
    site = Falters(lambda number: True)
    with bad_site(site) as base:
        web = source(f"{base}/", concurrency=2, give_up_after=5)
        first = run(web, "1")
        site.is_well, site.asked = (lambda number: False), []
        second = run(web, "2", first)
        assert len(site.asked) <= 1 + 5 + 2 * 2  # what was under way when the fifth failed
        site.is_well, site.asked = (lambda number: True), []
        third = run(web, "3", second)
    rows = second.manifest["rows"]
    assert rows["seen"] == rows["fetched"] + rows["not_modified"] + rows["failed"] == 61
    assert second.manifest["dropped"]["host gave no answer again and again"] >= 50
    assert second.manifest["facts"]["kept_from_before"] == 60
    assert set(bodies_of(second)) == set(bodies_of(first)) == set(bodies_of(third))
    assert len(site.asked) == 61


def test_a_host_that_stumbles_is_not_given_up() -> None:
    site = Falters(lambda number: number % 4 == 0)
    with bad_site(site) as base:
        found = run(source(f"{base}/", concurrency=1, give_up_after=10))
    assert len(site.asked) == 61
    assert found.manifest["dropped"] == {"http 503": 45}
