"""Ways of fine-tuning with our core, each a few settings over the plain one: what `methods.py` compares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Variant:
    """Changes to the plain fine-tuning of a set."""

    about: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    """Keys of TrainConfig, laid over its own table by table."""
    lr_factor: float = 1.0
    """What learns few parameters from zero takes larger steps: of the order of the papers' own rates."""
    pretrained: bool = False
    """From the weights of `pretraining.py`: masked words of the set's own training text first."""

    def combined(self, other: Variant) -> Variant:
        return Variant(
            f"{self.about}; {other.about}",
            merged(self.changes, other.changes),
            self.lr_factor * other.lr_factor,
            self.pretrained or other.pretrained,
        )


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        inner = result.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        result[key] = merged(inner, value) if both else copy.deepcopy(value)  # type: ignore[arg-type]
    return result


def _method(about: str, lr_factor: float = 1.0, **method: Any) -> Variant:
    return Variant(about, {"method": method}, lr_factor)


VARIANTS: dict[str, Variant] = {
    "plain": Variant("the same settings as Trainer's"),
    "ema": Variant("average of the weights", {"optimizer": {"ema_decay": 0.99}}),
    "llrd": Variant("layer-wise learning-rate decay", {"optimizer": {"layer_decay": 0.9}}),
    "balanced": Variant("classes weighted by their rarity", {"task": {"class_weights": "balanced"}}),
    "focal": Variant("focal loss", {"task": {"focal_gamma": 2.0}}),
    "smoothing": Variant("label smoothing", {"task": {"label_smoothing": 0.1}}),
    "rdrop": _method("R-Drop", rdrop_alpha=1.0),
    "fgm": _method("fast gradient method", adversarial={"type": "fgm"}),
    "pgd": _method("projected gradient descent", adversarial={"type": "pgd"}),
    "freelb": _method("FreeLB", adversarial={"type": "freelb"}),
    "freeze": _method("the lower half stays as it is", freeze_layers=3),
    "head": _method("the head alone learns", 10, freeze_layers="encoder"),
    "unfreeze": _method("gradual unfreezing", unfreeze=0.05),
    "reinit": _method("the top block is drawn anew", reinit_layers=1),
    "lora": _method("LoRA", 5, lora={"rank": 8, "alpha": 16}),
    "lora-all": _method(
        "LoRA of all linear layers", 5,
        lora={"rank": 16, "alpha": 32, "targets": ["attention.qkv", "attention_output", "up", "down"]},
    ),
    "prompt": _method("prompt tuning", 20, prompt={"tokens": 20}),
    "prefix": _method("prefix tuning", 20, prefix={"tokens": 20}),
    "pretrained": Variant("continued pretraining on the set's training text", pretrained=True),
}  # fmt: skip


def variant(name: str) -> Variant:
    """The variant of a name; `a+b` is both.

    Raises:
        ValueError: there is none of that name.
    """
    found: Variant | None = None
    for part in name.split("+"):
        if part not in VARIANTS:
            raise ValueError(f"no variant {part!r}; there are {', '.join(VARIANTS)}, and a+b for both")
        found = VARIANTS[part] if found is None else found.combined(VARIANTS[part])
    assert found is not None
    return found
