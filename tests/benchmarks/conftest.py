"""The benchmarks are scripts, not a package: their folder is put on the path, as running one does."""

from __future__ import annotations

import sys
from pathlib import Path

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path += [str(BENCHMARKS / "speedrun"), str(BENCHMARKS)]
