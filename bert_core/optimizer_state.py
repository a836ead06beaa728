"""Optimizer state as whole tensors under their parameters' names, whatever the optimizer and however it is split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Named = Mapping[str, nn.Parameter] | Iterable[tuple[str, nn.Parameter]]
Optimizers = torch.optim.Optimizer | Iterable[torch.optim.Optimizer]

_NUMBERS = {"int": int, "float": float}


def whole(tensor: Tensor) -> Tensor:
    """A tensor of all ranks' parts; of one that is not split, itself."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def optimizer_tensors(
    optimizer: Optimizers, named_parameters: Named, whole: Callable[[Tensor], Tensor] = whole
) -> dict[str, Tensor]:
    """State of one or several optimizers: `<parameter name>.<state name>`, such as `head.bias.exp_avg`.

    A state that is a number and no tensor (Muon's or another's step count) is named `<state name>:int` or `:float`.
    Tensors split over ranks (FSDP2) are gathered by `whole`, so then all ranks must call this.

    Raises:
        KeyError: an optimizer has a parameter without a name.
    """
    names: dict[Tensor, str] = {parameter: name for name, parameter in dict(named_parameters).items()}
    tensors: dict[str, Tensor] = {}
    for one in _each(optimizer):
        for parameter, state in one.state.items():
            for key, value in state.items():
                if value is None:
                    continue
                if isinstance(value, (int, float)):
                    key = f"{key}:{type(value).__name__}"
                    value = torch.tensor(value, dtype=torch.int64 if isinstance(value, int) else torch.float64)
                tensors[f"{names[parameter]}.{key}"] = whole(value)
    return tensors


def load_optimizer_tensors(optimizer: Optimizers, named_parameters: Named, tensors: Mapping[str, Tensor]) -> None:
    """Inverse of `optimizer_tensors`: bits, types and devices as they were; parameters that are split get their part.

    Raises:
        KeyError: a tensor of a parameter that no optimizer has.
    """
    parameters = dict(named_parameters)
    owners = {p: one for one in _each(optimizer) for group in one.param_groups for p in group["params"]}
    states: dict[nn.Parameter, dict[str, Any]] = {}
    for key, value in tensors.items():
        name, state_name = key.rsplit(".", 1)
        if name not in parameters or parameters[name] not in owners:
            raise KeyError(f"{key}: no optimizer has a parameter {name}")
        states.setdefault(parameters[name], {})[state_name] = value
    for parameter, state in states.items():
        owner = owners[parameter]
        group = next(g for g in owner.param_groups if any(p is parameter for p in g["params"]))
        owner.state[parameter] = dict(_restored(key, value, parameter, group) for key, value in state.items())


def part_like(tensor: Tensor, like: Tensor) -> Tensor:
    """This rank's part of a whole tensor, on the device and in the split of `like`; nothing is sent."""
    if not hasattr(like, "placements") or tensor.shape != like.shape:
        return tensor.to(like.device)
    from torch.distributed.tensor import DTensor, distribute_tensor  # 2.7 s and 40 MB that only a split run pays

    assert isinstance(like, DTensor)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements, src_data_rank=None)


def _restored(key: str, value: Tensor, parameter: nn.Parameter, group: Mapping[str, Any]) -> tuple[str, Any]:
    name, _, number = key.partition(":")
    if number:
        return name, _NUMBERS[number](value.item())
    # torch's optimizers count steps on the CPU, unless they run fused or captured on the parameter's device. Their own
    # load_state_dict does the same, but also casts moments to the parameter's type, which may be wider than theirs was.
    if name == "step" and not (group.get("fused") or group.get("capturable")):
        return name, value.clone()
    moved = part_like(value, parameter)
    return name, moved.clone() if moved is value else moved


def _each(optimizer: Optimizers) -> list[torch.optim.Optimizer]:
    return [optimizer] if isinstance(optimizer, torch.optim.Optimizer) else list(optimizer)
