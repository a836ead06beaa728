"""Parameter groups, the optimizer of a config, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
import re
from typing import Any

import torch
from torch import Tensor, nn

from bert_core.adamw import is_split
from bert_core.config import OptimizerConfig
from bert_core.muon import Muon, rest_optimizer

BLOCK_MATRIX = re.compile(r"encoder\.\w+\.\d+\..*weight")


def learning_rate(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step `step` (from 0) of `total_steps`; none after the last step is asked for.

    Linear warmup over `warmup_share` of the steps, the last of which has the full rate. Then, with progress 0 at the
    first step after the warmup and 1 behind the last one:
        linear, cosine  from lr to final_lr_share lr
        wsd             level, and over the last `decay_share` of the steps by 1 - sqrt(progress of these): the decay
                        that Hägele et al., 2024 (arXiv:2405.18392, section 4.2) found best
        constant        level
    """
    warmup = round(config.warmup_share * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    height = _height(config, step - warmup, max(1, total_steps - warmup), total_steps)
    return config.lr * (config.final_lr_share + (1 - config.final_lr_share) * height)


def _height(config: OptimizerConfig, step: int, steps: int, total_steps: int) -> float:
    """From 1 towards 0 along the schedule, of whose `steps` this is number `step`."""
    match config.schedule:
        case "linear":
            return 1 - step / steps
        case "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / steps))
        case "wsd":
            decay = min(max(1, round(config.decay_share * total_steps)), steps)
            return 1 - math.sqrt(max(0, step - (steps - decay)) / decay)
        case "constant":
            return 1.0


def build_optimizer(model: nn.Module, config: OptimizerConfig, num_layers: int) -> torch.optim.Optimizer:
    """Fused AdamW, StableAdamW, or Muon with one of these, over parameters grouped by what they are.

    Biases and norms are not decayed. Each group carries `lr_factor`, its share of the scheduled rate: with layer decay
    the head has 1, the top block `layer_decay`, the embeddings `layer_decay ** (blocks + 1)` (Clark et al., 2020,
    arXiv:2003.10555, section 3.1). Layers that share their weights are one block. Muon takes the weight matrices of
    the blocks, and their groups' factor holds `muon_lr / lr` besides.

    Build it after the model was split over ranks, because that replaces parameters.
    """
    blocks = min(
        num_layers, 1 + max((n for name, _ in model.named_parameters() if (n := block_of(name)) >= 0), default=0)
    )
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    groups: dict[tuple[bool, float, float], dict[str, Any]] = {}
    for name, parameter in model.named_parameters():
        muon = config.type == "muon" and parameter.ndim == 2 and BLOCK_MATRIX.fullmatch(name) is not None
        decay = config.weight_decay if parameter.ndim > 1 and not name.endswith("bias") else 0.0
        factor = config.layer_decay ** _depth_below_head(name, blocks) * (config.muon_lr / config.lr if muon else 1.0)
        group = groups.setdefault(
            (muon, decay, factor),
            {"params": [], "weight_decay": decay, "lr_factor": factor}
            | ({"muon": True, "parts": [], "momentum": config.muon_momentum} if muon else {}),
        )
        group["params"].append(parameter)
        if muon:
            group["parts"].append(_parts(name, shapes))
    options: dict[str, Any] = {"lr": config.lr, "betas": config.betas, "eps": config.eps, "stable": config.stable}
    build = Muon if any(muon for muon, _, _ in groups) else rest_optimizer
    return build(list(groups.values()), **options)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """`lr` is that of `learning_rate`; each group takes its `lr_factor` of it."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def update(optimizer: torch.optim.Optimizer, lr: float, *, leave_out: Tensor | None = None) -> None:
    """One optimizer step at scheduled rate `lr`; with a true `leave_out`, () bool, nothing changes, counts neither.

    torch's fused AdamW reads `leave_out` on the GPU, so the host does not wait there; every other optimizer waits for
    it. Ranks must agree on it: take it from the global loss and gradient norm.
    """
    set_learning_rate(optimizer, lr)
    if leave_out is None:
        optimizer.step()
    elif _skips_on_device(optimizer):
        optimizer.found_inf = leave_out.float()  # type: ignore[attr-defined]  # the name that torch's step looks for
        optimizer.step()
        del optimizer.found_inf  # type: ignore[attr-defined]
    elif not bool(leave_out):
        optimizer.step()


def _skips_on_device(optimizer: torch.optim.Optimizer) -> bool:
    parameter = optimizer.param_groups[0]["params"][0]
    return isinstance(optimizer, torch.optim.AdamW) and parameter.is_cuda and not is_split(parameter)


def _parts(name: str, shapes: dict[str, torch.Size]) -> int:
    """How many matrices one above the other: query, key and value; a GeGLU's gate and value."""
    if name.endswith(".qkv.weight"):
        return 3
    if name.endswith(".up.weight"):
        return shapes[name][0] // shapes[name.replace(".up.", ".down.")][1]
    return 1


def block_of(name: str) -> int:
    """The number of the block that a parameter belongs to, or -1."""
    block = re.match(r"encoder\.\w+\.(\d+)\.", name)
    return int(block[1]) if block else -1


def _depth_below_head(name: str, blocks: int) -> int:
    if (block := block_of(name)) >= 0:
        return blocks - block
    return blocks + 1 if name.startswith("encoder.") else 0
