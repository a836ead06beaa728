"""StableAdamW: AdamW with its update clipped tensor by tensor (Wortsman et al., 2023, arXiv:2304.13013, alg. 2)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

CHUNK = 1 << 24
"""Elements that are updated together: few kernel launches on a GPU, and at most 64 MB for each of the temporaries."""


class StableAdamW(torch.optim.Optimizer):
    """AdamW that takes smaller steps in a tensor whose gradients outgrow their running second moment.

    The learning rate of a tensor is divided by max(1, RMS), RMS² being the mean of g² / max(v, eps²) over its elements
    and v the second moment with its bias corrected. While RMS <= 1 the update is AdamW's. A tensor that is split over
    ranks has one RMS, of all its parts. State of a parameter: "step" (), "exp_avg" and "exp_avg_sq" of its shape, as
    in `torch.optim.AdamW`, so that either continues the other's checkpoint.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody passes one
        """One update of every parameter that has a gradient."""
        for group in self.param_groups:
            for chunk in _chunks([p for p in group["params"] if p.grad is not None]):
                self._update(chunk, group)

    def _update(self, params: list[nn.Parameter], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        states = [self._state_of(p) for p in params]
        weights, gradients = [local(p) for p in params], [local(p.grad) for p in params]
        means, squares = ([local(state[name]) for state in states] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_add_([state["step"] for state in states], 1.0)
        steps = [int(state["step"]) for state in states]

        torch._foreach_lerp_(means, gradients, 1 - beta1)
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        root = torch._foreach_sqrt(squares)
        torch._foreach_div_(root, [math.sqrt(1 - beta2**step) for step in steps])
        ratios = torch._foreach_clamp_min(root, group["eps"])
        torch._foreach_reciprocal_(ratios)
        torch._foreach_mul_(ratios, gradients)
        rates = group["lr"] / _root_mean_squares(ratios, params).clamp_min(1.0)  # (params,)
        del ratios

        torch._foreach_mul_(weights, list((1 - rates * group["weight_decay"]).unbind()))
        torch._foreach_add_(root, group["eps"])
        torch._foreach_div_(root, list((rates / rates.new_tensor([1 - beta1**step for step in steps])).unbind()))
        torch._foreach_addcdiv_(weights, means, root, -1.0)

    def _state_of(self, parameter: nn.Parameter) -> dict[str, Tensor]:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.tensor(0.0)  # stays on the CPU: it is read in every step, for the bias corrections
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
        return state


def local(tensor: Tensor | None) -> Tensor:
    """This rank's part of a tensor that is split over ranks; any other tensor itself."""
    assert tensor is not None
    part: Any = tensor
    return part.to_local() if is_split(tensor) else tensor


def is_split(tensor: Tensor) -> bool:
    """Whether it is a DTensor, told without importing these, which takes 2.7 s."""
    return hasattr(tensor, "placements")


def _root_mean_squares(values: Sequence[Tensor], params: list[nn.Parameter]) -> Tensor:
    """(params,): of each tensor of `values`, which are split over ranks like `params`."""
    squares = torch.stack(torch._foreach_norm(list(values))).square()
    first: Any = params[0]
    if is_split(first):
        dist.all_reduce(squares, group=first.device_mesh.get_group())
    return (squares / squares.new_tensor([p.numel() for p in params])).sqrt()


def _chunks(params: list[nn.Parameter]) -> Iterator[list[nn.Parameter]]:
    """Runs of `params` with at most `CHUNK` elements, or one parameter that has more."""
    run: list[nn.Parameter] = []
    size = 0
    for parameter in params:
        if run and size + parameter.numel() > CHUNK:
            yield run
            run, size = [], 0
        run.append(parameter)
        size += parameter.numel()
    if run:
        yield run
