"""Where the parts of a corpus stage are worked on: in this process, or on Ray.

Ray is used from a process of its own, because a Ray driver whose cluster dies takes its process with it; a flow must
outlive that to say what happened. That process ends when the flow's does.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from tasks.text.parts import Item, Result, Serial, Workers

TASK_RETRIES = 3
"""Of a part whose worker or node died; what the part itself raises is not tried again."""
SILENCE_S = 3_600.0
"""The longest that a single part may take."""

FEW_DOCUMENTS = 20_000
"""A stage over fewer is done sooner than Ray's processes have started (some 10 s on two cores)."""

_limit: ContextVar[int] = ContextVar("corpus_workers", default=0)


class WorkersGone(RuntimeError):
    """Ray died, or said nothing for too long, in the middle of a stage."""


@contextmanager
def corpus_workers(limit: int) -> Iterator[None]:
    """At most `limit` parts at a time within the block; 0: as many as the cluster has cores. Changes no result."""
    token = _limit.set(limit)
    try:
        yield
    finally:
        _limit.reset(token)


def workers(documents: int | None = None) -> Workers:
    """Ray where `RAY_ADDRESS` names one, this process otherwise.

    Args:
        documents: how many there are, if that is known; few are done here.
    """
    address = os.environ.get("RAY_ADDRESS", "")
    few = int(os.environ.get("BERT_FOUNDRY_FEW_DOCUMENTS", FEW_DOCUMENTS))
    if not address or (documents is not None and documents < few):
        return Serial()
    return RayWorkers(address, _limit.get())


class RayWorkers:
    """Parts as Ray tasks of one core each, or of less where more are wanted at a time than there are cores.

    Its driver starts with the first work and ends with the object.
    """

    def __init__(self, address: str, limit: int = 0) -> None:
        self._address = address
        self._limit = limit
        self._driver: tuple[BaseProcess, Connection] | None = None

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """See `Workers.map`. A single item is done here: sending it to Ray would cost more than it saves.

        Raises:
            WorkersGone: the cluster died; parts that are done stay done.
        """
        if len(items) <= 1:
            yield from Serial().map(function, items)
            return
        connection = self._connection()
        connection.send((function, list(items)))
        whole = False
        try:
            for _ in items:
                yield _receive(connection, self._address)
            whole = True
        finally:
            if not whole:  # tasks may be under way, whose results nobody wants any more
                self.close()

    def close(self) -> None:
        if self._driver is not None:
            process, connection = self._driver
            process.kill()
            process.join()
            connection.close()
            self._driver = None

    def __del__(self) -> None:
        self.close()

    def _connection(self) -> Connection:
        if self._driver is None:
            context = multiprocessing.get_context("spawn")
            here, there = context.Pipe()
            process = context.Process(target=_drive, args=(there, self._address, self._limit), daemon=True)
            process.start()
            there.close()
            self._driver = process, here
        return self._driver[1]


def _receive(results: Connection, address: str) -> tuple[int, Any]:
    try:
        if not results.poll(SILENCE_S):
            raise WorkersGone(f"no part was finished on Ray at {address} for {SILENCE_S:.0f} s")
        index, result, error = results.recv()
    except (EOFError, OSError):
        raise WorkersGone(
            f"Ray at {address} went away in the middle of a stage. Parts that are done stay done: "
            "`bert-foundry up` starts Ray again, and the same command continues"
        ) from None
    if error is not None:
        raise error
    return index, result


def _drive(connection: Connection, address: str, limit: int) -> None:
    """Runs in the driver's process, one piece of work after the other."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    import ray

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    while True:
        function, items = connection.recv()
        cores = max(1, int(ray.cluster_resources().get("CPU", 1)))
        _work(connection, limit or cores, min(1.0, cores / (limit or cores)), function, items)


def _work(
    connection: Connection, at_once: int, cores: float, function: Callable[[Any], Any], items: Sequence[Any]
) -> None:
    """`at_once` tasks under way, results as they come; nothing after the first error."""
    import ray

    environment = {"env_vars": {"OMP_NUM_THREADS": "1"}}
    apply = ray.remote(num_cpus=cores, max_retries=TASK_RETRIES, runtime_env=environment)(_apply)
    shared = ray.put(function)
    waiting = list(enumerate(items))[::-1]
    running: dict[Any, int] = {}
    while waiting or running:
        while waiting and len(running) < at_once:
            index, item = waiting.pop()
            running[apply.remote(shared, item)] = index
        (done, *_), _ = ray.wait(list(running), num_returns=1)
        index = running.pop(done)
        try:
            connection.send((index, ray.get(done), None))
        except ray.exceptions.RayTaskError as error:
            cause = error.cause if isinstance(error.cause, Exception) else RuntimeError(str(error))
            connection.send((index, None, cause))
            return


def _apply(function: Callable[[Any], Any], item: Any) -> Any:
    return function(item)


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
