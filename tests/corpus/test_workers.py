"""Parts on a real Ray."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import psutil
import pytest

from infra.stack import Stack
from tasks.text.documents import CorpusError
from tasks.workers import RayWorkers, WorkersGone, workers
from tests.corpus.work import allocator, dies_once, refuses, twice, waits


def test_results_come_from_other_processes_each_once(stack: Stack) -> None:
    ray = workers()
    assert isinstance(ray, RayWorkers)
    found = dict(ray.map(twice, range(20)))
    assert {index: result for index, (_, result) in found.items()} == {index: 2 * index for index in range(20)}
    assert os.getpid() not in {pid for pid, _ in found.values()}


def test_arrow_gives_memory_back_there_too(stack: Stack) -> None:
    assert [name for _, name in workers().map(allocator, range(2))] == ["system", "system"]


def test_a_single_item_stays_here(stack: Stack) -> None:
    assert list(workers().map(twice, [4])) == [(0, (os.getpid(), 8))]


def test_what_a_part_raises_arrives(stack: Stack) -> None:
    with pytest.raises(CorpusError, match="item 3 is not legal"):
        list(workers().map(refuses, range(6)))


def test_a_worker_that_dies_is_replaced(stack: Stack, tmp_path: Path) -> None:
    items = [(str(tmp_path), number) for number in range(5)]
    assert sorted(workers().map(dies_once, items)) == [(number, number) for number in range(5)]
    assert (tmp_path / "died").exists()


def test_a_driver_that_dies_says_what_to_do(stack: Stack) -> None:
    results = workers().map(waits, range(4))
    before = set(psutil.Process().children())
    threading.Timer(8, lambda: [child.kill() for child in set(psutil.Process().children()) - before]).start()
    with pytest.raises(WorkersGone, match="the same command continues"):
        next(results)
