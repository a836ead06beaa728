"""Memory that training keeps, and what it says of it."""

from __future__ import annotations

import subprocess
import sys

PAGES = """
import resource, torch
from bert_core.memory import keep_freed_memory
kept = keep_freed_memory()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(8 << 20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
faults()
print(kept, faults())
"""


def test_memory_that_was_freed_is_not_mapped_again() -> None:
    kept, faults = subprocess.run(
        [sys.executable, "-c", PAGES], capture_output=True, text=True, check=True
    ).stdout.split()
    assert kept == "False" or int(faults) < 100, "five tensors of 32 MB are 40,960 pages"


def test_the_peak_is_not_that_of_the_parent() -> None:
    ballast = bytearray(b"x") * 500_000_000
    code = "from bert_core.memory import peak_bytes; x = bytearray(b'x') * 50_000_000; del x; print(peak_bytes())"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert 50_000_000 < int(shown) < len(ballast)
