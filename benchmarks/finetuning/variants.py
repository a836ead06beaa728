"""Ways of fine-tuning with our core, each a few settings over the plain one: what `methods.py` compares."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from typing import Any

from finetuning import sets


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
    examples: Mapping[str, Any] = field(default_factory=dict)
    """Keys of `examples.ExamplesConfig`: what is learned from instead of the set's training side, or beside it."""
    epochs_factor: float = 1.0

    @property
    def substitutes(self) -> bool:
        """Whether it asks the masked-word head of `pretraining.py` for other words."""
        return any(method["type"] == "mlm" for method in self._augmenting)

    @property
    def needs_pretraining(self) -> bool:
        return self.pretrained or self.substitutes

    @property
    def _augmenting(self) -> list[Mapping[str, Any]]:
        return list(self.examples.get("augment", {}).get("methods", ()))

    def combined(self, other: Variant) -> Variant:
        examples = merged(self.examples, other.examples)
        if methods := [*self._augmenting, *other._augmenting]:
            examples["augment"]["methods"] = methods
        return Variant(
            f"{self.about}; {other.about}",
            merged(self.changes, other.changes),
            self.lr_factor * other.lr_factor,
            self.pretrained or other.pretrained,
            examples,
            self.epochs_factor * other.epochs_factor,
        )


def merged(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`base` with `changes` laid over it, table by table."""
    result = copy.deepcopy(dict(base))
    for key, value in changes.items():
        inner = result.get(key)
        if isinstance(value, Mapping) and isinstance(inner, Mapping):
            result[key] = merged(inner, value)
        else:
            result[key] = copy.deepcopy(value)
    return result


def _method(about: str, lr_factor: float = 1.0, **method: Any) -> Variant:
    return Variant(about, {"method": method}, lr_factor)


def _augmented(about: str, type: str, **augment: Any) -> Variant:
    return Variant(about, examples={"augment": {"methods": [{"type": type, "copies": COPIES}], **augment}})


COPIES = 4
"""Of each example, by one operation."""
WITH = "with:"
VECTORS = {"type": "vectors"}
CLOZE = {"pattern": "{text} It was {mask}.", "verbalizer": {"fresh": "great", "rotten": "terrible"}}
"""For film reviews."""
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
    "synonyms": _augmented("words give way to synonyms", "synonyms", thesaurus=VECTORS),
    "insertion": _augmented("synonyms are put in", "insertion", thesaurus=VECTORS),
    "swap": _augmented("words change places", "swap"),
    "deletion": _augmented("words are left out", "deletion"),
    "characters": _augmented("words are mistyped", "characters"),
    "substitution": Variant(
        "words give way to what our masked-word model says",
        examples={"augment": {"methods": [{"type": "mlm", "folder": "masked_model", "copies": COPIES}]}},
    ),
    "cloze": Variant("a class is a word for a blank", {"method": {"cloze": CLOZE}}, pretrained=True),
    "all-labels": Variant("all labels of the pool", examples={"labels": {"type": "all"}}),
    "pseudo": Variant("a teacher's sure answers to the pool as labels", examples={"labels": {"type": "pseudo"}}),
    "active-margin": Variant(
        "a person's labels where the margin is least", examples={"labels": {"type": "active", "strategy": "margin"}}
    ),
    "active-random": Variant(
        "as many labels at random", examples={"labels": {"type": "active", "strategy": "random"}}
    ),
    "longer": Variant("three times the epochs", epochs_factor=3),
    "stopped": Variant(
        "three times the epochs, or until the validation loss falls no more",
        {"keep": "best", "patience": 2}, examples={"validation": True}, epochs_factor=3,
    ),
}  # fmt: skip


def variant(name: str) -> Variant:
    """The variant of a name; `a+b` is both, `with:SET` learns that set of `sets.py` on the same encoder.

    Raises:
        ValueError: there is none of that name, or no such set.
    """
    return reduce(Variant.combined, map(_one, name.split("+")))


def _one(name: str) -> Variant:
    if name.startswith(WITH):
        other = name.removeprefix(WITH)
        sets.chosen([other])  # raises where there is none
        return Variant(f"{other} on the same encoder", examples={"auxiliary": {"set": other, "weight": 1.0}})
    if name not in VARIANTS:
        raise ValueError(f"no variant {name!r}; there are {', '.join(VARIANTS)}, {WITH}SET, and a+b for both")
    return VARIANTS[name]
