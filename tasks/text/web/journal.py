"""What a crawl has stored so far, so that one that was killed goes on and fetches no stored page again.

A line of JSON for each address that is done. A body is handed to the system before its line, so a line that is there
speaks of a record that is there; what a kill left half written, in journal or WARC, is cut off by the next attempt.
After a power cut, records may be missing that the journal knows: their size, and later their sha256, give them away.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from tasks.text.web.pages import PageRow
from tasks.text.web.warc import WARCS, BodyReader, WarcSeries

JOURNAL = "crawl-journal.jsonl"
LOCK_TIMEOUT_S = 30.0
SYNC_EVERY_ROWS = 200
SYNC_EVERY_S = 5.0
"""A power cut costs at most so much; a killed process alone costs only what was under way."""


class JournalError(RuntimeError):
    """Another process still writes into the folder."""


class Journal:
    """The rows of earlier attempts, and the WARC files and the journal to append to. Holds a lock on the folder."""

    def __init__(self, folder: Path, published: str, identity: Any, warc_bytes: int) -> None:
        """Take up what is in the folder.

        Args:
            published: where the folder will lie, relative to the store.
            identity: JSON; what is in the folder is discarded if it was written for another one.
            warc_bytes: a WARC file longer than this is followed by a new one.

        Raises:
            JournalError: another crawl into this folder is still running after `LOCK_TIMEOUT_S`.
        """
        self._folder = folder
        self._published = published
        self._bodies = BodyReader()
        self._file = (folder / JOURNAL).open("a+b")
        _lock(self._file, folder)
        header = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        entries = _read(self._file, header)
        self.rows = _repair(folder, published, entries)
        """By URL; of those with a body, only the ones whose record lies within its WARC file."""
        self._warcs = WarcSeries(folder, warc_bytes)
        self._unsynced = 0
        self._synced_at = time.monotonic()
        if not self._file.tell():
            self._write({"crawl": header})

    def store(self, row: PageRow, headers: Sequence[tuple[str, str]], body: bytes) -> None:
        """Append a response and its row, and let the row say where its body lies.

        Raises:
            OSError: the disk is full, for example; what is there stays good.
        """
        name, row.warc_offset, end = self._warcs.write(row.url, row.status, headers, body, row.fetched_at)
        row.warc = sys.intern(f"{self._published}/{name}")  # one string for all rows, not one for each
        self._write({"row": asdict(row), "end": end})

    def note(self, row: PageRow) -> None:
        """Append a row without a body of its own."""
        self._write({"row": asdict(row)})

    def read(self, row: PageRow) -> bytes:
        """The body of a row of this crawl or of an earlier night.

        Raises:
            ArtifactError: it cannot be read, or is not the one that was fetched.
        """
        folder, _, name = str(row.warc).rpartition("/")
        return self._bodies.read(row, self._folder / name if folder == self._published else None)

    def sync(self) -> None:
        """Wait until bodies, then rows, are on the disk."""
        self._warcs.sync()
        os.fsync(self._file.fileno())
        self._unsynced, self._synced_at = 0, time.monotonic()

    def close(self) -> None:
        self._warcs.close()
        self._file.close()
        self._bodies.close()

    def _write(self, entry: dict[str, Any]) -> None:
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        self._unsynced += 1
        if self._unsynced >= SYNC_EVERY_ROWS or time.monotonic() - self._synced_at > SYNC_EVERY_S:
            self.sync()


def _lock(file: IO[bytes], folder: Path) -> None:
    """The worker of a flow that was killed ends within a second; until then it may still write."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise JournalError(f"{folder}: another crawl into this folder is still running") from None
            time.sleep(0.1)


def _read(file: IO[bytes], header: str) -> list[dict[str, Any]]:
    """The whole entries; a torn one at the end, or what belongs to another crawl, is cut off."""
    file.seek(0)
    entries, good = [], 0
    for number, line in enumerate(file):
        entry = _entry(line)
        if entry is None or (number == 0 and entry.get("crawl") != header):
            break
        good += len(line)
        entries += [entry] if number else []
    file.truncate(good)
    file.seek(good)
    return entries


def _entry(line: bytes) -> dict[str, Any] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        entry: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return entry if isinstance(entry, dict) else None


def _repair(folder: Path, published: str, entries: list[dict[str, Any]]) -> dict[str, PageRow]:
    """Cut the WARC files to whole records that the journal knows, and remove those that it does not."""
    ends = {path.name: 0 for path in folder.glob(WARCS)}
    sizes = {name: (folder / name).stat().st_size for name in ends}
    rows = {}
    for entry in entries:
        row, end = PageRow(**entry["row"]), entry.get("end")
        if end is not None:
            name = str(row.warc).removeprefix(f"{published}/")
            if end > sizes.get(name, 0):
                continue
            ends[name] = max(ends[name], end)
        rows[row.url] = row
    for name, end in ends.items():
        if end:
            os.truncate(folder / name, end)
        else:
            (folder / name).unlink()
    return rows
