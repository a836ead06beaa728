"""Processes that train, forked from one server that has imported torch: 0.1 s each instead of 5."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from bert_core import train
from bert_core.config import TrainConfig
from bert_core.mirror import Mirror
from bert_core.watchdog import Watchdog
from infra.services import free_port


@dataclass(frozen=True)
class Kill:
    """Where a process kills itself (SIGKILL): at the `count`-th time (from 1) that it comes to `point`.

    beat: between two stages of the loop. fsync: between two files of a save. write: in the middle of a file of the
    first save after that beat, by the kernel (SIGXFSZ). upload: in the middle of a file on its way to the mirror.
    """

    point: str
    count: int
    rank: int = 0


def context() -> ForkServerContext:
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(["tests.bert_core.forked_ranks"])
    return forked


def start(
    world: int,
    config: TrainConfig,
    work_dir: Path,
    *,
    mirror: Path | None = None,
    kill: Kill | None = None,
    stop_at: int | None = None,
) -> list[ForkServerProcess]:
    """
    Args:
        stop_at: step after whose checkpoint every rank exits, as if the run had been stopped there.
    """
    forked, port = context(), free_port()
    ranks = [
        forked.Process(
            target=_rank, args=(rank, world, port, config.model_dump_json(), work_dir, mirror, kill, stop_at)
        )
        for rank in range(world)
    ]
    for process in ranks:
        process.start()
    return ranks


def finish(ranks: list[ForkServerProcess]) -> list[int | None]:
    """Exit codes; those that a killed rank left waiting are killed."""
    for process in ranks:
        process.join(100)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in ranks]


def _rank(
    rank: int,
    world: int,
    port: int,
    config: str,
    work_dir: Path,
    mirror: Path | None,
    kill: Kill | None,
    stop_at: int | None,
) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    work_dir.mkdir(parents=True, exist_ok=True)
    beats = _count_beats()
    if kill and kill.rank == rank:
        _arm(kill)
    if world > 1:
        dist.init_process_group("gloo", rank=rank, world_size=world)
    log = os.open(work_dir / f"output-{rank}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)

    def report(line: dict[str, Any], saved: Path | None) -> None:
        if saved is not None and line["step"] == stop_at:
            raise SystemExit(0)

    train.run(
        TrainConfig.model_validate_json(config),
        work_dir=work_dir,
        report=report,
        mirror=str(mirror) if mirror else None,
    )
    (work_dir / f"beats-{rank}").write_text(json.dumps(beats))
    if world > 1:
        dist.destroy_process_group()


def _count_beats() -> list[Any]:
    beats: list[Any] = []
    plain = Watchdog.beat

    def counted(self: Watchdog, step: int, stage: str) -> None:
        beats.append((step, stage))
        plain(self, step, stage)

    Watchdog.beat = counted  # type: ignore[method-assign]
    return beats


def _arm(kill: Kill) -> None:
    count = 0

    def due() -> bool:
        nonlocal count
        count += 1
        return count == kill.count

    def die(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def before(owner: Any, name: str, act: Callable[..., None]) -> None:
        plain = getattr(owner, name)

        def wrapped(*arguments: Any) -> Any:
            if due():
                act(*arguments)
            return plain(*arguments)

        setattr(owner, name, wrapped)

    def half_sent(mirror: Mirror, file: Path, target: str) -> None:
        with mirror._fs.open_output_stream(target) as stream:
            data = file.read_bytes()
            stream.write(data[: len(data) // 2])
        die()

    def no_more_room(*_: Any) -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))  # less than the tiny model's optimizer state

    points: dict[str, tuple[Any, str, Callable[..., None]]] = {
        "beat": (Watchdog, "beat", die),
        "fsync": (os, "fsync", die),
        "write": (Watchdog, "beat", no_more_room),
        "upload": (Mirror, "_send", half_sent),
    }
    before(*points[kill.point])


def kill_after(process: ForkServerProcess, seconds: float) -> None:
    process.join(seconds)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    process.join()
