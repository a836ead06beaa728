"""The training loop: build, resume, for each step, report, save. Also `python -m bert_core.train recipe.toml`.

The loop knows nothing of Ray, Prefect or MLflow. It writes into one folder:

    checkpoints/step-…   what a killed run continues from
    metrics.jsonl        one line a report, by rank 0; a resumed run first cuts it back to its checkpoint
    order/               on request, the sample ids of every step
    ranks/               where each rank is; hang.json names one that stopped
    nonfinite/           batches whose loss was not a number
    model/               the result, a transformers folder
    summary.json         figures of the whole run, all attempts together
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from bert_core.build import build_data, build_model
from bert_core.config import TrainConfig, load
from bert_core.distributed import process_group
from bert_core.journal import read_metrics
from bert_core.memory import keep_freed_memory
from bert_core.optim import learning_rate
from bert_core.progress import live_line
from bert_core.step import apply_gradients, measure_gradients
from bert_core.training_run import Report, TrainingRun

__all__ = ["Report", "build_data", "build_model", "live_line", "read_metrics", "run"]


def run(
    config: TrainConfig,
    *,
    work_dir: Path,
    report: Report,
    preempted: Callable[[], bool] | None = None,
    mirror: str | None = None,
) -> dict[str, Any]:
    """Train as `config` says, continuing from the newest valid checkpoint in `work_dir` or the mirror.

    Args:
        preempted: asked by all ranks together every `log_every` steps; True on any: a machine goes away soon. A
            checkpoint is then saved at once, and waited for, and training goes on until the end comes.
        mirror: path or URI where checkpoints are copied to as well, such as s3://bucket/run.

    Returns:
        the summary: steps, tokens, seconds, held-out metrics before and after, padding share.

    Raises:
        CheckpointError: `work_dir` holds another run's checkpoint, or the last checkpoint could not be saved.
        NonFiniteLossError, ShardError, ConfigError: see there. All ranks stop.
    """
    torch.set_flush_denormal(True)  # denormals slowed the backward matrix products of a peaked softmax by 9 times
    with ExitStack() as stack:
        this = TrainingRun.set_up(config, work_dir, report, mirror, stack)
        state, data, beat = this.state, this.data, this.watchdog.beat
        if this.held_out and not state.first_eval:
            this.evaluate()
        is_saved_for_preemption = False
        while state.step < data.total_steps and not this.is_patience_gone:
            started = time.perf_counter()
            beat(state.step, "data")
            this.thaw()
            micro_batches = this.loader.micro_batches(state.step)
            this.journal.order(state.step, [sample for batch in micro_batches for sample in batch.sample_ids])
            figures = measure_gradients(
                state,
                micro_batches,
                precision=this.precision,
                seed=config.seed,
                world=this.world,
                device=this.device,
                beat=beat,
                method=config.method,
                halve=this.halve,
            )
            this.refuse_nonfinite(figures, micro_batches)
            lr = learning_rate(config.optimizer, state.step, data.total_steps)
            beat(state.step, "optimizer")
            apply_gradients(state, figures, lr=lr, optimizer=config.optimizer)
            this.count(figures, this.flops(micro_batches), time.perf_counter() - started)
            is_last = state.step == data.total_steps
            is_logged = state.step % config.log_every == 0 or state.step == 1 or is_last
            if is_logged:
                this.publish("train", this.step_metrics(lr))
            if this.held_out and (is_last or this.is_due(config.eval_every, config.eval_every_tokens)):
                this.evaluate()
            if is_last or this.is_patience_gone or state.step % config.checkpoint_every == 0:
                this.save()
            elif is_logged and not is_saved_for_preemption and this.any_rank(preempted):
                is_saved_for_preemption = True
                this.save(reason="preempted")
        return this.finish()


def main() -> None:
    arguments = _parser().parse_intermixed_args()
    try:
        _train(arguments)
    except Exception as error:
        if not any(kind.__module__.startswith("bert_core.") for kind in type(error).__mro__):
            raise
        sys.exit(f"error: {error}")  # our own say all that a person needs; any other is a fault of ours


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bert_core.train",
        description="Train in this process, without Ray, Prefect or MLflow. The same command again continues.",
        epilog="examples: python -m bert_core.train run.toml steps=100 optimizer.lr=5e-5 --out runs/a; "
        "torchrun --nproc-per-node 2 -m bert_core.train run.toml",
    )
    parser.add_argument("recipe", help="TOML file with the keys of bert_core.config.TrainConfig")
    parser.add_argument("overrides", nargs="*", help="dotted key=value, for example optimizer.lr=5e-5")
    parser.add_argument(
        "--out", type=Path, help="folder of checkpoints, metrics and the model (default: runs/ and the recipe's name)"
    )
    parser.add_argument("--mirror", help="path or URI where checkpoints are copied to, such as s3://bucket/run")
    parser.add_argument("--threads", type=int, help="CPU threads of each process (default: all cores, shared)")
    return parser


def _train(arguments: argparse.Namespace) -> None:
    keep_freed_memory()
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    torch.set_num_threads(arguments.threads or max(1, (os.cpu_count() or 1) // processes))
    config = load(arguments.recipe, TrainConfig, arguments.overrides)
    out = arguments.out or Path("runs") / config.name
    with process_group() as world, _stopped_gently() as is_stopped:

        def report(line: dict[str, Any], saved: Path | None) -> None:
            if world.rank == 0:
                print(live_line(line), flush=True)
            if saved is not None and "reason" in line:
                raise KeyboardInterrupt

        try:
            summary = run(config, work_dir=out, report=report, preempted=is_stopped, mirror=arguments.mirror)
        except KeyboardInterrupt:
            sys.exit("stopped; the checkpoint is saved, and the same command continues")
        if world.rank == 0:
            print(json.dumps(summary, indent=2))
            print(f"The model lies in {out / 'model'}, for transformers' AutoModel.", file=sys.stderr)


@contextmanager
def _stopped_gently() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed: the run then saves and stops. Pressed again, it ends at once."""
    pressed = threading.Event()

    def press(signum: int, frame: object) -> None:
        del signum, frame
        if pressed.is_set():
            raise KeyboardInterrupt
        print("saving a checkpoint, then stopping (Ctrl-C again: at once)", flush=True)
        pressed.set()

    before = signal.signal(signal.SIGINT, press)
    try:
        yield pressed.is_set
    finally:
        signal.signal(signal.SIGINT, before)


if __name__ == "__main__":
    main()
