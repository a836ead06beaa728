"""One optimizer step, one evaluation pass, and the state that they work on."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bert_core.data import Batch
from bert_core.distributed import World, sum_gradient_rows, sum_gradients
from bert_core.heads import PretrainingModel, SequenceClassifier
from bert_core.optim import set_learning_rate

Model = PretrainingModel | SequenceClassifier


class NonFiniteLossError(ArithmeticError):
    """The loss or the gradient is NaN or infinite on some rank; the message names step and sample ids."""


@dataclass
class Loss:
    """Sum of the loss over `count` predictions, `correct` of which are right."""

    total: Tensor
    count: int
    correct: Tensor


@dataclass
class TrainState:
    model: Model
    optimizer: torch.optim.Optimizer
    step: int = 0
    """Optimizer steps done."""
    tokens: int = 0
    """Tokens seen by all ranks, padding not counted."""
    padding: int = 0
    """Padding positions computed by all ranks."""
    seconds: float = 0.0
    """Time spent in training steps, over all attempts."""
    ema: dict[str, Tensor] | None = None
    best: dict[str, float] = field(default_factory=dict)
    first_eval: dict[str, float] = field(default_factory=dict)


def losses(model: Model, batch: Batch) -> dict[str, Loss]:
    """Named losses of a batch: "mlm" and "nsp" when pretraining, "sequence" when classifying."""
    if isinstance(model, SequenceClassifier):
        return {"sequence": _cross_entropy(model(batch), batch.sample_labels)}
    output = model(batch)
    named = {"mlm": _cross_entropy(output.mlm_logits, batch.predict_labels)}
    if output.nsp_logits is not None:
        named["nsp"] = _cross_entropy(output.nsp_logits, batch.sample_labels)
    return named


def train_step(
    state: TrainState, batch: Batch, *, lr: float, clip_norm: float, ema_decay: float | None, seed: int, world: World
) -> dict[str, float]:
    """One step on this rank's share of the global batch; every rank ends with the same weights.

    Each loss is normalised by its global count of predictions, so the result does not depend on how the batch is cut
    into ranks. Dropout is seeded by (seed, step, rank): a resumed run draws what the uninterrupted one would have.

    Returns:
        global metrics: loss, mlm_loss …, grad_norm, step_tokens.

    Raises:
        NonFiniteLossError: on every rank alike, before any weight changed.
    """
    model = state.model
    model.train()
    torch.manual_seed(_mix(seed, state.step, world.rank))
    named = losses(model, batch)
    shape = batch.input_ids.numel()
    counts = world.sum(torch.tensor([loss.count for loss in named.values()] + [batch.num_tokens, shape]))
    loss = sum(
        (part.total / max(1, int(n)) for part, n in zip(named.values(), counts, strict=False)), torch.tensor(0.0)
    )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()
    _reduce(model, batch, world)
    sums = world.sum(torch.stack([part.total.detach() for part in named.values()]).double())
    grad_norm = float(nn.utils.clip_grad_norm_(model.parameters(), clip_norm))
    means = {f"{name}_loss": float(total) / max(1, int(n)) for name, total, n in zip(named, sums, counts, strict=False)}
    metrics = {"loss": sum(means.values()), **means, "grad_norm": grad_norm, "step_tokens": float(counts[-2])}
    if not (math.isfinite(metrics["loss"]) and math.isfinite(grad_norm)):
        raise NonFiniteLossError(
            f"step {state.step}: loss {metrics['loss']}, gradient norm {grad_norm}; "
            f"sample ids of rank {world.rank}: {list(batch.sample_ids)[:64]}. Weights are those of the step before: "
            "resume with a lower learning rate, or look at these samples."
        )
    set_learning_rate(state.optimizer, lr)
    state.optimizer.step()
    state.step += 1
    state.tokens += int(counts[-2])
    state.padding += int(counts[-1] - counts[-2])
    if state.ema is not None and ema_decay is not None:
        _update_average(state.ema, model, min(ema_decay, state.step / (state.step + 10)))
    return metrics


@torch.inference_mode()
def evaluate(model: Model, batches: Iterable[Batch], world: World) -> dict[str, float]:
    """Mean of every named loss and its accuracy, over all ranks' batches; dropout off."""
    model.eval()
    totals: dict[str, Tensor] = {}
    for batch in batches:
        for name, loss in losses(model, batch).items():
            row = torch.stack([loss.total.double(), loss.correct.double(), torch.tensor(float(loss.count)).double()])
            totals[name] = totals.get(name, torch.zeros(3, dtype=torch.double)) + row
    # Ranks may hold no batch at all, so the names come from all of them, in one order.
    names = sorted({name for group in world.gather(sorted(totals)) for name in group})
    metrics = {}
    for name in names:
        total, correct, count = world.sum(totals.get(name, torch.zeros(3, dtype=torch.double))).tolist()
        metrics[f"{name}_loss"] = total / max(count, 1)
        metrics[f"{name}_accuracy"] = correct / max(count, 1)
    metrics["loss"] = sum(value for key, value in metrics.items() if key.endswith("_loss"))
    return metrics


def _cross_entropy(logits: Tensor, labels: Tensor) -> Loss:
    """Summed over the rows that have a label; -1 is none."""
    labelled = labels >= 0
    count = int(labelled.sum())
    if count < len(labels):
        logits, labels = logits[labelled], labels[labelled]
    total = F.cross_entropy(logits, labels, reduction="sum") if count else logits.sum() * 0
    return Loss(total, count, (logits.detach().argmax(-1) == labels).sum())


def _reduce(model: Model, batch: Batch, world: World) -> None:
    if world.size == 1:
        return
    if isinstance(model, PretrainingModel):  # the tied decoder gives every word a gradient
        sum_gradients(model.parameters(), world)
        return
    words = model.encoder.embeddings.word.weight
    assert isinstance(words, nn.Parameter)
    sum_gradients((p for p in model.parameters() if p is not words), world)
    sum_gradient_rows(words, batch.input_ids.flatten(), world)


@torch.no_grad()
def _update_average(average: dict[str, Tensor], model: Model, decay: float) -> None:
    for name, parameter in model.named_parameters():
        average[name].lerp_(parameter, 1 - decay)


def _mix(*numbers: int) -> int:
    digest = hashlib.blake2b(",".join(map(str, numbers)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
