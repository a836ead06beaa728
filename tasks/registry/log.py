"""The promotion log: who made what the champion, when, why, and on which evidence. Append-only, fsynced, hash-chained.

One JSON line an entry. A move of aliases takes two: its `intent` before the first effect and its outcome after the
last, so that a process killed in between leaves a trace to settle by (a write-ahead log). Each entry holds its own
sha256 and that of the entry before it: a line that was changed, removed or put in breaks the chain, and reading says
where.
"""

from __future__ import annotations

import hashlib
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from bert_core.files import sync
from tasks.artifacts import store
from tasks.registry.server import RegistryError

GENESIS = "0" * 64
LOCK_TIMEOUT_S = 300.0
REPAIR = "Restore the file from a backup"


class LogError(RegistryError):
    """The log is not what was written; names the file and the line."""


class Entry(BaseModel):
    """One line of the log."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seq: int
    at: str
    """ISO 8601, UTC; never earlier than the entry before."""
    who: str
    action: Literal["promote", "rollback", "refuse", "observe"]
    """`observe`: the alias was found to have been moved by other means than this log."""
    phase: Literal["intent", "done", "abandoned", "unchanged"]
    """`unchanged` is answered to a promotion that changes nothing, and is not written."""
    model: str
    version: str | None
    """The version that becomes champion, or that was refused."""
    previous: str | None
    """The champion until then."""
    former_previous: str | None = None
    """@previous before the move: what an abandoned move puts back."""
    why: str
    evidence: dict[str, Any] = {}
    prev_sha256: str
    sha256: str = ""
    """Of all the other fields, in `_canonical` form."""

    @field_validator("evidence")
    @classmethod
    def _is_json(cls, evidence: dict[str, Any]) -> dict[str, Any]:
        json.dumps(evidence, allow_nan=False)  # pydantic would quietly write a NaN as null
        return evidence

    @property
    def changed(self) -> bool:
        """Whether this entry is a champion's beginning."""
        return self.phase == "done" and self.action != "refuse"

    @property
    def sentence(self) -> str:
        was = f" (was version {self.previous})" if self.previous else ""
        if self.phase == "unchanged":
            return f"{self.model} version {self.version} is the champion already: nothing to do"
        if self.action == "refuse":
            return f"{self.model} version {self.version} was refused: {self.why}"
        if self.action == "observe":
            return f"{self.model} version {self.version} was found to be the champion{was}: {self.why}"
        done = {"promote": "promoted to champion", "rollback": "made champion again by a rollback"}[self.action]
        return f"{self.model} version {self.version} {done}{was}: {self.why}"


@dataclass(frozen=True)
class Log:
    entries: tuple[Entry, ...]
    torn: bytes
    """What follows the last whole line: the write that a crash cut short. It had no effect yet."""

    @property
    def pending(self) -> Entry | None:
        """The intent whose outcome is not written: its process died, or is still at work."""
        moves = [entry for entry in self.entries if entry.action in ("promote", "rollback")]
        return moves[-1] if moves and moves[-1].phase == "intent" else None

    @property
    def champion(self) -> str | None:
        """The champion according to the log."""
        reigns = [entry for entry in self.entries if entry.changed]
        return reigns[-1].version if reigns else None


def log_path(model: str) -> Path:
    return store() / "promotions" / f"{model}.jsonl"


def read(model: str) -> Log:
    """The model's log; empty if there is none yet.

    Raises:
        LogError: a line is not an entry, or does not continue the chain.
    """
    path = log_path(model)
    data = path.read_bytes() if path.exists() else b""
    *lines, torn = data.split(b"\n")
    entries: list[Entry] = []
    for number, line in enumerate(lines, start=1):
        entry = _parse(path, number, line)
        if entry.sha256 != _digest(entry):
            raise LogError(f"{path}, line {number}: its sha256 is not that of its content: it was changed. {REPAIR}")
        expected = entries[-1].sha256 if entries else GENESIS
        if (entry.prev_sha256, entry.seq, entry.model) != (expected, number, model):
            raise LogError(
                f"{path}, line {number}: entry {entry.seq} of {entry.model} after {entry.prev_sha256[:16]}…, where "
                f"entry {number} of {model} after {expected[:16]}… belongs: lines were removed or put in. {REPAIR}"
            )
        entries.append(entry)
    return Log(tuple(entries), torn)


def append(model: str, **fields: Any) -> Entry:
    """Write one entry, on disk when this returns. Call it with `exclusive` held; a torn tail is cut off first."""
    log, path = read(model), log_path(model)
    if log.torn:
        _cut(path, log.torn)
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    last = log.entries[-1] if log.entries else None
    entry = Entry(
        seq=len(log.entries) + 1,
        at=max(now, last.at) if last else now,  # a clock set back must not put history out of order
        model=model,
        prev_sha256=last.sha256 if last else GENESIS,
        **fields,
    )
    entry = entry.model_copy(update={"sha256": _digest(entry)})
    with path.open("ab") as file:
        file.write(_canonical(entry.model_dump(mode="json")) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    if last is None:
        sync(path.parent)
    return entry


@contextmanager
def exclusive(model: str, who: str, *, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the model's promotion lock: MLflow has no compare-and-set on aliases. The kernel frees it at any death.

    It excludes the processes that share the store's file system, and says nothing to those that do not.

    Raises:
        RegistryError: another process holds it for longer than `timeout_s`; names that process.
    """
    path = log_path(model).with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    holder = path.with_suffix(".holder")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=timeout_s)
    except Timeout:
        by = holder.read_text("utf-8") if holder.exists() else "an unnamed process"
        raise RegistryError(
            f"{model}: another promotion has been under way for over {timeout_s:g} s ({by}); wait for it, or end it"
        ) from None
    try:
        now = datetime.now(UTC).isoformat(timespec="seconds")
        holder.write_text(f"{who}, process {os.getpid()} on {socket.gethostname()}, since {now}", "utf-8")
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def _digest(entry: Entry) -> str:
    return hashlib.sha256(_canonical(entry.model_dump(mode="json", exclude={"sha256"}))).hexdigest()


def _canonical(data: dict[str, Any]) -> bytes:
    return json.dumps(data, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()


def _parse(path: Path, number: int, line: bytes) -> Entry:
    try:
        return Entry.model_validate_json(line)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"]) or "the line"
        raise LogError(
            f"{path}, line {number}: not an entry ({where}: {fault['msg']}); it begins with {line[:60]!r}. {REPAIR}"
        ) from None


def _cut(path: Path, torn: bytes) -> None:
    """Take a torn tail off the log, and keep its bytes beside it."""
    with path.with_suffix(".torn").open("ab") as aside:
        aside.write(torn + b"\n")
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - len(torn))
        os.fsync(file.fileno())
