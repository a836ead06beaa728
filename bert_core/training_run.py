"""One run on one rank, as the loop of `bert_core.train` finds it: set up, resumed, evaluated, saved, finished."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch

from bert_core import checkpoint, kernels
from bert_core.build import Data, build_data, export, fresh_state, model_shape, run_length
from bert_core.checkpoint import CheckpointError
from bert_core.checkpoint_writer import CheckpointWriter
from bert_core.config import HOW_IT_RUNS, ModelConfig, TrainConfig
from bert_core.data import Batch, Loader
from bert_core.distributed import World
from bert_core.features import FEATURES
from bert_core.files import file_sha256, write_json
from bert_core.flops import peak_flops, shape_of, training_flops
from bert_core.journal import Journal, read_metrics
from bert_core.methods.freezing import first_learning, set_learning, tensors_sha256
from bert_core.methods.out_of_memory import smaller_micro_rows
from bert_core.methods.passes import num_passes
from bert_core.mirror import Mirror
from bert_core.nonfinite import find_nonfinite, stop_or_skip
from bert_core.precision import resolve
from bert_core.progress import Throughput, process_figures
from bert_core.retention import Keep
from bert_core.seq2seq import Seq2SeqModel
from bert_core.seq2seq_flops import seq2seq_flops
from bert_core.step import StepFigures, TrainState, averaged_weights, evaluate
from bert_core.task_models import TaskModel
from bert_core.watchdog import Watchdog

Report = Callable[[dict[str, Any], Path | None], None]
"""Called by every rank equally often, with metrics (equal on all ranks) and the checkpoint just saved, if any."""


class Unread(NamedTuple):
    """A step whose figures a GPU may still be computing."""

    step: int
    """Optimizer steps done before it."""
    figures: StepFigures
    flops: float
    seconds: float


@dataclass
class TrainingRun:
    """What the steps of one run share: its state, its data, and everybody it tells."""

    config: TrainConfig
    work_dir: Path
    report: Report
    world: World
    device: torch.device
    precision: Literal["fp32", "bf16"]
    identity: dict[str, Any]
    """What decides the weights, as a checkpoint keeps it."""
    shape: ModelConfig
    data: Data
    held_out: Data | None
    state: TrainState
    journal: Journal
    watchdog: Watchdog
    writer: CheckpointWriter | None
    """Rank 0's."""
    mirror: Mirror | None
    throughput: Throughput
    loader: Loader
    micro_rows: int | None
    """Rows of a micro batch: as configured, or as few as memory made it."""
    unread: list[Unread]
    last: dict[str, float]
    """Figures of the last step that was read."""

    @classmethod
    def set_up(
        cls, config: TrainConfig, work_dir: Path, report: Report, mirror_uri: str | None, stack: ExitStack
    ) -> TrainingRun:
        world = World.current()
        device = world.device
        precision = resolve(config.precision, device)
        data = build_data(config, config.train_data, length=run_length(config))
        held_out = build_data(config, config.eval_data) if config.eval_data else None
        state = fresh_state(config, data, world, device, precision)
        mirror = Mirror(mirror_uri) if mirror_uri else None
        identity = _identity(config, state)
        _resume(identity, state, work_dir, world, mirror)
        journal = Journal(work_dir / "metrics.jsonl", state.step, world, log_order=config.runtime.log_order)
        watchdog = stack.enter_context(
            Watchdog(work_dir / "ranks", world.rank, world.size, config.runtime.hang_timeout_s)
        )
        writer = None
        if world.rank == 0:
            keep = Keep(config.keep_checkpoints, config.keep == "best", config.keep_every_tokens)
            writer = stack.enter_context(CheckpointWriter(work_dir / "checkpoints", keep, mirror=mirror))
        left = data.positions_before(data.total_steps) - data.positions_before(state.step)
        micro_rows = config.runtime.micro_rows
        this = cls(
            config,
            work_dir,
            report,
            world,
            device,
            precision,
            identity,
            model_shape(config),
            data,
            held_out,
            state,
            journal,
            watchdog,
            writer,
            mirror,
            Throughput(left, peak_flops(device, precision)),
            _loader(config, data, world, micro_rows),
            micro_rows,
            [],
            {},
        )
        stack.callback(lambda: this.loader.close())
        return this

    def thaw(self) -> None:
        """Let learn what learns in the step to come."""
        model, method = self.state.model, self.config.method
        if method.unfreeze is not None and isinstance(model, TaskModel):
            set_learning(model, first_learning(method, self.shape, self.state.step, self.data.total_steps))

    def halve(self, batches: Sequence[Batch], cause: str) -> Sequence[Batch]:
        """This rank's samples of the step in micro batches of half as many rows, as those of all later steps.

        Raises:
            OutOfMemoryError: no smaller ones can be made.
        """
        rows, smaller = self.micro_rows or max(len(batch.input_ids) for batch in batches), batches
        while len(smaller) <= len(batches):
            self.micro_rows = rows = smaller_micro_rows(rows, self.state.parallel.strategy, cause)
            smaller = self.data.micro_batches(self.state.step, self.world.rank, self.world.size, rows)
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        reason = f"a batch did not fit into memory; from now on micro batches of {rows} rows are added up ({cause})"
        self.journal.write({**self._line("halved", {}), "micro_rows": rows, "reason": reason})
        print(f"halved: {reason}", flush=True)
        self.loader.close()
        self.loader = _loader(self.config, self.data, self.world, rows)
        return smaller

    def is_due(self, every_steps: int, every_positions: int | None) -> bool:
        """Whether the step just done reaches the next multiple of so many positions or, without these, steps."""
        if every_positions is None:
            return self.state.step % every_steps == 0
        before, after = (self.data.positions_before(self.state.step - back) for back in (1, 0))
        return before // every_positions < after // every_positions

    @property
    def is_patience_gone(self) -> bool:
        patience = self.config.patience
        return patience is not None and self.state.evaluations_without_gain >= patience

    def any_rank(self, asked: Callable[[], bool] | None) -> bool:
        """Whether any rank says yes; all must call it, and either all or none have something to ask."""
        if asked is None:
            return False
        return bool(self.world.sum(torch.tensor([float(asked())])))

    def publish(self, kind: str, metrics: dict[str, Any], saved: Path | None = None) -> None:
        line = self._line(kind, metrics)
        self.journal.write(line)
        self.report(line, saved)

    def _line(self, kind: str, metrics: dict[str, Any]) -> dict[str, Any]:
        state = self.state
        about = {"kind": kind, "step": state.step, "total_steps": self.data.total_steps, "tokens": state.tokens}
        return {**about, **metrics}

    def refuse_nonfinite(self, figures: StepFigures, batches: Sequence[Batch]) -> None:
        """On a CPU, before anything changes: stop all ranks, or record what is left out."""
        if self.device.type == "cpu":
            self._refuse(self.state.step, figures, batches)

    def _refuse(self, step: int, figures: StepFigures, batches: Sequence[Batch]) -> None:
        values = figures.read()
        found = find_nonfinite(
            step=step,
            loss=values["loss"],
            grad_norm=values["grad_norm"],
            rank_losses=dict(zip(figures.names, figures.own.tolist(), strict=True)),
            batches=batches,
            model=self.state.model,
            world=self.world,
            folder=self.work_dir / "nonfinite",
        )
        if found is not None:
            runtime = self.config.runtime
            self.state.skipped = stop_or_skip(found, runtime.on_nonfinite, self.state.skipped, runtime.max_skipped)
            self.journal.write({**self._line("skip", {}), **found.journal_line()})

    def flops(self, batches: Sequence[Batch]) -> float:
        """Of this rank's step."""
        if isinstance(self.state.model, Seq2SeqModel):
            return float(seq2seq_flops(self.state.model, batches))
        once = training_flops(self.shape, shape_of(self.shape, batches))
        return float(once * num_passes(self.config.method))

    def count(self, figures: StepFigures, flops: float, seconds: float) -> None:
        """Add up what the step did. A GPU's figures are read where somebody wants them: reading waits for the GPU."""
        self.state.seconds += seconds
        self.unread.append(Unread(self.state.step - 1, figures, flops, seconds))
        if self.device.type == "cpu":
            self.settle()

    def settle(self) -> None:
        for step, figures, flops, seconds in self.unread:
            if self.device.type != "cpu" and not bool(figures.finite):  # nothing was changed: found_inf on the device
                world = self.world
                self._refuse(step, figures, self.data.micro_batches(step, world.rank, world.size, self.micro_rows))
            values = figures.read()
            tokens, positions = int(values.pop("step_tokens")), int(values.pop("step_positions"))
            if math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"]):  # JSON has no NaN
                self.last = values
            self.state.tokens += tokens
            self.state.padding += positions - tokens
            self.throughput.add(tokens=tokens, positions=positions, flops=flops, seconds=seconds)
        self.unread.clear()

    def step_metrics(self, lr: float) -> dict[str, Any]:
        """What a train line says: the last step's losses, and the speed since the line before."""
        self.settle()
        return {**self.last, "lr": lr, **self.throughput.line(), **process_figures(self.device)}

    def evaluate(self) -> None:
        """Measure the held-out loss with the averaged weights, where there are any; keep count of the best."""
        assert self.held_out is not None
        self.settle()
        state, world = self.state, self.world
        with averaged_weights(state):
            metrics = evaluate(
                state,
                self.held_out.eval_batches(world.rank, world.size),
                precision=self.precision,
                world=world,
                device=self.device,
                beat=self.watchdog.beat,
            )
        if not state.first_eval:
            state.first_eval = metrics
        elif metrics["loss"] < state.best.get("loss", math.inf):
            state.best = {"loss": metrics["loss"], "step": state.step}
            state.evaluations_without_gain = 0
        else:
            state.evaluations_without_gain += 1
        self.publish("eval", metrics)
        if self.config.keep == "best" and state.best.get("step") == state.step:
            self.save()

    def save(self, *, reason: str | None = None) -> None:
        """Begin a checkpoint: copied now, written behind; with a `reason`, waited for."""
        self.settle()
        state = self.state
        self.watchdog.beat(state.step, "save")
        line = self._line("checkpoint", {} if reason is None else {"reason": reason})
        self.journal.write(line)  # before it is saved: a line that comes later is missing after a kill in between
        model, optimizer = state.parallel.full_state(state.optimizer)
        tensors = {"model": model, "optimizer": optimizer}
        if state.ema is not None:
            tensors["average"] = state.parallel.whole(state.ema)
        path = self.work_dir / "checkpoints" / checkpoint.step_name(state.step)
        if self.writer is not None:
            self.writer.save(
                state.step,
                tensors,
                progress={name: getattr(state, name) for name in TrainState.COUNTERS},
                identity=self.identity,
                positions=self.data.positions_before(state.step),
                loss=state.best["loss"] if state.best.get("step") == state.step else None,
            )
            if reason is not None:
                with suppress(CheckpointError):  # told of below; the one before it is still there
                    self.writer.wait()
            self._tell_of_failures(self.writer)
        self.report(line, path)

    def _tell_of_failures(self, writer: CheckpointWriter) -> None:
        for event in writer.events():
            self.journal.write({**self._line(event["kind"], {}), **event})  # the failed checkpoint's step, not today's
            print(f"{event['kind']}: {event['reason']}", flush=True)

    def finish(self) -> dict[str, Any]:
        """Wait for the last checkpoint, write the model and the summary.

        Raises:
            CheckpointError: the last checkpoint could not be saved.
        """
        self.settle()
        config, state, world = self.config, self.state, self.world
        if self.writer is not None:
            try:
                self.writer.wait()
            finally:
                self._tell_of_failures(self.writer)
        evals = [line for line in read_metrics(self.work_dir / "metrics.jsonl") if line["kind"] == "eval"]
        summary: dict[str, Any] = {
            "steps": state.step,
            "epochs": self.data.epochs_before(state.step),
            "samples": self.data.num_samples,
            "tokens": state.tokens,
            "skipped_steps": state.skipped,
            "seconds": round(state.seconds, 3),
            "tokens_per_second": round(state.tokens / max(state.seconds, 1e-9), 1),
            "padding_share": state.padding / max(1, state.tokens + state.padding),
            "world_size": world.size,
            "precision": self.precision,
            "parameters": sum(p.numel() for p in state.model.parameters()),
            "trained_parameters": sum(
                p.numel() for name, p in state.model.named_parameters() if name not in state.parallel.constant
            ),
            "cpu_kernels": self.device.type == "cpu" and kernels.available(),
            "eval_before": state.first_eval,
            "eval_after": {k: v for k, v in evals[-1].items() if k.endswith(("loss", "accuracy"))} if evals else {},
            "best": state.best,
            **process_figures(self.device),
        }
        weights = state.parallel.whole({**state.model.state_dict(), **(state.ema or {})})
        if world.rank == 0:
            if config.keep == "best" and state.best:
                best, _ = checkpoint.best_valid(self.work_dir / "checkpoints", self.mirror)
                if best is not None:  # on a full disk not the very best, or none
                    summary["best"] = {"loss": best.loss, "step": best.step}
                    weights |= best.tensors("average" if best.has("average") else "model")
            export(config, weights, self.work_dir / "model")
            write_json(self.work_dir / "summary.json", summary)
        world.barrier()
        return summary


def _loader(config: TrainConfig, data: Data, world: World, micro_rows: int | None) -> Loader:
    workers = config.runtime.loader_workers
    return Loader(data, rank=world.rank, world=world.size, micro_rows=micro_rows, workers=workers)


def _identity(config: TrainConfig, state: TrainState) -> dict[str, Any]:
    """What decides the weights: the config, with data by its index's hash and not by where it lies, and those weights
    that a checkpoint leaves out. All ranks must call it; rank 0's is whole."""
    index = Path(config.train_data) / ("shards.json" if config.objective else FEATURES)
    where = {"train_data", "eval_data", "tokenizer", "init", "method", "auxiliary"}
    parallel = state.parallel
    kept = {name: p for name, p in parallel.model.named_parameters() if name in parallel.constant}
    return {
        **config.model_dump(mode="json", exclude={*where, *HOW_IT_RUNS}),
        "method": config.method.chosen,
        "auxiliary": {
            each.name: {
                **each.model_dump(mode="json", exclude={"train_data"}),
                "train_data_sha256": file_sha256(Path(each.train_data) / FEATURES),
            }
            for each in config.auxiliary
        },
        "train_data_sha256": hashlib.sha256(index.read_bytes()).hexdigest(),
        **({"constant_sha256": tensors_sha256(parallel.whole(kept))} if kept else {}),
    }


def _resume(identity: dict[str, Any], state: TrainState, work_dir: Path, world: World, mirror: Mirror | None) -> None:
    """Rank 0 reads the newest valid checkpoint and sends the others their share; where there is none, nothing."""
    found, tensors = None, {}
    if world.rank == 0:
        found, faults = checkpoint.newest_valid(work_dir / "checkpoints", mirror)
        for fault in faults:
            print(f"checkpoint passed over: {fault}", flush=True)
        if found is not None:
            checkpoint.require_same_run(found, identity)
            print(f"resuming from {found.path.name}", flush=True)
            tensors = {name: found.tensors(name) for name in ("model", "optimizer", "average") if found.has(name)}
    progress = world.broadcast_object(None if found is None else {**found.progress, "step": found.step})
    if progress is None:
        return
    state.parallel.load_full_state(state.optimizer, tensors.get("model", {}), tensors.get("optimizer", {}))
    if state.ema is not None:
        state.parallel.fill(state.ema, tensors.get("average", {}))
    for name, value in progress.items():
        setattr(state, name, value)
