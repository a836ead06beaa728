"""Processes that outlive the command that started them: their records, whether they live, and how they are stopped.

Each one is started as the leader of its own session. The session's id is the leader's process id, its children keep
it even when they make process groups of their own (Ray's workers do) or lose their parent, and the kernel gives the
number to no new process as long as one member lives. So a record of one id finds everything that was started with it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict


class ProcessRecord(BaseModel):
    """One session leader: the id and, because ids are given out again, when it started."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    pid: int
    born: str
    """Boot and clock ticks since then: unlike a time of day, it does not move when somebody sets the clock."""
    started_at: float
    """Seconds since 1970, for people."""


def spawn(command: Sequence[str], environment: Mapping[str, str], log: Path) -> ProcessRecord:
    """Start `command` in a session of its own, output to `log`; the log of the start before stays as `<log>.1`."""
    if log.exists():
        os.replace(log, log.with_name(log.name + ".1"))
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            cwd=log.parent,
        )
    return ProcessRecord(pid=process.pid, born=birth(process.pid) or "", started_at=time.time())


def birth(pid: int) -> str | None:
    """What tells a process from any other that had or will have its id; None when there is none, or a zombie."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            _reap(pid)
            return None
        stat = Path(f"/proc/{pid}/stat")
        if not stat.exists():
            return f"{process.create_time():.2f}"
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}:{stat.read_text().rpartition(')')[2].split()[19]}"
    except (psutil.Error, OSError):
        return None


def alive(record: ProcessRecord) -> bool:
    """Whether the recorded leader itself lives (not merely a process that got its id later)."""
    return birth(record.pid) == record.born


def members(record: ProcessRecord) -> list[int]:
    """Ids of all living processes of the record's session: also those that a killed leader left behind."""
    found = birth(record.pid)
    if found is not None and found != record.born:
        return []  # the id was given out again, so the whole session had ended
    return [pid for pid in psutil.pids() if _session(pid) == record.pid and birth(pid) is not None]


def stop(record: ProcessRecord, timeout_s: float) -> bool:
    """End every process of the record's session: SIGTERM, and SIGKILL to what is left after `timeout_s`.

    The leader is asked first, for it knows how to end its children in order; the others after half of the time.

    Returns:
        Whether all ended without SIGKILL.
    """
    started = time.monotonic()
    _signal([record.pid] if alive(record) else members(record), signal.SIGTERM)
    if _wait_gone(record, started + timeout_s / 2):
        return True
    _signal(members(record), signal.SIGTERM)
    if _wait_gone(record, started + timeout_s):
        return True
    while remaining := members(record):  # again and again: one may have been started meanwhile
        _signal(remaining, signal.SIGKILL)
        time.sleep(0.05)
    return False


def port_holder(address: str, port: int) -> str | None:
    """Who holds a port, such as `process 123 (redis-server *:6379)`; None when a server can listen there."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: closed connections linger
        try:
            probe.bind((address, port))
        except OSError:
            return _describe_holder(port)
    return None


def listening(pids: Iterable[int]) -> list[tuple[str, int]]:
    """Addresses and ports on which these processes accept TCP connections."""
    of = set(pids)
    found = psutil.net_connections("tcp")
    return [(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN and c.pid in of]


def tail(log: Path, lines: int = 15) -> str:
    """The last lines of a log, indented; says so when there is nothing."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in text.rstrip().splitlines()[-lines:]) or "    (the log is empty)"


def _describe_holder(port: int) -> str:
    try:
        pids = [c.pid for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == port and c.pid]
        return f"process {pids[0]} ({' '.join(psutil.Process(pids[0]).cmdline())[:100]})"
    except (psutil.Error, IndexError):
        return "a process that you may not see, such as another user's"


def _session(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except OSError:
        return None


def _signal(pids: Sequence[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_gone(record: ProcessRecord, deadline: float) -> bool:
    while members(record):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _reap(pid: int) -> None:
    """A child of this very process stays a zombie until somebody asks for its exit status."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
