"""State dicts under our names and under transformers', in both directions, by the tables of `families`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from bert_core.config.model import Family
from bert_core.hf.families import NAMES, Modules

Kind = Literal["pretraining", "classifier", "token", "span", "choice", "bare"]
"""Which heads a folder's names are of; bare: none."""
NUMBER = re.compile(r"(?<=\.)\d+(?=\.)")


def to_transformers(
    state: Mapping[str, Tensor], family: Family = "bert", kind: Kind = "pretraining"
) -> dict[str, Tensor]:
    """A state dict under transformers' names, fused weights cut.

    Args:
        kind: of the model that `state` is of.

    Raises:
        KeyError: a name that the map lacks.
    """
    modules, names = modules_of(family, kind), NAMES[family]
    theirs: dict[str, Tensor] = {}
    for name, tensor in state.items():
        module, number, parameter = parts_of(name)
        parts = modules[module]
        turned = module in names.transposed and parameter == "weight"
        for part, piece in zip(parts, tensor.chunk(len(parts)), strict=True):
            theirs[_named(part, number, parameter)] = piece.T if turned else piece
    return theirs


def from_transformers(
    state: Mapping[str, Tensor], family: Family = "bert", kind: Kind = "pretraining"
) -> dict[str, Tensor]:
    """The inverse of `to_transformers`: a state dict under current transformers names, under ours.

    Args:
        kind: of the model that ours is for, which for ModernBERT's and RoBERTa's dense layers decides our name.

    Raises:
        KeyError: a name that the map lacks, or one of several weights that are fused here is absent.
    """
    names = NAMES[family]
    modules, sources = modules_of(family, kind), ours_of(family, kind)
    ours: dict[str, Tensor] = {}
    for name in state:
        module, number, parameter = parts_of(name)
        source = sources[module]
        target = _named(source, number, parameter)
        if target not in ours:
            pieces = [state[_named(part, number, parameter)] for part in modules[source]]
            whole = pieces[0] if len(pieces) == 1 else torch.cat(pieces)
            ours[target] = whole.T if source in names.transposed and parameter == "weight" else whole
    return ours


def modules_of(family: Family, kind: Kind) -> Modules:
    """Our modules -> theirs."""
    names = NAMES[family]
    return {**names.encoder, **names.heads(kind)}


def ours_of(family: Family, kind: Kind) -> dict[str, str]:
    """Their modules -> ours."""
    return {theirs: ours for ours, parts in modules_of(family, kind).items() for theirs in parts}


def parts_of(name: str) -> tuple[str, str, str]:
    """`encoder.layers.3.up.bias` -> `encoder.layers.*.up`, `3`, `bias`; only the first number is a block's."""
    module, _, parameter = name.rpartition(".")
    number = NUMBER.search(f"{module}.")
    return NUMBER.sub("*", f"{module}.", count=1)[:-1], number[0] if number else "", parameter


def _named(module: str, number: str, parameter: str) -> str:
    return f"{module}.{parameter}".replace("*", number)
