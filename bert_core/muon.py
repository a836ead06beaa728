"""Muon for the matrices of the blocks (Jordan et al., 2024, kellerjordan.github.io/posts/muon), AdamW for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from bert_core.adamw import StableAdamW, is_split, local
from bert_core.optimizer_state import part_like
from bert_core.precision import multiplies_bf16_fast

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the odd polynomial aX + b(XX')X + c(XX')²X. They make small singular values grow as fast as possible, so that five
steps bring those above 0.002 of the norm into [0.68, 1.13]: near 1 rather than to it, which trains as well (post)."""
STEPS = 5
EPS = 1e-7
CHUNK = 1 << 24
"""Elements that are orthogonalised together: 28 square matrices of a base model, 32 MB in bf16."""


class Muon(torch.optim.Optimizer):
    """One optimizer with groups of two kinds; a group with `"muon": True` holds only matrices.

    A matrix W of gradient G, momentum M, learning rate lr:
        M <- momentum M + (1 - momentum) G
        W <- (1 - lr weight_decay) W - lr sqrt(max(1, rows / columns)) orthogonal((1 - momentum) G + momentum M)

    The scale is the post's, and with it its learning rate of 0.02. `"parts"` of a group, one number for each parameter,
    says of how many matrices one above the other it consists: 3 where query, key and value are fused. Each part is
    orthogonalised for itself and has the scale of its own shape.

    The other groups are updated by fused AdamW, or by StableAdamW if `stable`. State of a matrix: "momentum", of its
    shape. A matrix that FSDP has split over ranks is gathered whole and orthogonalised on every rank.
    """

    def __init__(
        self, groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float, stable: bool = False
    ) -> None:
        rest = [group for group in groups if not group.get("muon")]
        self._rest = rest_optimizer(rest, lr=lr, betas=betas, eps=eps, stable=stable) if rest else None
        super().__init__(groups, {"lr": lr})  # AdamW has filled in its groups' options: these are the same dicts
        for group in self._matrices():
            for parameter, parts in zip(group["params"], group["parts"], strict=True):
                if parameter.ndim != 2 or parameter.shape[0] % parts:
                    raise ValueError(f"Muon: a parameter of shape {tuple(parameter.shape)} is not {parts} matrices")

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]  # nobody passes one
        """One update of every parameter that has a gradient."""
        if self._rest is not None:  # loading a state dict replaces both
            self._rest.param_groups = [group for group in self.param_groups if not group.get("muon")]
            self._rest.state = self.state
            self._rest.step()
        for group in self._matrices():
            self._update(group)

    def _matrices(self) -> Iterator[dict[str, Any]]:
        return (group for group in self.param_groups if group.get("muon"))

    def _update(self, group: dict[str, Any]) -> None:
        learning = [(p, n) for p, n in zip(group["params"], group["parts"], strict=True) if p.grad is not None]
        by_shape: dict[tuple[int, int], list[tuple[nn.Parameter, int]]] = {}
        for parameter, parts in learning:
            rows, columns = parameter.shape[0] // parts, parameter.shape[1]
            by_shape.setdefault((min(rows, columns), max(rows, columns)), []).append((parameter, parts))
        for shape, members in by_shape.items():
            for chunk in _chunks(members, CHUNK // (shape[0] * shape[1])):
                self._update_together([p for p, _ in chunk], [n for _, n in chunk], group)

    def _update_together(self, params: list[nn.Parameter], parts: list[int], group: dict[str, Any]) -> None:
        """Parameters whose parts have one shape, or its transpose."""
        momentum = group["momentum"]
        gradients, kept = [local(p.grad) for p in params], [local(self._momentum_of(p)) for p in params]
        torch._foreach_lerp_(kept, gradients, 1 - momentum)
        updates = torch._foreach_lerp(gradients, kept, momentum)  # Nesterov's
        whole = [gathered(update, p) for update, p in zip(updates, params, strict=True)]
        matrices = [part for matrix, n in zip(whole, parts, strict=True) for part in matrix.chunk(n)]
        flat = torch.stack([m.T if m.shape[0] > m.shape[1] else m for m in matrices])  # (parts, rows, columns), wide
        orthogonal = iter(newton_schulz(flat).to(flat.dtype))
        for parameter, matrix, n in zip(params, whole, parts, strict=True):
            tall = matrix.shape[0] // n > matrix.shape[1]
            scale = max(1.0, matrix.shape[0] / n / matrix.shape[1]) ** 0.5
            update = torch.cat([part.T if tall else part for part in (next(orthogonal) for _ in range(n))])
            weights = local(parameter)
            weights.mul_(1 - group["lr"] * group["weight_decay"])
            weights.add_(local(part_like(update, parameter)), alpha=-group["lr"] * scale)

    def _momentum_of(self, parameter: nn.Parameter) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        momentum: Tensor = state["momentum"]
        return momentum


def rest_optimizer(
    groups: list[dict[str, Any]], *, lr: float, betas: tuple[float, float], eps: float, stable: bool
) -> torch.optim.Optimizer:
    """AdamW in torch's fused form, or `StableAdamW`."""
    if stable:
        return StableAdamW(groups, lr=lr, betas=betas, eps=eps)
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=eps, fused=True)


def newton_schulz(matrices: Tensor) -> Tensor:
    """Nearly U V' of each matrix U S V', its singular values brought near 1: see `COEFFICIENTS`.

    Computed in bf16, which the post found enough, where a device multiplies it fast (`multiplies_bf16_fast`), else
    in the type given. A matrix of zeros stays one.

    Args:
        matrices: (N, rows, columns), rows <= columns; left as they are.

    Returns:
        (N, rows, columns), bf16 or of the type given.
    """
    if matrices.shape[1] > matrices.shape[2]:
        raise ValueError(f"matrices of shape {tuple(matrices.shape[1:])}: expected rows <= columns")
    a, b, c = COEFFICIENTS
    x = matrices / (torch.linalg.matrix_norm(matrices, keepdim=True) + EPS)  # spectral norm at most 1
    x = x.to(torch.bfloat16) if multiplies_bf16_fast(x.device) else x
    for _ in range(STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x


def gathered(part: Tensor, like: nn.Parameter) -> Tensor:
    """The whole tensor of which `part` is this rank's share, split like the parameter `like`."""
    if not is_split(like):
        return part
    from torch.distributed.tensor import DTensor

    assert isinstance(like, DTensor)
    return DTensor.from_local(
        part, like.device_mesh, like.placements, run_check=False, shape=like.shape, stride=like.stride()
    ).full_tensor()


def _chunks(members: list[tuple[nn.Parameter, int]], most: int) -> Iterator[list[tuple[nn.Parameter, int]]]:
    """Runs of `members` with at most `most` parts, or one member that has more."""
    run: list[tuple[nn.Parameter, int]] = []
    for member in members:
        if run and sum(n for _, n in run) + member[1] > most:
            yield run
            run = []
        run.append(member)
    if run:
        yield run
