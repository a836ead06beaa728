"""`<home>/stack/stack.json`: which process was started for which service, on which ports."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import FrameType

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from bert_core.files import write_json
from infra.processes import ProcessRecord


class StackError(RuntimeError):
    """The stack cannot be started, or does not answer; the message says which service, where its log is, what to do."""


class Started(BaseModel):
    """A service that was started: its process and its ports."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    process: ProcessRecord
    ports: dict[str, int]


def record_file(folder: Path) -> Path:
    return folder / "stack.json"


def read(folder: Path) -> dict[str, Started]:
    """What was started, by service.

    Raises:
        StackError: the file is not one that `write` made.
    """
    file = record_file(folder)
    try:
        data = json.loads(file.read_text("utf-8"))
        return {name: Started.model_validate(entry) for name, entry in data.items()}
    except FileNotFoundError:
        return {}
    except (ValueError, AttributeError, ValidationError) as error:
        raise StackError(
            f"{file}: not a record of this program ({error}). Remove it when none of its servers runs; "
            "a port that is still taken will be named with its process"
        ) from None


def write(folder: Path, started: Mapping[str, Started]) -> None:
    """A reader sees the old record or the new one, never a part."""
    write_json(record_file(folder), {name: entry.model_dump() for name, entry in started.items()})


@contextlib.contextmanager
def locked(folder: Path, timeout_s: float) -> Iterator[None]:
    """One `up` or `down` at a time: two at once would start everything twice. Ends with the process that holds it."""
    try:
        with FileLock(folder / "stack.lock", timeout=timeout_s):
            yield
    except Timeout:
        raise StackError(
            f"waited {timeout_s:.0f} s for another `bert-foundry up` or `down` that holds {folder / 'stack.lock'}"
        ) from None


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C waits until the block has ended: between a process's start and its record there must be nothing."""
    if threading.current_thread() is not threading.main_thread():  # interrupts reach only the main thread
        yield
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)

    before = signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if came:
        raise KeyboardInterrupt
