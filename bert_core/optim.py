"""Parameter groups, AdamW, and the learning rate as a pure function of the step."""

from __future__ import annotations

import math
import re

import torch
from torch import nn

from bert_core.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, step: int, total_steps: int) -> float:
    """Learning rate of optimizer step `step` (from 0): linear warmup, then the schedule, to 0 after the last step."""
    warmup = round(config.warmup_share * total_steps)
    if step < warmup:
        return config.lr * (step + 1) / warmup
    progress = (step - warmup) / max(1, total_steps - warmup)
    if config.schedule == "linear":
        return config.lr * (1 - progress)
    if config.schedule == "cosine":
        return config.lr * 0.5 * (1 + math.cos(math.pi * progress))
    return config.lr


def build_optimizer(model: nn.Module, config: OptimizerConfig, num_layers: int) -> torch.optim.AdamW:
    """Fused AdamW; biases and layer norms are not decayed, and deeper layers learn by `layer_decay` slower.

    Each group carries `lr_factor`, its share of the scheduled rate: the head has 1, the top block `layer_decay`,
    the embeddings `layer_decay ** (num_layers + 1)` (Clark et al., 2020, arXiv:2003.10555, section 3.1).
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        decay = config.weight_decay if parameter.ndim > 1 else 0.0
        factor = config.layer_decay ** _depth_below_head(name, num_layers)
        groups.setdefault((decay, factor), []).append(parameter)
    return torch.optim.AdamW(
        [
            {"params": parameters, "weight_decay": decay, "lr_factor": factor}
            for (decay, factor), parameters in groups.items()
        ],
        lr=config.lr,
        betas=config.betas,
        eps=config.eps,
        fused=True,
    )


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = lr * group["lr_factor"]


def _depth_below_head(name: str, num_layers: int) -> int:
    if block := re.match(r"encoder\.\w+\.(\d+)\.", name):
        return num_layers - int(block[1])
    return num_layers + 1 if name.startswith("encoder.") else 0
