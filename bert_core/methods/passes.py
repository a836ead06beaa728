"""Forward and backward passes over a micro batch: one, or several over words moved to where the loss is higher.

Shapes: B rows, T tokens in a row, E embedding size, N sequences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bert_core.config import Adversarial, FreeLbConfig, MethodConfig, PgdConfig
from bert_core.data import Batch

ADVERSARIAL, RDROP = "adversarial", "rdrop"
"""Names of the losses that a method adds to the task's."""


@dataclass(frozen=True)
class Pass:
    """One forward and backward pass."""

    batch: Batch
    delta: Tensor | None = None
    """(B, T, E), a leaf that is added to the word embeddings; `passes` reads its gradient when asked to go on."""
    weight: float = 1.0
    """Of its losses in what is differentiated."""
    is_adversarial: bool = False
    """Its loss is told of as `ADVERSARIAL`."""
    learns: bool = True
    """Whether the weights get its gradients; else only `delta` does."""
    is_last: bool = True


def passes(how: Adversarial | None, batch: Batch, width: int, generator: torch.Generator) -> Iterator[Pass]:
    """The passes of a step over `batch`; without `how`, one. Every one has to see the same dropout.

    fgm, pgd: the words as they are, and moved: g of norm 1 being the gradient of a sequence's words, `steps` times
    delta <- delta + step_size g, then shortened to `epsilon`; the losses of the first pass and of the last
    add up. One step of the whole epsilon is fgm.
    freelb: from a random delta in all passes, whose mean is learned from (Zhu et al., algorithm 1).

    Norms are of a sequence's words together, wherever packing put it. Padding is not moved.

    Args:
        width: E.
        generator: on the CPU; freelb's start is drawn from it.
    """
    if how is None:
        yield Pass(batch)
        return
    steps, step_size = (1, how.epsilon) if how.type == "fgm" else (how.steps, how.step_size)
    owners, real = sequence_of(batch)
    spans = _spans(batch)
    delta = torch.zeros(*batch.input_ids.shape, width, device=batch.input_ids.device)
    if isinstance(how, FreeLbConfig):
        delta = _random_start(delta, owners, real, spans, how.epsilon, generator)
    number = steps if isinstance(how, FreeLbConfig) else steps + 1
    for step in range(number):
        delta.requires_grad_(True)
        is_last = step == number - 1
        if isinstance(how, FreeLbConfig):
            yield Pass(batch, delta, weight=1 / steps, is_last=is_last)
        else:
            yield Pass(batch, delta, is_adversarial=is_last, learns=is_last or step == 0, is_last=is_last)
        if not is_last:
            assert delta.grad is not None
            delta = moved(delta.detach(), delta.grad, owners, real, len(spans), step_size, how.epsilon)


def num_passes(method: MethodConfig) -> int:
    """How often a step reads its batch; R-Drop reads it twice in one pass."""
    how = method.adversarial
    times = 1 if how is None else 2 if how.type == "fgm" else how.steps + isinstance(how, PgdConfig)
    return times * (2 if method.rdrop_alpha else 1)


def added_losses(method: MethodConfig) -> tuple[str, ...]:
    """Names of the losses beside the task's."""
    is_added = method.adversarial is not None and not isinstance(method.adversarial, FreeLbConfig)
    return (*([RDROP] if method.rdrop_alpha else []), *([ADVERSARIAL] if is_added else []))


def moved(
    delta: Tensor, gradient: Tensor, owners: Tensor, real: Tensor, count: int, step_size: float, epsilon: float
) -> Tensor:
    """`delta` after a step of norm `step_size` along each sequence's gradient, of norm at most `epsilon`."""
    norms = sequence_norms(gradient, owners, real, count).clamp(min=torch.finfo(torch.float32).tiny)
    further = delta + _scaled(gradient.float(), step_size / norms, owners, real)
    lengths = sequence_norms(further, owners, real, count)
    return _scaled(further, epsilon / lengths.clamp(min=epsilon), owners, real)


def sequence_norms(values: Tensor, owners: Tensor, real: Tensor, count: int) -> Tensor:
    """(N,): over a sequence's tokens and channels together."""
    squares = values.float().square().sum(-1).flatten() * real
    return squares.new_zeros(count).index_add(0, owners, squares).sqrt()


def sequence_of(batch: Batch) -> tuple[Tensor, Tensor]:
    """(B * T,) int64, the sequence that each position is of; and (B * T,) bool, False where it is of none."""
    spans = _spans(batch)
    order = spans[:, 0].argsort()
    positions = torch.arange(batch.input_ids.numel(), device=spans.device)
    place = torch.searchsorted(spans[order, 0].contiguous(), positions, right=True) - 1
    owners = order[place.clamp(min=0)]
    return owners, (place >= 0) & (positions < spans[owners, 1])


def _random_start(
    like: Tensor, owners: Tensor, real: Tensor, spans: Tensor, epsilon: float, generator: torch.Generator
) -> Tensor:
    """Uniform in ±epsilon / sqrt(numbers of the sequence), so that its norm is below epsilon."""
    drawn = torch.rand(like.shape, generator=generator).to(like.device) * 2 - 1
    numbers = (spans[:, 1] - spans[:, 0]) * like.shape[-1]
    return _scaled(drawn, epsilon / numbers.float().sqrt(), owners, real)


def _scaled(values: Tensor, factors: Tensor, owners: Tensor, real: Tensor) -> Tensor:
    """(B, T, E) times the factor (N,) of the sequence that a position is of, 0 where it is of none."""
    return values * (factors[owners] * real).view(*values.shape[:2], 1)


def _spans(batch: Batch) -> Tensor:
    if batch.spans is None:
        raise ValueError("a batch of pretraining has no sequences with a target")
    return batch.spans
