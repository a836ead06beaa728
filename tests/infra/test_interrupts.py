"""Interrupts that come while a finalizer runs, in a process of their own."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import os, signal, sys, time, weakref
from infra.interrupts import keep_interrupts

class Pool: ...

def close():
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1_000): pass
    print("closed", flush=True)

if sys.argv[1] == "kept":
    keep_interrupts()
pool = Pool()
weakref.finalize(pool, close)
try:
    del pool
    print("after", flush=True)
    for _ in range(100): time.sleep(0.02)
    print("lost", flush=True)
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


@pytest.mark.parametrize(("how", "printed"), [("kept", "after\nstopped\n"), ("as Python has it", "after\nlost\n")])
def test_an_interrupt_within_a_finalizer_is_sent_again(how: str, printed: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == printed
    assert ("KeyboardInterrupt" in done.stderr) == (how != "kept")


def test_other_faults_of_a_finalizer_are_told_as_before() -> None:
    program = """
from infra.interrupts import keep_interrupts
keep_interrupts()
class Broken:
    def __del__(self): raise ValueError("of a finalizer")
Broken()
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert "ValueError: of a finalizer" in done.stderr
