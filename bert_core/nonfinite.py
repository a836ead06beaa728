"""A loss or gradient that is not a number: every rank stops alike, or leaves the batch out, and says what it was.

Looked for after gradients are summed over ranks and before they are clipped: clipping by a norm that is NaN makes every
gradient NaN, and what was wrong cannot be seen any more.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from bert_core.data import Batch
from bert_core.distributed import World
from bert_core.optimizer_state import whole
from bert_core.tensor_file import write_tensors

MAX_NAMED_SAMPLES = 64


class NonFiniteLossError(ArithmeticError):
    """The loss or the gradient is NaN or infinite on some rank; the message names step and sample ids."""


@dataclass(frozen=True)
class NonFinite:
    """One step whose loss or gradient norm is not finite; the same on every rank."""

    step: int
    """Optimizer steps done before it."""
    loss: float
    grad_norm: float
    ranks: tuple[int, ...]
    """Whose loss is not finite; all, if only the gradient is not."""
    sample_ids: tuple[int, ...]
    """Of those ranks' batches."""
    parameters: tuple[str, ...]
    """Whose gradient, summed over ranks, is not finite."""
    dump: Path | None

    @property
    def reason(self) -> str:
        what = "loss" if not math.isfinite(self.loss) else "gradient norm"
        named = ", ".join(self.parameters[:3]) + (" …" if len(self.parameters) > 3 else "")
        return (
            f"{what} not finite on rank{'s' * (len(self.ranks) > 1)} {', '.join(map(str, self.ranks))}; "
            f"gradients not finite: {len(self.parameters)} parameters ({named})"
        )

    def journal_line(self) -> dict[str, Any]:
        """For metrics.jsonl: the batch was left out. As in the other lines there, `step` counts this one too."""
        return {"kind": "skip", "step": self.step + 1, "sample_ids": list(self.sample_ids), "reason": self.reason}

    def error(self, advice: str = "resume with a lower learning rate, or look at these samples") -> NonFiniteLossError:
        return NonFiniteLossError(
            f"step {self.step}: loss {self.loss}, gradient norm {self.grad_norm}; {self.reason}; sample ids "
            f"{list(self.sample_ids[:MAX_NAMED_SAMPLES])}{' …' * (len(self.sample_ids) > MAX_NAMED_SAMPLES)}; "
            f"dump: {self.dump}. Weights are those of the step before: {advice}."
        )


def find_nonfinite(
    *,
    step: int,
    loss: float,
    grad_norm: float,
    rank_losses: Mapping[str, float | Tensor],
    batches: Sequence[Batch],
    model: nn.Module,
    world: World,
    folder: Path | None,
) -> NonFinite | None:
    """None in a healthy step, at the price of two comparisons; otherwise what is wrong, after a dump by every rank.

    All ranks must call it, with the same `loss` and `grad_norm`, before gradients are clipped
    (`torch.nn.utils.get_total_norm`, this, `clip_grads_with_norm_`).

    Args:
        loss: of the global batch, summed over ranks.
        grad_norm: of the gradients summed over ranks, not clipped.
        rank_losses: this rank's own, by name.
        batches: this rank's micro batches.
        model: whose parameters hold the gradients.
        folder: `work_dir/nonfinite`; every rank writes `step-<step>/rank-<rank>.safetensors` (the batch) and `.json`
            (losses, norms of gradients). None: no dump.
    """
    if math.isfinite(loss) and math.isfinite(grad_norm):
        return None
    own = {name: float(value) for name, value in rank_losses.items()}
    ids = [int(sample) for batch in batches for sample in batch.sample_ids]
    told = world.gather((all(map(math.isfinite, own.values())), ids))
    ranks = tuple(rank for rank, (fine, _) in enumerate(told) if not fine) or tuple(range(world.size))
    norms = _gradient_norms(model)
    found = NonFinite(
        step=step,
        loss=loss,
        grad_norm=grad_norm,
        ranks=ranks,
        sample_ids=tuple(sample for rank in ranks for sample in told[rank][1]),
        parameters=tuple(name for name, norm in norms.items() if not math.isfinite(norm)),
        dump=folder / f"step-{step:08d}" if folder else None,
    )
    if found.dump is not None:
        try:
            _dump(found, found.dump, world.rank, own, ids, norms, batches)
        except OSError as error:  # the finding matters more than its dump
            print(f"no dump of rank {world.rank} in {found.dump}: {error}", flush=True)
    return found


def stop_or_skip(found: NonFinite, policy: Literal["stop", "skip"], skipped: int, max_skipped: int) -> int:
    """What to do about a finding: the new count of skipped batches (the step is to be left out), or an error.

    Raises:
        NonFiniteLossError: the policy is to stop, or `max_skipped` batches were left out before.
    """
    if policy == "stop":
        raise found.error()
    if skipped >= max_skipped:
        raise found.error(f"{skipped} batches were left out before, and max_skipped is {max_skipped}; see {found.dump}")
    return skipped + 1


def _gradient_norms(model: nn.Module) -> dict[str, float]:
    """Of each parameter's gradient; a collective where gradients are split over ranks."""
    return {
        name: float(torch.linalg.vector_norm(whole(parameter.grad.detach()).float()))
        for name, parameter in model.named_parameters()
        if parameter.grad is not None
    }


def _dump(
    found: NonFinite,
    folder: Path,
    rank: int,
    losses: Mapping[str, float],
    sample_ids: Sequence[int],
    norms: Mapping[str, float],
    batches: Sequence[Batch],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{number}.{field.name}": value
        for number, batch in enumerate(batches)
        for field in fields(batch)
        if isinstance(value := getattr(batch, field.name), Tensor)
    }
    write_tensors(folder / f"rank-{rank}.safetensors", tensors)
    described = {
        "step": found.step,
        "rank": rank,
        "loss": _number(found.loss),
        "grad_norm": _number(found.grad_norm),
        "reason": found.reason,
        "rank_losses": {name: _number(value) for name, value in losses.items()},
        "sample_ids": list(sample_ids),
        "nonfinite_gradients": list(found.parameters),
        "gradient_norms": {name: _number(norm) for name, norm in norms.items()},
    }
    (folder / f"rank-{rank}.json").write_text(json.dumps(described, indent=2))


def _number(value: float) -> float | str:
    """JSON has no NaN: as text, "nan", "inf" or "-inf"."""
    return value if math.isfinite(value) else str(value)
