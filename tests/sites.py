"""Real servers on loopback for tests that crawl."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

STARTUP_TIMEOUT_S = 60.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RunningSite:
    base: str
    log: Path

    def requests(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log.read_text("utf-8").splitlines()]


@contextmanager
def review_site(day: int, port: int, data: Path, log: Path, films: int) -> Iterator[RunningSite]:
    """The project's own site as a process; its log starts empty."""
    log.write_text("")
    command = [sys.executable, "-m", "infra.site", "--day", str(day), "--port", str(port), "--films", str(films)]
    command += ["--data", str(data / "film-reviews/rotten_tomatoes_corpus_full.csv.bz2"), "--log", str(log)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield RunningSite(f"http://127.0.0.1:{port}", log)
    finally:
        process.terminate()
        process.wait(10)


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + STARTUP_TIMEOUT_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@contextmanager
def bad_site(
    routes: Callable[[BaseHTTPRequestHandler], None], wrap: Callable[[socket.socket], socket.socket] | None = None
) -> Iterator[str]:
    """A server whose GET is `routes`, for what no decent server does."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            routes(self)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if wrap is not None:
        server.socket = wrap(server.socket)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http{'s' if wrap else ''}://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def answer(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    """Headers are given as `content_type="text/html"`."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    handler.send_response(status)
    for name, value in ({"content-type": "text/html", "content-length": str(len(body))} | names).items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(body)


def get(url: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """Status, headers (lower-case) and body; redirects are not followed."""

    class NoRedirect(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *arguments: Any) -> None:
            return None

    request = urllib.request.Request(url, headers={name.replace("_", "-"): value for name, value in headers.items()})
    try:
        with urllib.request.build_opener(NoRedirect).open(request, timeout=20) as response:
            return response.status, _lower(response.headers), response.read()
    except urllib.error.HTTPError as error:
        return error.code, _lower(error.headers), error.read()


def _lower(headers: Any) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}
