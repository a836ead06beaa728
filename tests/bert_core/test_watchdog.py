"""Ranks that hang for real: one sleeps while the other waits for it, one is stopped, and slow ones are left alone."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from bert_core import watchdog as module
from bert_core.watchdog import EXIT_CODE, STARTUP_FACTOR, Watchdog, describe
from infra.services import free_port
from tests.bert_core.forked_ranks import context

TIMEOUT_S = 3.0
SLACK_S = 5.0
"""Beyond the timeout: 3 as the module promises, and the start and end of a process on a busy machine."""


def _rank(rank: int, port: int, folder: Path, behaviour: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    os.dup2(os.open(folder / f"stderr-{rank}", os.O_WRONLY | os.O_CREAT), 2)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    with Watchdog(folder / "ranks", rank, 2, TIMEOUT_S) as watchdog:
        for step in range(4):
            watchdog.beat(step, "data")
            if rank == 1 and step == 3:
                (folder / "begun").write_text(str(time.time()))
                if behaviour == "sleeps":
                    time.sleep(600)  # the line that hangs
                elif behaviour == "stops":
                    os.kill(os.getpid(), signal.SIGSTOP)
                else:
                    for _ in range(6):  # twice the timeout in all, but it tells that it goes on
                        time.sleep(TIMEOUT_S / 3)
                        watchdog.beat(step, "data")
            watchdog.beat(step, "reduce")
            dist.all_reduce(torch.ones(1))
            time.sleep(0.5)
    dist.destroy_process_group()


def run(folder: Path, behaviour: str) -> tuple[list[Any], float]:
    """Both ranks as processes, and how long after the hang began the first of them ended."""
    forked, port = context(), free_port()
    ranks = [forked.Process(target=_rank, args=(rank, port, folder, behaviour)) for rank in range(2)]
    for process in ranks:
        process.start()
    ranks[0].join(120)
    ended = time.time()
    return ranks, ended - float((folder / "begun").read_text())


def test_a_rank_that_sleeps_is_named_with_its_line_and_both_end(tmp_path: Path) -> None:
    ranks, seconds = run(tmp_path, "sleeps")
    ranks[1].join(10)
    assert [process.exitcode for process in ranks] == [EXIT_CODE, EXIT_CODE]
    assert TIMEOUT_S < seconds < TIMEOUT_S + SLACK_S
    verdict = json.loads((tmp_path / "ranks" / "hang.json").read_text())
    (hung,) = verdict["ranks"]
    assert (hung["rank"], hung["step"], hung["stage"], hung["pid"]) == (1, 3, "data", ranks[1].pid)
    for rank in range(2):
        message = (tmp_path / f"stderr-{rank}").read_text()
        assert "rank 1 hangs: host " in message
        assert "step 3, stage 'data'" in message
        assert "time.sleep(600)  # the line that hangs" in message
        assert "rank 0 in 'reduce' of step 3" in message


def test_a_rank_whose_process_is_stopped_is_named_by_the_other(tmp_path: Path) -> None:
    ranks, seconds = run(tmp_path, "stops")
    assert ranks[0].exitcode == EXIT_CODE
    assert TIMEOUT_S < seconds < TIMEOUT_S + SLACK_S
    message = (tmp_path / "stderr-0").read_text()
    assert "rank 1 hangs: host " in message
    assert "its process is stopped, dead or cut off" in message
    assert ranks[1].pid is not None
    os.kill(ranks[1].pid, signal.SIGCONT)  # as it goes on it reads the verdict, and ends as well
    ranks[1].join(10)
    assert ranks[1].exitcode == EXIT_CODE


def test_a_rank_that_is_slow_but_goes_on_is_left_alone(tmp_path: Path) -> None:
    ranks, _ = run(tmp_path, "slow")
    ranks[1].join(10)
    assert [process.exitcode for process in ranks] == [0, 0]
    assert not (tmp_path / "ranks" / "hang.json").exists()


def alone(folder: Path, timeout_s: float) -> tuple[Watchdog, list[float]]:
    ended: list[float] = []
    return Watchdog(folder, 0, 1, timeout_s, end=lambda code: ended.append(time.monotonic())), ended


def test_the_first_step_may_take_longer(tmp_path: Path) -> None:
    watchdog, ended = alone(tmp_path, 0.5)
    with watchdog:
        watchdog.beat(7, "forward")  # a run that continues at step 7 compiles as well
        begun = time.monotonic()
        time.sleep(0.5 * STARTUP_FACTOR + 1.5)
    assert ended
    assert 0.5 * STARTUP_FACTOR < ended[0] - begun < 0.5 * STARTUP_FACTOR + 1.5


def test_what_an_earlier_attempt_left_is_no_reason_to_end(tmp_path: Path) -> None:
    left = {"rank": 1, "host": "other", "pid": 1, "step": 3, "stage": "data", "beats": 9, "ticks": 9}
    left |= {"silent_s": 0.0, "warm": True, "ended": None, "stack": None}
    (tmp_path / "rank-1.json").write_text(json.dumps(left))
    (tmp_path / "hang.json").write_text(json.dumps({"named_by": 0, "hang_timeout_s": 1, "ranks": [], "others": []}))
    ended: list[int] = []
    with Watchdog(tmp_path, 0, 2, 0.3, end=ended.append) as watchdog:
        for step in range(10):
            watchdog.beat(step, "reduce")
            time.sleep(0.1)
    assert not ended


def test_a_rank_that_dies_on_another_machine_is_named(tmp_path: Path) -> None:
    """Its file is written by this test, as if over a network, and then no more."""
    ended: list[int] = []
    with Watchdog(tmp_path, 0, 2, 1.0, end=ended.append) as watchdog:
        for tick in range(35):
            if tick < 10:
                told = {"rank": 1, "host": "far", "pid": 7, "step": tick, "stage": "reduce", "beats": tick}
                told |= {"ticks": tick, "silent_s": 0.0, "warm": True, "ended": None, "stack": None}
                (tmp_path / "rank-1.json").write_text(json.dumps(told))
                watchdog.beat(tick, "reduce")
            time.sleep(0.1)
    assert ended
    assert set(ended) == {EXIT_CODE}
    message = describe(json.loads((tmp_path / "hang.json").read_text()))
    assert "rank 1 hangs: host far, pid 7, step 9, stage 'reduce'" in message
    assert "stopped, dead or cut off" in message


def test_a_rank_that_failed_is_named_with_its_error(tmp_path: Path) -> None:
    watchdog, ended = alone(tmp_path, 0.4)
    with pytest.raises(ValueError, match="broken"), Watchdog(tmp_path, 0, 1, 5.0) as other:
        _fail(other)
    assert json.loads((tmp_path / "rank-0.json").read_text())["ended"] == "ValueError: broken"
    with watchdog:
        watchdog.beat(0, "data")
        watchdog.beat(1, "data")
    assert json.loads((tmp_path / "rank-0.json").read_text())["ended"] == "done"
    assert not ended


def _fail(watchdog: Watchdog) -> None:
    watchdog.beat(0, "data")
    raise ValueError("broken")


def test_a_folder_that_cannot_be_written_names_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[int] = []
    with Watchdog(tmp_path, 0, 1, 0.3, end=ended.append) as watchdog:
        watchdog.beat(0, "data")
        watchdog.beat(1, "data")
        monkeypatch.setattr(module, "_replace", lambda path, data: False)
        time.sleep(1.0)
        assert not ended
        monkeypatch.undo()
        time.sleep(1.0)
    assert ended


def test_a_beat_costs_under_5_us_and_an_unknown_stage_is_refused(tmp_path: Path) -> None:
    watchdog = Watchdog(tmp_path, 0, 1, 60.0)
    fastest = 1.0
    for _ in range(20):
        begun = time.perf_counter()
        for step in range(1000):
            watchdog.beat(step, "forward")
        fastest = min(fastest, (time.perf_counter() - begun) / 1000)
    assert fastest < 5e-6
    with pytest.raises(KeyError):
        watchdog.beat(0, "lunch")
