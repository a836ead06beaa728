"""How long a command takes, and the peak of the memory of its processes together."""

from __future__ import annotations

import os
import resource
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

SAMPLE_S = 0.05


@dataclass(frozen=True)
class Usage:
    wall_s: float
    peak_bytes: int
    """Largest sum of the proportional set sizes of its processes, sampled every 50 ms (resident size where the system
    has none), and at least the largest resident size that the kernel saw of a single one: that misses no peak."""


def measure(command: Sequence[str | Path], log: Path, environment: Mapping[str, str] | None = None) -> Usage:
    """Run a command to its end, its output going to `log`.

    Raises:
        RuntimeError: it failed; with the end of its output.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started, sampled = time.perf_counter(), 0
    with log.open("wb") as out:
        process = subprocess.Popen(
            [str(part) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            env=os.environ | dict(environment or {}),
        )
        root = psutil.Process(process.pid)
        while process.poll() is None:
            sampled = max(sampled, _memory(root))
            time.sleep(SAMPLE_S)
    wall = time.perf_counter() - started
    if process.returncode:
        raise RuntimeError(
            f"{command[0]} ended with {process.returncode}:\n{log.read_text('utf-8', 'replace')[-3000:]}"
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # ru_maxrss of children is the largest of all so far: it speaks of this one only if it is new.
    largest = after.ru_maxrss * 1024 if after.ru_maxrss > before.ru_maxrss else 0
    return Usage(wall, max(sampled, largest))


def _memory(root: psutil.Process) -> int:
    total = 0
    try:
        for process in [root, *root.children(recursive=True)]:
            try:
                full = process.memory_full_info()
                total += getattr(full, "pss", 0) or full.rss
            except psutil.Error:
                continue
    except psutil.Error:  # it ended in between
        pass
    return total
