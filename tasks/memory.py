"""Memory of process trees, as proportional set size (PSS).

Shared pages are divided among those who map them, so that the sum over processes is what they really take together.
Resident set size would count torch's libraries once per worker.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType

import psutil

INTERVAL_S = 2.0
"""To read one process's PSS the kernel walks its pages, a few ms for 1 GB: every 2 s stays below 2% of a core."""


def pss_bytes(pids: Iterable[int]) -> int:
    """Bytes that these processes take together; one that has died, or is another user's, counts as nothing.

    Source: `/proc/<pid>/smaps_rollup` (Linux). Elsewhere resident set size stands in, which is an upper bound.
    """
    return sum(_pss_of(pid) for pid in set(pids))


def with_descendants(pids: Iterable[int]) -> set[int]:
    """The processes of these ids that live, and all that they started, directly or not."""
    found: set[int] = set()
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            root = psutil.Process(pid)
            found |= {pid, *(child.pid for child in root.children(recursive=True))}
    return found


class MemorySampler:
    """Watches process trees from a thread and keeps the highest sum of PSS that it saw, in all and per stage.

        with MemorySampler(lambda: [os.getpid(), *server_pids]) as sampler:
            sampler.stage("clean")
            ...
        sampler.peak, sampler.peaks["clean"]  # bytes

    Peaks between two samples are missed; a stage always gets one sample when it begins and one when it ends.
    """

    def __init__(self, roots: Iterable[int] | Callable[[], Iterable[int]], interval_s: float = INTERVAL_S) -> None:
        """Args:
        roots: process ids, or a function that gives them anew for each sample (servers may restart).
        """
        self._roots = roots if callable(roots) else lambda fixed=tuple(roots): fixed
        self._interval_s = interval_s
        self._label = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="memory-sampler", daemon=True)
        self.peak = 0
        self.peaks: dict[str, int] = {}

    def stage(self, label: str) -> None:
        """What follows is counted under `label`; coming back to a label continues its peak."""
        self.sample()
        self._label = label
        self.sample()

    def sample(self) -> int:
        """Measure now; returns the sum in bytes."""
        with self._lock:  # one at a time: the thread and `stage` may meet
            total = pss_bytes(with_descendants(self._roots()))
            self.peak = max(self.peak, total)
            if self._label:
                self.peaks[self._label] = max(self.peaks.get(self._label, 0), total)
            return total

    def __enter__(self) -> MemorySampler:
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        self.sample()

    def _watch(self) -> None:
        while not self._stopped.wait(self._interval_s):
            self.sample()


def _pss_of(pid: int) -> int:
    try:
        with Path(f"/proc/{pid}/smaps_rollup").open() as file:
            return sum(int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:"))
    except FileNotFoundError:
        return 0 if Path("/proc/self/smaps_rollup").exists() else _resident_of(pid)
    except (ProcessLookupError, PermissionError):
        return 0


def _resident_of(pid: int) -> int:
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0
