"""A child process that does what may take too long, and is killed when it does.

A signal cannot stop code in a C library, nor any thread but the main one; a kill stops everything, everywhere. The
child is started at the first request, serves one request at a time, and is replaced after `MAX_REQUESTS`: trafilatura
remembers texts, and memory must not grow with the corpus.
"""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, cast

if TYPE_CHECKING:  # it runs as a process; named here so that its code counts in the stage's code hash
    from tasks.text.extraction import child  # noqa: F401

MODULE = "tasks.text.extraction.child"
START_TIMEOUT_S = 120.0
"""For the imports of the child, on a machine that is busy; not counted as time of a page."""
MAX_REQUESTS = 2_000
_ROOT = Path(__file__).resolve().parents[3]


class OverTime(Exception):
    """The child was killed since a request took longer than its limit."""


class Crashed(Exception):
    """The child died of a request."""


class Guard:
    """One child for all threads of this process, which wait for each other."""

    def __init__(self, module: str = MODULE) -> None:
        self._module = module
        self._lock = threading.Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._owner = 0
        self._requests = 0

    def ask(self, request: dict[str, Any], body: bytes, *, timeout_s: float) -> Any:
        """The child's answer, JSON.

        Raises:
            OverTime: there was none in time.
            Crashed: the child ended of this request.
            RuntimeError: it cannot even start.
        """
        with self._lock:
            child = self._running()
            message = json.dumps(request | {"size": len(body)}).encode() + b"\n" + body
            try:
                answer = _exchange(child, message, timeout_s)
            except (OverTime, Crashed):
                self._stop()
                raise
            self._requests += 1
            return json.loads(answer)

    def close(self) -> None:
        with self._lock:
            self._stop()

    def _running(self) -> subprocess.Popen[bytes]:
        if self._owner != os.getpid():  # this process is a fork: the child is its parent's
            self._child, self._owner = None, os.getpid()
        if self._requests >= MAX_REQUESTS:
            self._stop()
        if self._child is None or self._child.poll() is not None:
            self._child = self._start()
        return self._child

    def _start(self) -> subprocess.Popen[bytes]:
        path = os.pathsep.join([str(_ROOT), *filter(None, sys.path)])
        child = subprocess.Popen(
            [sys.executable, "-m", self._module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
            bufsize=0,
        )
        for pipe in (child.stdin, child.stdout):
            os.set_blocking(cast(BinaryIO, pipe).fileno(), False)
        self._child, self._requests = child, 0
        try:
            _exchange(child, b"", START_TIMEOUT_S)  # it says when it is ready
        except (OverTime, Crashed) as error:
            self._stop()
            raise RuntimeError(f"python -m {self._module} cannot start: {error}; what it said is above") from None
        return child

    def _stop(self) -> None:
        child, self._child, self._requests = self._child, None, 0
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                cast(BinaryIO, pipe).close()


def _exchange(child: subprocess.Popen[bytes], message: bytes, timeout_s: float) -> bytes:
    """Send a message and read the one line that answers it; neither waits longer than the limit."""
    deadline = time.monotonic() + timeout_s
    into, out = cast(BinaryIO, child.stdin).fileno(), cast(BinaryIO, child.stdout).fileno()
    rest, answer = memoryview(message), bytearray()
    with selectors.DefaultSelector() as waiting:
        waiting.register(out, selectors.EVENT_READ)
        if rest:
            waiting.register(into, selectors.EVENT_WRITE)
        while not answer.endswith(b"\n"):
            ready = waiting.select(max(0.0, deadline - time.monotonic()))
            if not ready:
                raise OverTime(f"no answer in {timeout_s} s")
            for key, _ in ready:
                if key.fd == out:
                    answer += _read(out)
                else:
                    rest = rest[_write(into, rest) :]
                    if not rest:
                        waiting.unregister(into)
    return bytes(answer)


def _read(pipe: int) -> bytes:
    data = os.read(pipe, 1 << 20)
    if not data:
        raise Crashed("the extraction process ended")
    return data


def _write(pipe: int, data: memoryview) -> int:
    try:
        return os.write(pipe, data[: 1 << 16])
    except BrokenPipeError:
        raise Crashed("the extraction process ended") from None
