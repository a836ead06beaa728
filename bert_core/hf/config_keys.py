"""How a family's config.json is described, and what the descriptions share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bert_core.config import ModelConfig

ONE_OR_MORE = range(1, 1 << 31)
ACTIVATIONS = {"gelu": "gelu", "gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh"}
"""Theirs -> ours; of equal ones, the first is written."""


@dataclass(frozen=True)
class Keys:
    """How one family's config.json is read and written."""

    same: Mapping[str, str]
    """Our coordinate -> their key for an equal value."""
    absent: Mapping[str, Any]
    """Their keys that a file may leave out, and what transformers then takes; it must say the others in `same`."""
    legal: Mapping[str, tuple[Any, ...]]
    """Their keys of which this project can run some values only; the first is what an absent key means."""
    shape: Mapping[str, tuple[Any, ...] | range]
    """Our coordinates of which the family's files can express some values only."""
    architectures: Mapping[str, str]
    """pairs, words or classifier -> the class that transformers loads the folder with"""
    classifier_dropout: str | None = "classifier_dropout"
    classifier_legal: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    """As `legal`, but only of a classifier's folder."""
    read: Callable[[Mapping[str, Any]], dict[str, Any]] = field(default=lambda theirs: {})
    """What is not an equal value, from theirs; raises ValueError with the key, the value and the legal ones."""
    write: Callable[[ModelConfig], dict[str, Any]] = field(default=lambda config: {})
    """The inverse of `read`."""
    faults: Callable[[ModelConfig], list[str]] = field(default=lambda config: [])
    """What `shape` cannot say."""


BERT_SAME = {
    "vocab_size": "vocab_size",
    "hidden_size": "hidden_size",
    "num_layers": "num_hidden_layers",
    "num_heads": "num_attention_heads",
    "intermediate_size": "intermediate_size",
    "max_positions": "max_position_embeddings",
    "type_vocab_size": "type_vocab_size",
    "hidden_dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "layer_norm_eps": "layer_norm_eps",
    "initializer_range": "initializer_range",
    "pad_token_id": "pad_token_id",
}
BERT_ABSENT = {
    "max_position_embeddings": 512,
    "type_vocab_size": 2,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "pad_token_id": 0,
    "hidden_act": "gelu",
}
BERT_LEGAL: dict[str, tuple[Any, ...]] = {
    "hidden_act": tuple(ACTIVATIONS),
    "position_embedding_type": ("absolute",),
    "is_decoder": (False,),
    "add_cross_attention": (False,),
}
POST_NORM: dict[str, tuple[Any, ...] | range] = {
    "embedding_size": (None,),
    "share_layers": (False,),
    "norm_first": (False,),
    "embedding_norm": (True,),
    "positions": ("learned",),
    "position_offset": (0,),
    "activation": ("gelu", "gelu_tanh"),
    "bias": (True,),
    "causal": (False,),
    "local_window": (None,),
    "pooler": (False,),
    "type_vocab_size": (0,),
}


def activation(key: str) -> dict[str, Any]:
    """`read` and `write` of an activation under `key`."""
    first = {ours: theirs for theirs, ours in reversed(ACTIVATIONS.items())}
    return {
        "read": lambda theirs: {"activation": ACTIVATIONS[theirs[key]]},
        "write": lambda config: {key: first[config.activation]},
    }


def architectures(name: str, words: str = "ForMaskedLM", pairs: str | None = None) -> dict[str, str]:
    found = {"words": f"{name}{words}", "classifier": f"{name}ForSequenceClassification"}
    return found | ({"pairs": f"{name}{pairs}"} if pairs else {})
