"""Batches made ready by threads while the step before runs; what they hold does not depend on it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from bert_core.data.batch import Batch, DataError


class Stepped(Protocol):
    """Data whose micro batches are a function of the step."""

    @property
    def total_steps(self) -> int: ...

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Batch]: ...


class Loader:
    """One rank's micro batches, for any step; asked for step after step, the next are being prepared meanwhile.

    At most `ahead` steps are held or in work. Leaving the block, also by an exception or Ctrl-C, drops what waits and
    joins the threads. Threads do: assembling is numpy, and a process would have to send what a thread hands over.

    Args:
        workers: threads; 0: batches are made when asked for, in the caller's.
        ahead: steps; by default two for each thread.
        prepare: done to every batch in the thread that made it, for example moving it to another device.
    """

    def __init__(
        self,
        data: Stepped,
        *,
        rank: int = 0,
        world: int = 1,
        micro_rows: int | None = None,
        workers: int = 0,
        ahead: int | None = None,
        prepare: Callable[[Batch], Batch] | None = None,
    ) -> None:
        self._data, self._share, self._prepare = data, (rank, world, micro_rows), prepare
        self._ahead = 2 * workers if ahead is None else ahead
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="loader") if workers else None
        self._waiting: dict[int, Future[list[Batch]]] = {}
        self._end = _total_steps(data)

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Drop what waits and join the threads, after the batch that each is at."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        self._waiting.clear()

    def micro_batches(self, step: int) -> list[Batch]:
        """Those of global batch `step`. An error met in preparing them is raised here, with a note of the step."""
        if self._threads is None:
            return self._make(step)
        wanted = range(step, min(step + self._ahead + 1, self._end))
        for other in self._waiting.keys() - set(wanted):  # a seek: what was prepared for elsewhere
            self._waiting.pop(other).cancel()
        for each in wanted or [step]:
            if each not in self._waiting:
                self._waiting[each] = self._threads.submit(self._make, each)
        return self._waiting.pop(step).result()

    def _make(self, step: int) -> list[Batch]:
        try:
            batches = self._data.micro_batches(step, *self._share)
            return [self._prepare(batch) for batch in batches] if self._prepare else batches
        except Exception as error:
            error.add_note(f"while the batch of step {step} was prepared")
            raise


def _total_steps(data: Stepped) -> int:
    try:
        return data.total_steps
    except DataError:
        return 2**62
