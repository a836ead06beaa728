from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import psutil
import pytest

from tasks.memory import MemorySampler, pss_bytes, with_descendants

MB = 1_000_000
HOLD = "import sys, time; block = bytearray(b'x') * 60_000_000; print('ready', flush=True); time.sleep(60)"
NESTED = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {HOLD!r}])"


@pytest.fixture
def grandparent() -> Iterator[subprocess.Popen[str]]:
    """A process whose child holds 60 MB."""
    process = subprocess.Popen(
        [sys.executable, "-c", NESTED], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    with contextlib.suppress(ProcessLookupError):  # a test may have ended it
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def test_pss_is_the_kernels_own_figure() -> None:
    assert pss_bytes([os.getpid()]) == pytest.approx(psutil.Process().memory_full_info().pss, rel=0.05)


def test_a_process_counts_once_and_a_dead_one_not_at_all() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert pss_bytes([process.pid]) == 0
    assert with_descendants([process.pid]) == set()
    assert pss_bytes([os.getpid(), os.getpid()]) < 1.5 * pss_bytes([os.getpid()])


def test_the_memory_of_a_grandchild_counts(grandparent: subprocess.Popen[str]) -> None:
    tree = with_descendants([grandparent.pid])
    assert len(tree) == 2
    assert pss_bytes(tree) > 60 * MB
    assert pss_bytes([grandparent.pid]) < 40 * MB


def test_peaks_belong_to_the_stage_in_which_they_happened(grandparent: subprocess.Popen[str]) -> None:
    with MemorySampler([grandparent.pid], interval_s=0.05) as sampler:
        sampler.stage("holding")
        time.sleep(0.2)
        for child in psutil.Process(grandparent.pid).children():
            child.kill()
        grandparent.wait()
        sampler.stage("let go")
        time.sleep(0.2)
    assert sampler.peaks["holding"] > 60 * MB
    assert sampler.peaks["let go"] == 0
    assert sampler.peak == sampler.peaks["holding"]


def test_the_roots_may_change_while_it_watches(grandparent: subprocess.Popen[str]) -> None:
    roots: list[int] = []
    with MemorySampler(lambda: roots) as sampler:
        assert sampler.sample() == 0
        roots.append(grandparent.pid)
        assert sampler.sample() > 60 * MB


@pytest.mark.parametrize(
    ("variables", "pool"), [({}, "system"), ({"ARROW_DEFAULT_MEMORY_POOL": "mimalloc"}, "mimalloc")]
)
@pytest.mark.parametrize("module", ["flows.corpus", "tasks.text.split"])
def test_arrow_uses_the_allocator_that_gives_memory_back(module: str, variables: dict[str, str], pool: str) -> None:
    script = f"import {module}, pyarrow; print(pyarrow.default_memory_pool().backend_name)"
    clean = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=clean | variables)
    assert done.stdout.split()[-1:] == [pool], done.stderr
