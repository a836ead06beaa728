"""Names the rank that hangs, and ends every rank: one that waits in a collective cannot be reached by an exception.

Every rank tells of itself in `ranks/rank-N.json`, about once a second, and reads what the others tell. Clocks of
machines are not compared: a watcher goes by when it saw a file change. A rank that waits for others has come further
than they have, so the one to name is the one that is furthest behind, once that one has been silent for
`hang_timeout_s`. It is named within `hang_timeout_s` + 3 s (a tick to write, a tick to read, a tick to tell); before
its first whole step, which may compile, within `STARTUP_FACTOR` times that.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

EXIT_CODE = 75
"""EX_TEMPFAIL: whoever started the ranks may start them again."""
STARTUP_FACTOR = 5.0

STAGES = ("start", "evaluate", "save", "data", "forward", "backward", "reduce", "optimizer", "end")
"""In the order in which they come for one count of steps done; in between, stages may repeat."""
_ORDER = {stage: number for number, stage in enumerate(STAGES)}


@dataclass
class _Seen:
    """Another rank, as its file told; times are of the watcher's own monotonic clock."""

    told: dict[str, Any]
    moved: float
    """When its count of beats last changed."""
    ticked: float
    """When its file last changed."""
    ticked_once: bool = False
    """Its file changed while we watched: it is not what an earlier attempt left."""


class Watchdog:
    """One for each rank, as a context. Its thread writes, looks, and in the worst case ends the process.

    Ranks share `folder`; one that never showed up there is not waited for, so on machines with folders of their own
    each watches its own ranks. A folder that cannot be written (full disk) blinds it: then it names nobody.
    """

    def __init__(
        self,
        folder: Path,
        rank: int,
        world_size: int,
        hang_timeout_s: float,
        *,
        end: Callable[[int], Any] = os._exit,
    ) -> None:
        """
        Args:
            folder: `work_dir/ranks`.
            hang_timeout_s: a rank furthest behind and without a beat for so long hangs.
            end: called with `EXIT_CODE` after the rank was named.
        """
        self._folder = folder
        self._rank = rank
        self._ranks = range(world_size)
        self._timeout_s = hang_timeout_s
        self._tick_s = min(1.0, hang_timeout_s / 10)
        self._end = end
        self._thread_of_work = threading.get_ident()
        self._beats = 0
        self._latest = (0, "start")
        self._begun_at: int | None = None
        self._warm = False
        self._ended: str | None = None
        self._seen: dict[int, _Seen] = {}
        self._verdict_before: bytes | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def beat(self, step: int, stage: str) -> None:
        """This rank goes on: it begins `stage` with `step` optimizer steps done. Costs under 1 us: nothing is written.

        Raises:
            KeyError: not one of `STAGES`.
        """
        _ORDER[stage]
        self._latest = (step, stage)
        self._beats += 1
        if self._begun_at is None:
            self._begun_at = step
        elif step > self._begun_at:
            self._warm = True

    def __enter__(self) -> Watchdog:
        self._folder.mkdir(parents=True, exist_ok=True)
        self._verdict_before = self._read_verdict()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._ended = "done" if kind is None else f"{kind.__name__}: {error}"[:500]
        self._tell(0.0)

    def _watch(self) -> None:
        beats, moved, woke, ticks = -1, time.monotonic(), time.monotonic(), 0
        while not self._stop.wait(self._tick_s):
            now = time.monotonic()
            if now - woke > self._timeout_s / 2:  # this process itself was stopped: its clocks tell nothing
                moved, self._seen = now, {}
            woke = now
            if self._beats != beats:
                beats, moved = self._beats, now
            ticks += 1
            if not self._tell(now - moved, ticks):
                moved, self._seen = now, {}
                continue
            self._look(now)
            if (verdict := self._read_verdict()) is not None and verdict != self._verdict_before:
                self._end_process(json.loads(verdict))
            elif hung := self._hung(now):
                self._name(hung, now)

    def _tell(self, silent_s: float, ticks: int = 0) -> bool:
        """Write this rank's file; False if it cannot be."""
        step, stage = self._latest
        told = {
            "rank": self._rank,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "step": step,
            "stage": stage,
            "beats": self._beats,
            "ticks": ticks,
            "silent_s": round(silent_s, 1),
            "warm": self._warm,
            "ended": self._ended,
            "stack": self._stack() if silent_s > self._timeout_s / 2 else None,
        }
        return _replace(self._folder / f"rank-{self._rank}.json", json.dumps(told).encode())

    def _stack(self) -> list[str]:
        frame = sys._current_frames().get(self._thread_of_work)
        return [] if frame is None else "".join(traceback.format_stack(frame)).splitlines()

    def _look(self, now: float) -> None:
        for rank in self._ranks:
            try:
                told = json.loads((self._folder / f"rank-{rank}.json").read_bytes())
            except (OSError, ValueError):
                continue
            seen = self._seen.get(rank)
            if seen is None:
                self._seen[rank] = _Seen(told, now, now)
                continue
            if told["beats"] != seen.told["beats"] or told["pid"] != seen.told["pid"]:
                seen.moved = now
            if told != seen.told:
                seen.ticked, seen.ticked_once, seen.told = now, True, told

    def _hung(self, now: float) -> list[_Seen]:
        """The ranks furthest behind, if they have been silent for too long."""
        watched = [s for s in self._seen.values() if s.ticked_once and s.told["ended"] != "done"]
        if not watched:
            return []

        def place(seen: _Seen) -> tuple[bool, int, int]:
            alive = now - seen.ticked < self._timeout_s and seen.told["ended"] is None
            return alive, seen.told["step"], _ORDER[seen.told["stage"]]

        last = min(place(seen) for seen in watched)
        behind = [seen for seen in watched if place(seen) == last]

        def patience(seen: _Seen) -> float:
            return self._timeout_s * (1 if seen.told["warm"] else STARTUP_FACTOR)

        return behind if all(now - seen.moved >= patience(seen) for seen in behind) else []

    def _name(self, hung: list[_Seen], now: float) -> None:
        """Write the verdict for all ranks; each ends when it reads it, so that none first sees another vanish."""
        verdict = {
            "named_by": self._rank,
            "hang_timeout_s": self._timeout_s,
            "ranks": [
                {**seen.told, "silent_s": round(now - seen.moved, 1), "gone_s": round(now - seen.ticked, 1)}
                for seen in hung
            ],
            "others": [
                {key: seen.told[key] for key in ("rank", "host", "pid", "step", "stage")}
                for seen in self._seen.values()
                if seen not in hung
            ],
        }
        if self._read_verdict() == self._verdict_before:
            _replace(self._folder / "hang.json", json.dumps(verdict, indent=2).encode())

    def _read_verdict(self) -> bytes | None:
        try:
            data = (self._folder / "hang.json").read_bytes()
            json.loads(data)
        except (OSError, ValueError):
            return None
        return data

    def _end_process(self, verdict: dict[str, Any]) -> None:
        print(describe(verdict), file=sys.stderr, flush=True)
        # The one that wrote the verdict stays until the others have had time to read it: when a process goes, those
        # that wait for it fail with an error of the network, and end with another code.
        time.sleep(self._tick_s * (2.5 if verdict["named_by"] == self._rank else 1.5))
        self._end(EXIT_CODE)


def describe(verdict: dict[str, Any]) -> str:
    """The content of ranks/hang.json for people: who hangs, where, since when, and in which line."""
    lines = []
    for rank in verdict["ranks"]:
        lines.append(
            f"rank {rank['rank']} hangs: host {rank['host']}, pid {rank['pid']}, step {rank['step']}, stage "
            f"{rank['stage']!r}, silent for {rank['silent_s']:.0f} s (hang_timeout_s {verdict['hang_timeout_s']:g})"
        )
        if rank["ended"]:
            lines.append(f"  it ended with {rank['ended']}")
        elif rank["gone_s"] > verdict["hang_timeout_s"] / 2:
            lines.append(f"  its process is stopped, dead or cut off: its file is {rank['gone_s']:.0f} s old")
        lines += [f"  {line}" for line in rank["stack"] or ["no stack: it could not write one"]]
    waiting = ", ".join(
        f"rank {other['rank']} in {other['stage']!r} of step {other['step']}" for other in verdict["others"]
    )
    return "\n".join([*lines, f"others: {waiting or 'none'}"])


def _replace(path: Path, data: bytes) -> bool:
    """A whole file or none for readers; not synced, as it matters only while the machine runs."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_bytes(data)
        os.replace(draft, path)
    except OSError:
        return False
    return True
