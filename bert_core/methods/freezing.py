"""Which parts of an encoder learn, as a pure function of the step; and top blocks drawn anew.

A part is numbered from below: 0 the embeddings, 1 to L the blocks, L + 1 the norm behind them, L + 2 the head. Parts
from some number on learn. What lies below is computed without a graph and has no backward pass, because nothing there
asks for a gradient; its dropout stays on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from bert_core.config import ConfigError, MethodConfig, ModelConfig
from bert_core.model import init_weights
from bert_core.optim import block_of
from bert_core.task_models import TaskModel


def first_learning(method: MethodConfig, config: ModelConfig, step: int, total_steps: int) -> int:
    """The lowest part that learns in optimizer step `step` (from 0) of `total_steps`."""
    layers = config.num_layers
    lowest = first_ever_learning(method, config)
    if method.unfreeze is None:
        return lowest
    freed = int(step / (method.unfreeze * total_steps))
    return max(lowest, layers + 2 if freed == 0 else layers + 1 - freed)


def first_ever_learning(method: MethodConfig, config: ModelConfig) -> int:
    """The lowest part that learns at any time."""
    layers, frozen = config.num_layers, method.freeze_layers
    if method.lora is not None or method.virtual_tokens or frozen == "encoder":
        return layers + 2
    return 0 if frozen is None else frozen + 1


def check_freezing(method: MethodConfig, config: ModelConfig) -> None:
    """Raises:
    ConfigError: more blocks than the model has, or single ones of a model whose blocks share their weights.
    """
    asked = {"freeze_layers": method.freeze_layers, "reinit_layers": method.reinit_layers}
    for name, number in asked.items():
        if isinstance(number, int) and number > config.num_layers:
            raise ConfigError(f"method.{name} = {number}: the model has {config.num_layers} blocks")
        if isinstance(number, int) and number and config.share_layers:
            raise ConfigError(
                f"method.{name} = {number}: the blocks of this {config.family} are one block; leave it out"
            )
    if method.unfreeze is not None and config.share_layers:
        raise ConfigError(f"method.unfreeze = {method.unfreeze}: the blocks of this {config.family} are one block")


def set_learning(model: TaskModel, first: int) -> None:
    """Let the parts from number `first` on learn; adapters and virtual tokens, which lie within parts, always do."""
    layers = model.config.num_layers
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(is_added(name) or part_of(name, layers) >= first)


def part_of(name: str, num_layers: int) -> int:
    """The number of the part that a parameter belongs to."""
    if (block := block_of(name)) >= 0:
        return block + 1
    if name.startswith("encoder.embeddings."):
        return 0
    return num_layers + 1 if name.startswith("encoder.") else num_layers + 2


def is_added(name: str) -> bool:
    """Whether a parameter is one that a method put into the model."""
    return ".lora_" in name or ".virtual_" in name


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Of names and bytes of tensors on the CPU, in hexadecimal."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(tensor.detach().contiguous().view(torch.uint8).numpy().data)
    return digest.hexdigest()


@torch.no_grad()
def draw_top_anew(model: TaskModel, layers: int, generator: torch.Generator) -> None:
    """Give the top `layers` blocks and the pooler fresh weights; what the lower ones know is more general."""
    if not layers:
        return
    blocks = list(model.encoder.layers)[-layers:]
    pooler = getattr(model, "pooler", None)
    for module in [*blocks, *([pooler] if isinstance(pooler, nn.Module) else [])]:
        init_weights(module, model.config.initializer_range, generator)
