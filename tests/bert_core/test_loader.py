from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from random_shards import random_documents, write_documents
from test_data import assert_equal

from bert_core.config import BatchConfig, MlmObjective
from bert_core.data import Loader, PretrainingData, RunLength
from bert_core.tokenizer import load


@dataclass
class Steps:
    """Data whose batch is its step; it keeps a list of what it was asked for."""

    total_steps: int = 50
    bad: int = -1
    pause_s: float = 0.001
    asked: list[int] = field(default_factory=list)
    threads: set[str] = field(default_factory=set)

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Any]:
        self.asked.append(step)
        self.threads.add(threading.current_thread().name)
        time.sleep(self.pause_s * (1 + step % 3))
        if step == self.bad:
            raise RuntimeError("a page could not be read")
        return [SimpleNamespace(step=step, share=(rank, world, micro_rows))]


@pytest.mark.parametrize("workers", [0, 1, 4])
def test_batches_come_in_the_order_of_steps(workers: int) -> None:
    with Loader(data := Steps(), rank=1, world=3, micro_rows=2, workers=workers) as loader:
        found = [loader.micro_batches(step)[0] for step in range(50)]
    assert [each.step for each in found] == sorted(data.asked) == list(range(50))
    assert found[0].share == (1, 3, 2)
    assert all(name.startswith("loader") for name in data.threads) == bool(workers)


def test_few_are_prepared_ahead_and_none_beyond_the_end() -> None:
    with Loader(data := Steps(total_steps=10, pause_s=0), workers=2, ahead=3) as loader:
        loader.micro_batches(0)
        time.sleep(0.2)
        assert sorted(data.asked) == [0, 1, 2, 3]
        for step in range(1, 10):
            loader.micro_batches(step)
        assert sorted(data.asked) == list(range(10))


def test_a_seek_drops_what_was_prepared() -> None:
    with Loader(Steps(), workers=2) as loader:
        assert [loader.micro_batches(step)[0].step for step in (0, 30, 31, 4, 49)] == [0, 30, 31, 4, 49]


@pytest.mark.parametrize("workers", [0, 3])
def test_an_error_is_raised_at_its_step_and_names_it(workers: int) -> None:
    with Loader(Steps(bad=7), workers=workers) as loader:
        for step in range(7):
            loader.micro_batches(step)
        with pytest.raises(RuntimeError, match="could not be read") as error:
            loader.micro_batches(7)
    assert error.value.__notes__ == ["while the batch of step 7 was prepared"]


def test_no_thread_is_left() -> None:
    before = threading.active_count()
    with pytest.raises(RuntimeError), Loader(Steps(bad=0), workers=4) as loader:
        loader.micro_batches(0)
    assert threading.active_count() == before


def test_ctrl_c_ends_a_process_soon() -> None:
    script = (
        "import sys, time; sys.path[:0] = sys.argv[1:]\n"
        "from test_loader import Steps\nfrom bert_core.data import Loader\n"
        "with Loader(Steps(total_steps=10**6, pause_s=0.01), workers=3) as loader:\n"
        "    print('ready', flush=True)\n"
        "    for step in range(10**6): loader.micro_batches(step)\n"
    )
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    process = subprocess.Popen(
        [sys.executable, "-c", script, *paths], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=20)
    assert process.returncode != 0
    assert "KeyboardInterrupt" in errors


@pytest.mark.parametrize("micro_rows", [None, 3])
def test_batches_are_the_same_for_any_number_of_threads(minilm: Path, tmp_path: Path, micro_rows: int | None) -> None:
    tokenizer = load(minilm)
    folder = write_documents(tmp_path / "shards", tokenizer, random_documents(200))
    data = PretrainingData(
        folder,
        tokenizer,
        MlmObjective(unit="span", nsp=True),
        BatchConfig(row_length=128, rows=8),
        13,
        length=RunLength(steps=15),
    )
    expected = [data.micro_batches(step, 0, 2, micro_rows) for step in range(15)]
    for workers in (1, 2, 5):
        with Loader(data, rank=0, world=2, micro_rows=micro_rows, workers=workers) as loader:
            for step, batches in enumerate(expected):
                for one, other in zip(loader.micro_batches(step), batches, strict=True):
                    assert_equal(one, other)
