"""Peak memory of a training process, ours against transformers' own Trainer: the same BERT, batch and text.

Each measurement is a fresh process that takes some steps of 32 rows of 128 in its real loop (see `throughput`: Trainer
in its blocks, which waste nothing) and then says the largest resident size that the kernel has seen of it (VmHWM): the
interpreter, the libraries and the tokenized corpus are in it. With --save, ours
also writes checkpoints in between.

    python benchmarks/memory.py [--sizes 4x256 6x384 12x768] [--steps 5] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import throughput
from alternating import Side
from pretraining_texts import prepare

GOAL = 0.5
SIDES = {
    "Trainer, fp32": {"side": "trainer", "form": "blocks", "precision": "fp32"},
    "Trainer, bf16": {"side": "trainer", "form": "blocks", "precision": "bf16"},
    "ours, fp32": {"side": "ours", "precision": "fp32"},
    "ours, bf16": {"side": "ours", "precision": "bf16"},
}


def peak(spec: dict[str, Any], steps: int, log: Path) -> int:
    """Bytes at their most in `steps` steps."""
    side = Side(throughput.__file__, spec, log)
    try:
        return max(int(side.turn()["peak_bytes"]) for _ in range(steps))
    finally:
        side.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=throughput.SHAPES, default=["4x256", "6x384", "12x768"])
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--rows", type=int, default=throughput.ROWS)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--corpus", default="film-reviews")
    parser.add_argument("--folder", help="of the tokenized corpora; default: bench in the home folder")
    parser.add_argument("--save", action="store_true", help="ours saves a checkpoint at every second step")
    options = parser.parse_args()
    prepare(options.corpus, Path(options.folder) if options.folder else None)
    common = {"threads": options.threads, "length": throughput.LENGTH, "rows": options.rows, "steps": 1}
    common |= {"corpus": options.corpus, "folder": options.folder}
    print(
        f"{options.rows} rows of {throughput.LENGTH}, {options.steps} steps, medians of {options.repeats}", flush=True
    )
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            found: dict[str, list[int]] = {name: [] for name in SIDES}
            for _ in range(options.repeats):
                for name, side in SIDES.items():
                    more = {"config": {"checkpoint_every": 2}} if options.save and side["side"] == "ours" else {}
                    most = peak({"size": size, **common, **side, **more}, options.steps, Path(folder) / "log")
                    found[name].append(most)
            middle = {name: statistics.median(values) for name, values in found.items()}
            base = min(value for name, value in middle.items() if name.startswith("Trainer"))
            for name, value in middle.items():
                line = f"{size:<7} {name:<14} {value / 1e6:8,.0f} MB"
                if name.startswith("ours"):
                    line += f"  {value / base:.2f} of Trainer's lower one (goal {GOAL})"
                print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
