"""LoRA: peft's layers around the linear layers of our blocks, and what is left of them in an exported folder.

Shapes: R rank, O outputs, I inputs of a layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bert_core.config import LoraConfig
from bert_core.config.model import Family
from bert_core.hf.families import NAMES
from bert_core.hf.loading import WEIGHTS_FILE
from bert_core.hf.weights import Kind, modules_of, parts_of
from bert_core.task_models import TaskModel

BASE, A, B = ".base_layer.", ".lora_A.default.", ".lora_B.default."
ADAPTER_FOLDER, ADAPTER_FILE = "adapter", "adapter_model.safetensors"


@torch.no_grad()
def add_lora(model: TaskModel, lora: LoraConfig, generator: torch.Generator) -> None:
    """Wrap the target layers of every block, in place. At first the model computes what it did: B is zero."""
    import peft  # seconds that only LoRA pays

    blocks: nn.Module = model.encoder.layers  # without our config, which peft would read as transformers'
    state = torch.get_rng_state()
    peft.inject_adapter_in_model(
        peft.LoraConfig(
            r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=list(lora.targets)
        ),
        blocks,
    )
    torch.set_rng_state(state)  # peft draws from the global generator; drawn again below, from the run's
    for name, parameter in model.named_parameters():
        if A in name:
            bound = parameter.shape[1] ** -0.5
            parameter.uniform_(-bound, bound, generator=generator)


def merged(weights: Mapping[str, Tensor], lora: LoraConfig) -> dict[str, Tensor]:
    """The weights of the model without adapters that computes the same: W + alpha / R * B A for each layer."""
    plain = {name.replace(BASE, "."): tensor for name, tensor in weights.items() if A not in name and B not in name}
    for layer, down, up in adapters(weights):
        plain[f"{layer}.weight"] = plain[f"{layer}.weight"] + lora.alpha / lora.rank * up @ down
    return plain


def adapters(weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor, Tensor]]:
    """(name of the layer, (R, I), (O, R)) of every adapter."""
    for name, tensor in weights.items():
        if A in name:
            yield name.split(A)[0], tensor, weights[name.replace(A, B)]


def write_adapter(weights: Mapping[str, Tensor], lora: LoraConfig, family: Family, kind: Kind, folder: Path) -> None:
    """Write `folder`/adapter, for peft: what was learned, for the transformers model that the run started from.

    A fused layer's adapter becomes one for each of its parts, which share A.

    Args:
        weights: not merged.
        folder: an exported model, whose head goes with the adapter.
    """
    import peft

    names, prefix = NAMES[family], NAMES[family].prefix if kind == "bare" else ""
    modules, theirs, targets = modules_of(family, kind), dict[str, Tensor](), set[str]()
    for layer, down, up in adapters(weights):
        module, number, _ = parts_of(f"{layer}.weight")
        parts = modules[module]
        for part, piece in zip(parts, up.chunk(len(parts)), strict=True):
            path = part.replace("*", number).removeprefix(prefix)
            targets.add(path)
            theirs |= {f"{path}.lora_A.weight": down, f"{path}.lora_B.weight": piece}
    encoder = {part for parts in names.encoder.values() for part in parts}
    head = {
        name: tensor
        for name, tensor in load_file(folder / WEIGHTS_FILE).items()
        if parts_of(f"{prefix}{name}")[0] not in encoder
    }
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=sorted(targets),
        modules_to_save=sorted({name.rpartition(".")[0] for name in head}) or None,
        fan_in_fan_out=bool(names.transposed),
        inference_mode=True,
    )
    (folder / ADAPTER_FOLDER).mkdir(parents=True, exist_ok=True)
    config.save_pretrained(str(folder / ADAPTER_FOLDER))
    learned = {f"base_model.model.{name}": tensor.clone() for name, tensor in (theirs | head).items()}
    save_file(learned, folder / ADAPTER_FOLDER / ADAPTER_FILE, metadata={"format": "pt"})
