"""One optimizer step, one evaluation pass, and the state that they work on."""

from __future__ import annotations

import gc
import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from bert_core.config import MethodConfig, OptimizerConfig
from bert_core.data import Batch
from bert_core.distributed import World
from bert_core.heads import PretrainingModel, PretrainingOutput
from bert_core.loss import Loss, linear_cross_entropy
from bert_core.methods.objective import task_counted, task_losses
from bert_core.methods.out_of_memory import OUT_OF_MEMORY, is_out_of_memory
from bert_core.methods.passes import Pass, added_losses, passes
from bert_core.nonfinite import NonFiniteLossError
from bert_core.optim import update
from bert_core.parallel import Parallel
from bert_core.precision import compute
from bert_core.seq2seq import Seq2SeqModel
from bert_core.task_models import TaskModel

__all__ = [
    "NonFiniteLossError",
    "StepFigures",
    "TrainState",
    "apply_gradients",
    "averaged_weights",
    "evaluate",
    "measure_gradients",
]

Beat = Callable[[int, str], None]
"""Tells the watchdog where this rank is: step and stage."""
Halve = Callable[[Sequence[Batch], str], Sequence[Batch]]
"""Given this rank's micro batches, and why they do not fit into memory: the same samples in smaller ones."""
NO_METHOD = MethodConfig()


@dataclass
class TrainState:
    """Everything that changes while a run goes on. What is not a tensor is a counter that a checkpoint carries."""

    parallel: Parallel
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Optimizer steps done, those left out included."""
    tokens: int = 0
    """Tokens seen by all ranks, padding not counted."""
    padding: int = 0
    """Padding positions computed by all ranks."""
    seconds: float = 0.0
    """Time spent in training steps, over all attempts."""
    skipped: int = 0
    """Steps left out because their loss was not finite."""
    ema: dict[str, Tensor] | None = None
    best: dict[str, float] = field(default_factory=dict)
    """Lowest held-out loss, and its step."""
    first_eval: dict[str, float] = field(default_factory=dict)
    evaluations_without_gain: int = 0

    COUNTERS = ("tokens", "padding", "seconds", "skipped", "best", "first_eval", "evaluations_without_gain")

    @property
    def model(self) -> torch.nn.Module:
        return self.parallel.model


@dataclass(frozen=True)
class StepFigures:
    """Global sums of one step, on the device: reading them waits for the step, so it is done when they are wanted."""

    names: tuple[str, ...]
    values: Tensor
    """(2 * names + 3,) float64: losses, then their predictions, then tokens, positions, gradient norm."""
    own: Tensor
    """(names,) float64: this rank's share of the losses."""

    def read(self) -> dict[str, float]:
        """loss, mlm_loss …, grad_norm, step_tokens, step_positions; losses are means over predictions."""
        values = self.values.tolist()
        totals, counts = values[: len(self.names)], values[len(self.names) : 2 * len(self.names)]
        means = {f"{name}_loss": t / max(1, n) for name, t, n in zip(self.names, totals, counts, strict=True)}
        tokens, positions, grad_norm = values[-3:]
        return {
            "loss": sum(means.values()),
            **means,
            "grad_norm": grad_norm,
            "step_tokens": tokens,
            "step_positions": positions,
        }

    @property
    def grad_norm(self) -> Tensor:
        """() float64, before clipping."""
        return self.values[-1]

    @property
    def finite(self) -> Tensor:
        """() bool, equal on all ranks."""
        return self.values.isfinite().all()


def counted_losses(batch: Batch, model: torch.nn.Module) -> dict[str, int]:
    """Named losses of a batch, each with its number of predictions; read where the batch is on the host."""
    if isinstance(model, Seq2SeqModel):
        return model.counted(cast(Any, batch))
    if isinstance(model, TaskModel):
        return task_counted(model, batch)
    has_pairs = isinstance(model, PretrainingModel) and model.pair_head is not None
    return {"mlm": batch.num_predictions} | ({"pairs": batch.num_labelled} if has_pairs else {})


def losses(model: torch.nn.Module, asked: Batch | Pass, method: MethodConfig = NO_METHOD) -> dict[str, Loss]:
    """Named losses: "mlm" (also of causal and permuted words) and "pairs" when pretraining, the task's otherwise."""
    if isinstance(model, Seq2SeqModel):
        return {name: Loss(*each) for name, each in model.losses(cast(Any, asked)).items()}
    if isinstance(model, TaskModel):
        return task_losses(model, asked, method.rdrop_alpha)
    batch = asked.batch if isinstance(asked, Pass) else asked
    output: PretrainingOutput = model(batch)
    words = linear_cross_entropy(output.states, output.decoder, output.decoder_bias, batch.predict_labels)
    named = {"mlm": Loss(*words)}
    if output.pair_logits is not None:
        named["pairs"] = _cross_entropy(output.pair_logits, batch.sample_labels)
    return named


def measure_gradients(
    state: TrainState,
    batches: Sequence[Batch],
    *,
    precision: Literal["fp32", "bf16"],
    seed: int,
    world: World,
    device: torch.device,
    beat: Beat,
    method: MethodConfig = NO_METHOD,
    halve: Halve | None = None,
) -> StepFigures:
    """Forward and backward over this rank's share of the global batch, cut into micro batches; gradients summed.

    Each loss is normalised by its global count of predictions, so the result does not depend on how the batch is cut
    into ranks and micro batches. Dropout is seeded by (seed, step, rank, micro batch): a resumed run draws what the
    uninterrupted one would have. Nothing here waits for the device.

    Args:
        method: losses besides the task's have its count of predictions.
        halve: asked for smaller micro batches where memory does not suffice; the step then begins anew, on this rank
            alone. None: that is an error.
    """
    parallel = state.parallel
    parallel.model.train()
    counted = [counted_losses(batch, parallel.model) for batch in batches]
    added = added_losses(method)
    names = (*counted[0], *added)
    local = [sum(each[name] for each in counted) for name in counted[0]]
    local += [local[0]] * len(added)
    local += [sum(batch.num_tokens for batch in batches), sum(batch.input_ids.numel() for batch in batches)]
    beat(state.step, "reduce")
    counts = world.sum(torch.tensor(local, dtype=torch.float64, device=device))
    divisors = dict(zip(names, counts.clamp(min=1).float(), strict=False))
    totals, cause = None, ""
    while totals is None:
        if cause and halve is not None:  # outside of the handler, whose traceback holds the activations
            gc.collect()
            batches = halve(batches, cause)
        state.optimizer.zero_grad(set_to_none=True)
        try:
            totals = _accumulate(state, batches, divisors, method, precision, (seed, state.step, world.rank), beat)
        except OUT_OF_MEMORY as error:
            if halve is None or not is_out_of_memory(error):
                raise
            cause = str(error).splitlines()[0]
    beat(state.step, "reduce")
    parallel.reduce_gradients(_rows_looked_up(parallel.model, batches))
    values = torch.cat([world.sum(totals.clone()), counts, parallel.grad_norm().double().reshape(1)])
    return StepFigures(names, values, totals)


def _accumulate(
    state: TrainState,
    batches: Sequence[Batch],
    divisors: dict[str, Tensor],
    method: MethodConfig,
    precision: Literal["fp32", "bf16"],
    key: tuple[int, int, int],
    beat: Beat,
) -> Tensor:
    """The gradients of this rank's batches, and (losses,) float64, its share of the losses; ranks do not meet here."""
    parallel, device = state.parallel, next(iter(divisors.values())).device
    totals = torch.zeros(len(divisors), dtype=torch.float64, device=device)
    for number, batch in enumerate(batches):
        draws = torch.Generator().manual_seed(_mix(*key, number, 1))
        for each in passes(method.adversarial, batch.to(device), _embedding_size(parallel.model), draws):
            beat(state.step, "forward")
            torch.manual_seed(_mix(*key, number))  # all passes see one dropout (Zhu et al., 2020, section 3.3)
            with parallel.micro_batch(last=each.is_last and number == len(batches) - 1):
                with compute(precision, device):
                    named = parallel.module(each if each.delta is not None else each.batch)
                    loss = torch.stack(
                        [part.total * each.weight / divisors[name] for name, part in named.items()]
                    ).sum()
                if each.learns:
                    part = torch.stack(
                        [named[name].total.detach() if name in named else loss.new_zeros(()) for name in divisors]
                    )
                    totals += part * each.weight
                    loss.backward()
                else:
                    assert each.delta is not None
                    (each.delta.grad,) = torch.autograd.grad(loss, [each.delta])
    return totals


def _embedding_size(model: torch.nn.Module) -> int:
    """Width of the word embeddings of a task's model; others have no words to move."""
    return model.config.embedding_size or model.config.hidden_size if isinstance(model, TaskModel) else 0


def apply_gradients(state: TrainState, figures: StepFigures, *, lr: float, optimizer: OptimizerConfig) -> None:
    """Clip by the global norm and step. Where loss or norm is not finite no weight changes; the step counts.

    Every rank ends with the same weights, and nothing here waits for a GPU.
    """
    state.parallel.clip_gradients(optimizer.clip_norm, figures.grad_norm)
    update(state.optimizer, lr, leave_out=~figures.finite)
    state.step += 1
    if state.ema is not None and optimizer.ema_decay is not None:
        _update_average(state, min(optimizer.ema_decay, state.step / (state.step + 10)))


@torch.no_grad()
def evaluate(
    state: TrainState,
    batches: Iterator[Batch],
    *,
    precision: Literal["fp32", "bf16"],
    world: World,
    device: torch.device,
    beat: Beat,
) -> dict[str, float]:
    """Mean of every named loss and its accuracy, over all ranks' batches; dropout off.

    Ranks may hold different numbers of batches: one that has run out goes on with copies that predict nothing, because
    under FSDP each forward pass is a collective. A rank without any is not possible there.
    """
    state.model.eval()
    sums: dict[str, Tensor] = {}
    batch = None
    while True:
        beat(state.step, "evaluate")
        following = next(batches, None)
        if not _any(following is not None, world, device):
            break
        batch = following if following is not None else batch and _without_labels(batch)
        if batch is None:
            continue
        with compute(precision, device):
            named = state.parallel.module(batch.to(device))
        for name, count in counted_losses(batch, state.model).items():
            row = torch.stack([named[name].total.double(), named[name].correct.double()])
            row = torch.cat([row, row.new_tensor([count])])
            sums[name] = sums[name] + row if name in sums else row
    names = sorted({name for group in world.gather(sorted(sums)) for name in group})
    metrics = {}
    for name in names:
        row = sums.get(name, torch.zeros(3, dtype=torch.double, device=device))
        total, correct, count = world.sum(row).tolist()
        metrics[f"{name}_loss"] = total / max(count, 1)
        if not isinstance(state.model, TaskModel) or state.model.measures_accuracy:
            metrics[f"{name}_accuracy"] = correct / max(count, 1)
    metrics["loss"] = sum(value for key, value in metrics.items() if key.endswith("_loss"))
    if not math.isfinite(metrics["loss"]):
        raise NonFiniteLossError(f"step {state.step}: the held-out loss is {metrics['loss']}")
    return metrics


def _any(value: bool, world: World, device: torch.device) -> bool:
    if world.size == 1:
        return value
    return bool(world.sum(torch.tensor([float(value)], device=device)))


def _without_labels(batch: Batch) -> Batch:
    if not isinstance(batch, Batch):  # of sources and targets
        return replace(batch, predict_positions=batch.predict_positions[:0], predict_labels=batch.predict_labels[:0])
    return replace(
        batch,
        predict_positions=batch.predict_positions[:0],
        predict_labels=batch.predict_labels[:0],
        sample_labels=torch.full_like(batch.sample_labels, -1),
        targets=None if batch.targets is None else torch.full_like(batch.targets, torch.nan),
    )


def _cross_entropy(logits: Tensor, labels: Tensor) -> Loss:
    """Summed over the rows that have a label; -1 is none."""
    if not len(labels):
        return Loss(logits.sum() * 0, torch.zeros((), device=logits.device))
    total = F.cross_entropy(logits.float(), labels, reduction="sum", ignore_index=-1)
    return Loss(total, (logits.detach().argmax(-1) == labels).sum())


def averaged_weights(state: TrainState) -> AbstractContextManager[None]:
    """Within the block the model has its averaged weights, where an average is kept."""
    return nullcontext() if state.ema is None else state.parallel.swapped(state.ema)


def _rows_looked_up(model: torch.nn.Module, batches: Sequence[Batch]) -> dict[torch.nn.Parameter, Tensor]:
    """Of an embedding that only looks up; with a head over the vocabulary every row has a gradient."""
    if not isinstance(model, TaskModel):
        return {}
    words = model.encoder.embeddings.word.weight
    assert isinstance(words, torch.nn.Parameter)
    scored = torch.tensor(getattr(model, "word_ids", ()), dtype=torch.int64)  # of a cloze, by the masked-word head
    return {words: torch.cat([scored, *(batch.input_ids.flatten() for batch in batches)])}


@torch.no_grad()
def _update_average(state: TrainState, decay: float) -> None:
    assert state.ema is not None
    for name, parameter in state.model.named_parameters():
        if name in state.ema:
            state.ema[name].lerp_(parameter, 1 - decay)


def _mix(*numbers: int) -> int:
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
