"""The training loop: build, resume, for each step, report, save. Also `python -m bert_core.train recipe.toml`.

The loop knows nothing of Ray, Prefect or MLflow. It writes into one folder:

    checkpoints/step-…   what a killed run continues from
    metrics.jsonl        one line a report, by rank 0; a resumed run first cuts it back to its checkpoint
    model/               the result, a transformers folder
    summary.json         figures of the whole run, all attempts together
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from bert_core import checkpoint, hf, tokenizer
from bert_core.config import MlmObjective, TrainConfig, load
from bert_core.data import PretrainingData, SequenceData
from bert_core.distributed import World
from bert_core.files import write_atomically
from bert_core.heads import PretrainingModel, SequenceClassifier
from bert_core.model import init_weights
from bert_core.optim import build_optimizer, learning_rate
from bert_core.step import Model, TrainState, evaluate, train_step

Report = Callable[[dict[str, Any], Path | None], None]
"""Called by every rank equally often, with metrics (equal on all ranks) and the checkpoint just published, if any."""

Data = PretrainingData | SequenceData

MLM_BIAS = "mlm_head.bias"


def run(config: TrainConfig, *, work_dir: Path, report: Report) -> dict[str, Any]:
    """Train as `config` says, continuing from the newest valid checkpoint in `work_dir`.

    Returns:
        the summary: steps, tokens, seconds, held-out metrics before and after, padding share.

    Raises:
        CheckpointError: `work_dir` holds another run's checkpoint.
        NonFiniteLossError, ShardError, ConfigError: see there. All ranks stop.
    """
    torch.set_flush_denormal(True)  # denormals slowed the backward matrix products of a peaked softmax by 9 times
    set_precision(config.precision)
    world = World.current()
    data = build_data(config, config.train_data)
    held_out = build_data(config, config.eval_data) if config.eval_data else None
    total_steps = _total_steps(config, data)
    state = _fresh_state(config, data)
    _resume(config, state, work_dir, world)
    journal = Journal(work_dir / "metrics.jsonl", state.step, world)

    def publish(kind: str, metrics: dict[str, float], saved: Path | None = None) -> None:
        line = {"kind": kind, "step": state.step, "total_steps": total_steps, "tokens": state.tokens, **metrics}
        journal.write(line)
        report(line, saved)

    def measure() -> dict[str, float]:
        assert held_out is not None
        with averaged_weights(state):
            return evaluate(state.model, held_out.eval_batches(world.rank, world.size), world)

    if held_out and not state.first_eval:
        state.first_eval = measure()
        publish("eval", state.first_eval)
    while state.step < total_steps:
        started = time.perf_counter()
        metrics = train_step(
            state,
            data.batch(state.step, world.rank, world.size),
            lr=(lr := learning_rate(config.optimizer, state.step, total_steps)),
            clip_norm=config.optimizer.clip_norm,
            ema_decay=config.optimizer.ema_decay,
            seed=config.seed,
            world=world,
        )
        elapsed = time.perf_counter() - started
        state.seconds += elapsed
        last = state.step == total_steps
        if state.step % config.log_every == 0 or state.step == 1 or last:
            publish("train", {**metrics, "lr": lr, "tokens_per_second": metrics["step_tokens"] / elapsed})
        if held_out and (last or state.step % config.eval_every == 0):
            metrics = measure()
            publish("eval", metrics)
            _keep_best(config, state, metrics["loss"], work_dir, world)
        if last or state.step % config.checkpoint_every == 0:
            saved = _save(config, state, work_dir, world)
            publish("checkpoint", {}, saved)
    return _finish(config, state, data, work_dir, world)


def set_precision(precision: str) -> str:
    """Let matrix products round their inputs to bf16, or not; returns what was chosen.

    On a CPU with AMX tiles bf16 products ran 2.6 times as fast as fp32 ones, on others they are slower: hence `auto`.
    """
    chosen = precision
    if precision == "auto":
        chosen = "bf16" if torch.cpu._is_amx_tile_supported() else "fp32"
    torch.backends.mkldnn.matmul.fp32_precision = "bf16" if chosen == "bf16" else "ieee"  # type: ignore[attr-defined]
    return chosen


def _total_steps(config: TrainConfig, data: Data) -> int:
    epochs = math.inf if config.epochs is None else max(1, math.ceil(config.epochs * data.steps_per_epoch))
    return int(min(epochs, math.inf if config.steps is None else config.steps))


def build_data(config: TrainConfig, folder: str) -> Data:
    tokens = tokenizer.load(Path(config.tokenizer))
    if isinstance(config.objective, MlmObjective):
        return PretrainingData(Path(folder), tokens, config.objective, config.batch, config.seed)
    return SequenceData(Path(folder), tokens, config.objective, config.batch, config.seed)


def build_model(config: TrainConfig, data: Data) -> Model:
    """The model of `config`: random weights drawn from its seed, then those of `init` that fit.

    A masked-word head that `init` lacks starts from the frequencies of the words in `data`.
    """
    shape = config.model or hf.load_config(Path(config.init or ""))
    model: Model
    if isinstance(config.objective, MlmObjective):
        model = PretrainingModel(shape, nsp=config.objective.nsp)
    else:
        model = SequenceClassifier(shape, len(config.objective.labels))
    init_weights(model, shape.initializer_range, torch.Generator().manual_seed(config.seed))
    if isinstance(model, PretrainingModel):
        if not config.init or MLM_BIAS in hf.load_pretraining(Path(config.init), model).missing:
            model.mlm_head.start_from_frequencies(torch.from_numpy(data.shards.token_counts()))
    elif config.init:
        hf.load_classifier(Path(config.init), model)
    return model


@contextmanager
def averaged_weights(state: TrainState) -> Iterator[None]:
    """Within the block the model has its averaged weights, where an average is kept."""
    if state.ema is None:
        yield
        return
    parameters = dict(state.model.named_parameters())
    raw = {name: parameter.data for name, parameter in parameters.items()}
    for name, average in state.ema.items():
        parameters[name].data = average
    try:
        yield
    finally:
        for name, data in raw.items():
            parameters[name].data = data


class Journal:
    """Rank 0's metrics.jsonl. What was written after the checkpoint that we resume from is cut off: it comes again."""

    def __init__(self, path: Path, step: int, world: World) -> None:
        self.path = path if world.rank == 0 else None
        if self.path:
            path.parent.mkdir(parents=True, exist_ok=True)
            kept = [line for line in read_metrics(path) if step and line["step"] <= step]
            write_atomically(path, "".join(json.dumps(line) + "\n" for line in kept).encode())

    def write(self, line: dict[str, Any]) -> None:
        if self.path:
            with self.path.open("a") as file:
                file.write(json.dumps({"time": round(time.time(), 3), **line}) + "\n")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a metrics.jsonl; a torn last line, of a killed run, is left out."""
    lines = path.read_text().splitlines() if path.exists() else []
    parsed = []
    for line in lines:
        try:
            parsed.append(json.loads(line))
        except ValueError:
            break
    return parsed


def _fresh_state(config: TrainConfig, data: Data) -> TrainState:
    model = build_model(config, data)
    optimizer = build_optimizer(model, config.optimizer, model.config.num_layers)
    state = TrainState(model, optimizer)
    if config.optimizer.ema_decay is not None:
        state.ema = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    return state


def _identity(config: TrainConfig) -> dict[str, Any]:
    """What decides the weights: the config, with data by its index's hash and not by where it lies."""
    identity = config.model_dump(mode="json", exclude={"train_data", "eval_data", "tokenizer", "init"})
    index = Path(config.train_data) / "shards.json"
    return {**identity, "train_data_sha256": hashlib.sha256(index.read_bytes()).hexdigest()}


def _resume(config: TrainConfig, state: TrainState, work_dir: Path, world: World) -> None:
    root = work_dir / "checkpoints"
    found: checkpoint.Checkpoint | None = None
    if world.rank == 0:
        found, faults = checkpoint.newest_valid(root)
        for fault in faults:
            print(f"checkpoint passed over: {fault}", flush=True)
    step = world.broadcast_int(found.step if found else -1)
    if step < 0:
        return
    if found is None:
        found = checkpoint.open_checkpoint(root / f"step-{step:08d}")
    checkpoint.require_same_run(found, _identity(config))
    state.model.load_state_dict(found.tensors("model"))
    checkpoint.load_optimizer_tensors(state.optimizer, found.tensors("optimizer"))
    if state.ema is not None:
        state.ema = found.tensors("average")
    for name, value in found.progress.items():
        setattr(state, name, value)
    state.step = found.step
    if world.rank == 0:
        print(f"resuming from {found.path.name}", flush=True)


def _save(config: TrainConfig, state: TrainState, work_dir: Path, world: World) -> Path:
    root = work_dir / "checkpoints"
    path = root / f"step-{state.step:08d}"
    if world.rank == 0:
        tensors = {
            "model": _unshared(state.model),
            "optimizer": checkpoint.optimizer_tensors(state.optimizer),
            **({"average": state.ema} if state.ema is not None else {}),
        }
        counters = ("tokens", "padding", "seconds", "best", "first_eval")
        progress = {name: getattr(state, name) for name in counters}
        checkpoint.save(
            root, state.step, tensors, progress=progress, identity=_identity(config), keep=config.keep_checkpoints
        )
    world.barrier()
    return path


def _unshared(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The state dict with a storage of its own for every tensor: safetensors refuses shared ones."""
    seen: set[int] = set()
    state = {}
    for name, tensor in model.state_dict().items():
        state[name] = tensor.clone() if tensor.data_ptr() in seen else tensor
        seen.add(tensor.data_ptr())
    return state


def _keep_best(config: TrainConfig, state: TrainState, loss: float, work_dir: Path, world: World) -> None:
    if config.keep != "best" or loss >= state.best.get("loss", math.inf):
        return
    state.best = {"loss": loss, "step": state.step}
    if world.rank == 0:
        with averaged_weights(state):
            checkpoint.save(
                work_dir / "best", state.step, {"model": _unshared(state.model)}, progress={}, identity={}, keep=1
            )
    world.barrier()


def _finish(config: TrainConfig, state: TrainState, data: Data, work_dir: Path, world: World) -> dict[str, Any]:
    metrics = read_metrics(work_dir / "metrics.jsonl")
    evals = [line for line in metrics if line["kind"] == "eval"]
    positions = max(1, state.tokens + state.padding)
    summary: dict[str, Any] = {
        "steps": state.step,
        "epochs": state.step / data.steps_per_epoch,
        "samples": data.num_samples,
        "tokens": state.tokens,
        "seconds": round(state.seconds, 3),
        "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
        "padding_share": state.padding / positions,
        "world_size": world.size,
        "precision": set_precision(config.precision),
        "eval_before": state.first_eval,
        "eval_after": {k: v for k, v in evals[-1].items() if k.endswith(("loss", "accuracy"))} if evals else {},
        "best": state.best,
    }
    if world.rank == 0:
        if config.keep == "best" and state.best:
            best = checkpoint.open_checkpoint(work_dir / "best" / f"step-{int(state.best['step']):08d}")
            state.model.load_state_dict(best.tensors("model"))
            _export(config, state.model, work_dir / "model")
        else:
            with averaged_weights(state):
                _export(config, state.model, work_dir / "model")
        (work_dir / "summary.json").write_text(json.dumps(summary, indent=2, sort_keys=True))
    world.barrier()
    return summary


def _export(config: TrainConfig, model: Model, folder: Path) -> None:
    if isinstance(model, PretrainingModel):
        hf.export_pretraining(model, model.config, folder)
    else:
        assert config.objective.type == "sequence"
        hf.export_classifier(model, model.config, config.objective.labels, folder)
    tokenizer.load(Path(config.tokenizer)).save(folder)


def live_line(line: dict[str, Any]) -> str:
    """One report as a line for people."""
    done = f"step {line['step']}/{line['total_steps']}  {line['tokens']:,} tokens"
    figures = [
        f"{name} {line[key]:{form}}"
        for key, name, form in (
            ("loss", "loss", ".4f"),
            ("sequence_accuracy", "accuracy", ".4f"),
            ("mlm_accuracy", "mlm accuracy", ".4f"),
            ("grad_norm", "gradient norm", ".2f"),
            ("lr", "lr", ".2e"),
            ("tokens_per_second", "tokens/s", ",.0f"),
        )
        if key in line
    ]
    return "  ".join([f"{line['kind']:<10}", done, *figures])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bert_core.train",
        description="Train in this process, without Ray, Prefect or MLflow. The same command again continues.",
        epilog="example: python -m bert_core.train run.toml --out runs/a steps=100 optimizer.lr=5e-5",
    )
    parser.add_argument("recipe", help="TOML file with the keys of bert_core.config.TrainConfig")
    parser.add_argument("overrides", nargs="*", help="dotted key=value, for example optimizer.lr=5e-5")
    parser.add_argument("--out", type=Path, required=True, help="folder of checkpoints, metrics and the model")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="CPU threads (default: all cores)")
    arguments = parser.parse_intermixed_args()
    torch.set_num_threads(arguments.threads)
    config = load(arguments.recipe, TrainConfig, arguments.overrides)
    summary = run(config, work_dir=arguments.out, report=lambda line, _: print(live_line(line), flush=True))
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()
