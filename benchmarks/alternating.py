"""Processes that work in turns, so that two sides meet the same machine.

Each side is a process with caches and an allocator of its own. The parent gives one side a turn, waits for its figures,
and only then goes on to the next. A side works in its real training loop and stops at gates inside it: between turns it
waits for a byte, and its clock stands still.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psutil


class Gate:
    """In a side: where it reports a turn and waits for the next. What the side prints goes to stderr."""

    def __init__(self) -> None:
        self._reports = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)

    def wait(self, figures: Mapping[str, Any]) -> None:
        """Report `figures` of the turn that ends here. Returns when the next begins; ends the process at the last."""
        self._reports.write(json.dumps(dict(figures)) + "\n")
        self._reports.flush()
        if not sys.stdin.readline():
            os._exit(0)


class Side:
    """In the parent: `python script --side '<json>'`, up to its first gate."""

    def __init__(self, script: str | Path, spec: Mapping[str, Any], log: Path, cores: str | None = None) -> None:
        self._log = log
        command = [sys.executable, str(script), "--side", json.dumps(dict(spec))]
        self.process = subprocess.Popen(
            ["taskset", "-c", cores, *command] if cores else command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log.open("ab"),
            text=True,
        )
        self.ready = self._report()
        """Figures of its first gate: what it took to get there."""

    def turn(self) -> dict[str, Any]:
        """Let it work to its next gate.

        Raises:
            RuntimeError: it ended; with the end of its log.
        """
        assert self.process.stdin
        self.process.stdin.write("go\n")
        self.process.stdin.flush()
        return self._report()

    def close(self) -> None:
        if self.process.stdin:
            self.process.stdin.close()
        self.process.kill()
        self.process.wait()

    def _report(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            code = self.process.wait()
            raise RuntimeError(f"{self.process.args!r} ended with {code}:\n{self._log.read_text('utf-8')[-3000:]}")
        report: dict[str, Any] = json.loads(line)
        return report


def alive_s() -> float:
    """How long this process has lived."""
    return time.time() - psutil.Process().create_time()
