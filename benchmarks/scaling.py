"""What two workers on two cores give against one worker on one core, and an estimate for 8, 64 and 256 GPUs.

The same job (throughput's text and BERT, the same global batch) by `torchrun`, one thread a worker, each worker pinned
to a core: one worker, then two, in turns. Of each: tokens a second, and of two workers the bytes of gradients that a
step reduces, the seconds in the reduction, and how much of it ran while the backward pass still computed:

    replicate   whole gradients after the backward pass, in one fixed order: nothing overlaps, by design
    ddp         torch's buckets, during the backward pass

The workers share memory bandwidth and a last-level cache, and talk over loopback.
The estimate takes the gradient bytes measured here, and the compute time of a step on one GPU from --gpu-step-ms
(`benchmarks/gpu.py` prints it; the default is BERT-base at 55% of an H200's 989 TFLOP/s on 65,536 tokens a GPU).

    python benchmarks/scaling.py [--size 4x256] [--rounds 3] [--steps 12]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pretraining_ours
import torch
import torch.distributed as dist
from pretraining_texts import prepare
from scaling_estimate import table
from throughput import LENGTH, ROWS, SHAPES

from bert_core import train
from bert_core.config import TrainConfig, dump_json
from bert_core.distributed import process_group

BASE_PARAMETERS = 109_514_298
"""BERT-base with its masked-word head."""
DEFAULT_STEP_MS = 6 * 86e6 * 65_536 / (0.55 * 989e12) * 1e3
SMALL = 4096
"""Elements; smaller reductions are counts and losses."""


@dataclass
class Reduction:
    """One all-reduce of gradients."""

    size: int
    launched: float
    is_async: bool
    done: float | None = None


class Reductions:
    """Notes every large `dist.all_reduce` of this process: its bytes, when it was launched, and when it was done."""

    def __init__(self) -> None:
        self._noted: list[Reduction] = []
        self._original = dist.all_reduce

    def __enter__(self) -> Reductions:
        dist.all_reduce = self._all_reduce
        return self

    def __exit__(self, *_: object) -> None:
        dist.all_reduce = self._original

    def _all_reduce(self, tensor: torch.Tensor, *arguments: Any, async_op: bool = False, **named: Any) -> Any:
        noted = Reduction(tensor.numel() * tensor.element_size(), time.perf_counter(), async_op)
        work = self._original(tensor, *arguments, async_op=async_op, **named)
        if tensor.numel() > SMALL:
            self._noted.append(noted)
        if async_op:
            work.get_future().add_done_callback(lambda _: setattr(noted, "done", time.perf_counter()))
        else:
            noted.done = time.perf_counter()
        return work

    def take(self) -> dict[str, float]:
        """Of the step that ends here: bytes; seconds in which some reduction ran; and how many of them were bare.

        Those that were waited for at once are bare. Of those in flight during the backward pass, what came after the
        last was launched: its gradients are the last that the backward pass computes.
        """
        noted, self._noted = [each for each in self._noted if each.done is not None], []
        busy, until = 0.0, 0.0
        for each in noted:
            busy += max(0.0, each.done - max(each.launched, until))
            until = max(until, each.done)
        waited = sum(each.done - each.launched for each in noted if not each.is_async)
        flying = [each for each in noted if each.is_async]
        rest = max(each.done for each in flying) - max(each.launched for each in flying) if flying else 0.0
        return {"bytes": sum(each.size for each in noted), "busy_s": busy, "bare_s": waited + rest}


def worker(spec: Path, out: Path) -> None:
    """One rank: trains, and rank 0 writes what it saw of each step."""
    settings = TrainConfig.model_validate_json(spec.read_text())
    pretraining_ours.prepare_process(1)
    steps: list[dict[str, float]] = []
    with process_group() as world, Reductions() as reductions, tempfile.TemporaryDirectory() as folder:
        work_dir = Path(folder) if world.rank else out / "work"

        def report(line: dict[str, Any], _: Path | None) -> None:
            if line["kind"] == "train":
                steps.append({"time": time.perf_counter(), "tokens": line["tokens"], **reductions.take()})

        train.run(settings, work_dir=work_dir, report=report)
        if world.rank == 0:
            (out / "figures.json").write_text(json.dumps(steps))


def measure(workers: int, parallel: str, options: argparse.Namespace) -> dict[str, float]:
    corpus = prepare(options.corpus, options.folder)
    settings = pretraining_ours.config(
        corpus,
        SHAPES[options.size],
        batch={"rows": options.rows, "row_length": LENGTH},
        precision=options.precision,
        steps=options.steps + 1,
        runtime={"parallel": parallel},
    )
    with tempfile.TemporaryDirectory() as folder:
        spec = Path(folder) / "config.json"
        spec.write_text(dump_json(settings))
        command = ["taskset", "-c", ",".join(map(str, range(workers))), sys.executable, "-m", "torch.distributed.run"]
        command += ["--standalone", "--nproc-per-node", str(workers), __file__, "--worker", str(spec), folder]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"{workers} workers, {parallel}: {done.stderr[-3000:]}")
        steps: list[dict[str, float]] = json.loads((Path(folder) / "figures.json").read_text())
    first, last, count = steps[0], steps[-1], len(steps) - 1
    means = {key: statistics.mean(step[key] for step in steps[1:]) for key in ("bytes", "busy_s", "bare_s")}
    seconds = last["time"] - first["time"]
    return {"rate": (last["tokens"] - first["tokens"]) / seconds, "step_s": seconds / count, **means}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SHAPES, default="4x256")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--gpu-step-ms", type=float, default=DEFAULT_STEP_MS)
    parser.add_argument("--corpus", default="film-reviews")
    parser.add_argument("--folder", type=Path, help="of the tokenized corpora; default: bench in the home folder")
    parser.add_argument("--worker", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        worker(*options.worker)
        return
    kinds = {"1 worker": (1, "replicate"), "2, replicate": (2, "replicate"), "2, ddp": (2, "ddp")}
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in kinds}
    for _ in range(options.rounds):
        for name, (workers, parallel) in kinds.items():
            turns[name].append(measure(workers, parallel, options))
    base = statistics.median(turn["rate"] for turn in turns["1 worker"])
    print(f"{options.size}, {options.rows} rows of {LENGTH}, one thread and one core a worker, {options.rounds} rounds")
    for name, found in turns.items():
        rate = statistics.median(turn["rate"] for turn in found)
        line = f"{name:<14} {rate:8,.0f} tokens/s  {rate / base:.2f} x"
        if name != "1 worker":
            line += _reduction(found)
        print(line, flush=True)
    print(
        f"\nBERT-base in fp32, {BASE_PARAMETERS * 4 / 1e6:,.0f} MB of gradients, {options.gpu_step_ms:.0f} ms a step:"
    )
    print(*table(BASE_PARAMETERS * 4, options.gpu_step_ms / 1e3), sep="\n")


def _reduction(found: list[dict[str, float]]) -> str:
    middle = {key: statistics.median(turn[key] for turn in found) for key in found[0]}
    busy, bare = middle["busy_s"], middle["bare_s"]
    share, hidden = busy / middle["step_s"], max(0.0, 1 - bare / busy) if busy else 0.0
    line = f"  {middle['bytes'] / 1e6:.1f} MB a step, {busy * 1e3:.1f} ms in reductions ({share:.1%} of a step)"
    return f"{line}, {hidden:.0%} of it during the backward pass"


if __name__ == "__main__":
    sys.exit(main())
