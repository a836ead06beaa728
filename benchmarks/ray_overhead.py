"""What Ray Train costs: the same job launched by plain `torchrun` and by our Ray driver, in turns.

Both run `bert_core.train.run` with the same config, workers and threads (throughput's text and BERT), without Prefect
or MLflow. The steady state is what metrics.jsonl says of the tokens a second between the first tenth of the steps and
the last, so the start is not in it; the start is stated apart, from the command to the first step's end. Ray's cluster
is started by the driver itself, as on a laptop, so its start is in Ray's start-up.

Ray's own processes take some 12% of a core of each node, whatever its size. On two cores that both train, every one of
their wake-ups makes the other thread wait; `--threads 1` leaves them a core, as the many cores of a node do.

    python benchmarks/ray_overhead.py [--minutes 5] [--rounds 2] [--workers 1] [--threads 1]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pretraining_ours
from pretraining_texts import Corpus, prepare
from throughput import LENGTH, ROWS, SHAPES

from bert_core.config import TrainConfig
from bert_core.train import read_metrics

GOAL = 0.03
CALIBRATION_STEPS = 12
SKIPPED = 0.1
"""Share of the steps, at the beginning, that is not steady."""
ENVIRONMENT = {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0", "MALLOC_ARENA_MAX": "2"}


def torchrun(config: TrainConfig, folder: Path, workers: int, threads: int) -> list[str]:
    recipe = folder / "recipe.toml"
    recipe.write_text(_toml(config.model_dump(mode="json", exclude_none=True)))
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(workers)]
    return [*launcher, "-m", "bert_core.train", str(recipe), "--out", str(folder / "work"), "--threads", str(threads)]


def ray_train(config: TrainConfig, folder: Path, workers: int, threads: int) -> list[str]:
    (folder / "work").mkdir()
    spec = {
        "config": config.model_dump(mode="json"),
        "work_dir": str(folder / "work"),
        "ray_storage": str(folder / "ray"),
        "workers": workers,
        "threads": threads,
        "mirror": None,
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    return [sys.executable, "-m", "tasks.ray_driver", str(folder / "spec.json")]


LAUNCHERS = {"torchrun": torchrun, "Ray Train": ray_train}


def measure(launcher: str, config: TrainConfig, workers: int, threads: int) -> dict[str, float]:
    """Run the job to its end; tokens a second once steady, seconds to the first step and in all."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        command = LAUNCHERS[launcher](config, folder, workers, threads)
        started = time.time()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | ENVIRONMENT
            )
            code = process.wait()
        if code:
            raise RuntimeError(f"{launcher} ended with {code}:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
        whole = time.time() - started
        lines = [line for line in read_metrics(folder / "work/metrics.jsonl") if line["kind"] == "train"]
    steady = [line for line in lines if line["step"] >= SKIPPED * config.steps] if config.steps else lines
    first, last = steady[0], steady[-1]
    rate = (last["tokens"] - first["tokens"]) / (last["time"] - first["time"])
    return {"rate": rate, "start_s": lines[0]["time"] - started, "whole_s": whole}


def _toml(data: dict[str, Any], prefix: str = "") -> str:
    """Values first, then tables. JSON's strings, numbers, booleans and lists of them are TOML's, too."""
    plain = {key: value for key, value in data.items() if not isinstance(value, dict)}
    lines = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in plain.items()]
    for key, value in data.items():
        if isinstance(value, dict):
            lines += [f"\n[{prefix}{key}]", _toml(value, f"{prefix}{key}.")]
    return "\n".join(lines) + "\n"


def job(corpus: Corpus, options: argparse.Namespace, steps: int) -> TrainConfig:
    return pretraining_ours.config(
        corpus,
        SHAPES[options.size],
        batch={"rows": options.rows, "row_length": LENGTH},
        precision="auto",
        steps=steps,
        log_every=1,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=5, help="of each run")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--threads", type=int, help="of each worker (default: the machine's cores, shared)")
    parser.add_argument("--size", choices=SHAPES, default="4x256")
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--corpus", default="film-reviews")
    parser.add_argument("--folder", type=Path, help="of the tokenized corpora; default: bench in the home folder")
    options = parser.parse_args()
    corpus = prepare(options.corpus, options.folder)
    threads = options.threads or max(1, (os.cpu_count() or 1) // options.workers)
    tried = measure("torchrun", job(corpus, options, CALIBRATION_STEPS), options.workers, threads)
    steps = max(CALIBRATION_STEPS, round(tried["rate"] * 60 * options.minutes / (options.rows * LENGTH)))
    print(f"{options.size}, {options.workers} workers x {threads} threads, {steps} steps, {options.rounds} rounds")
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in LAUNCHERS}
    for _ in range(options.rounds):
        for name in LAUNCHERS:
            turns[name].append(measure(name, job(corpus, options, steps), options.workers, threads))
    middle = {
        name: {key: statistics.median(turn[key] for turn in found) for key in found[0]} for name, found in turns.items()
    }
    for name, found in middle.items():
        line = f"{name:<10} {found['rate']:8,.0f} tokens/s; {found['start_s']:.1f} s to the first step's end"
        print(f"{line}, {found['whole_s']:.0f} s in all", flush=True)
    overhead = middle["torchrun"]["rate"] / middle["Ray Train"]["rate"] - 1
    print(f"steady-state overhead of Ray Train: {overhead:+.1%} (goal < {GOAL:.0%})")


if __name__ == "__main__":
    sys.exit(main())
