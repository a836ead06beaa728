"""Prompts and prefixes: learned places behind each sequence's first token, in packed rows.

A place is a token whose id lies behind the vocabulary, so that packing, positions and spans need not know of it. A
prompt is its embedding; a prefix its keys and values in every layer, and then nobody reads what else it computes.

Shapes: B rows, T tokens in a row, C hidden size, E embedding size, M places of a batch, n places of a sequence.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.attention import Attention
from bert_core.config import ConfigError, MethodConfig
from bert_core.features import Features
from bert_core.precision import Linear
from bert_core.task_models import TaskModel


def insert_places(features: Features, count: int, first_id: int, *, targets_are_places: bool) -> Features:
    """The same sequences with `count` tokens of ids from `first_id` on behind the first of each.

    Args:
        targets_are_places: targets are tokens of their sequence (extractive answers), and move with these.
    """
    sequences = np.arange(features.num_sequences + 1)
    offsets = (features.offsets + count * sequences).astype(np.int32)
    tokens = np.empty(len(features.tokens) + count * features.num_sequences, dtype=np.int32)
    real = real_tokens(features, count)
    tokens[real] = features.tokens
    tokens[~real] = np.tile(np.arange(first_id, first_id + count), features.num_sequences)
    targets = np.where(features.targets > 0, features.targets + count, features.targets)
    return replace(
        features,
        tokens=tokens,
        offsets=offsets,
        b_starts=features.b_starts + count,
        positions=np.where(features.positions > 0, features.positions + count, features.positions),
        targets=targets.astype(np.float32) if targets_are_places else features.targets,
    )


def real_tokens(features: Features, count: int) -> NDArray[np.bool_]:
    """Which tokens of `insert_places` were there before."""
    firsts = features.offsets[:-1].astype(np.int64) + count * np.arange(features.num_sequences)
    real = np.ones(len(features.tokens) + count * features.num_sequences, dtype=bool)
    real[(firsts[:, None] + 1 + np.arange(count)).reshape(-1)] = False
    return real


@dataclass
class Places:
    """Where the places of the batch are that is being read; written by the words, read by the layers above."""

    flat: Tensor | None = None
    """(M,) int64 into B * T"""
    number: Tensor | None = None
    """(M,) int64: which of the n each is."""


class VirtualWords(nn.Module):
    """Word embeddings that also know ids behind the vocabulary: those of places."""

    def __init__(self, base: nn.Embedding, places: Places, prompt_tokens: int) -> None:
        super().__init__()
        self.base, self.places = base, places
        prompt = base.weight.new_zeros(prompt_tokens, base.embedding_dim) if prompt_tokens else None
        self.virtual_prompt = None if prompt is None else nn.Parameter(prompt)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    def forward(self, ids: Tensor) -> Tensor:
        """(B, T) -> (B, T, E)"""
        V, places = self.base.num_embeddings, self.places
        places.flat = (ids.flatten() >= V).nonzero().squeeze(1)
        places.number = ids.flatten()[places.flat] - V
        words: Tensor = self.base(ids.clamp(max=V - 1))
        if self.virtual_prompt is None:
            return words
        learned = F.embedding(places.number, self.virtual_prompt)
        return words.flatten(0, 1).index_copy(0, places.flat, learned).view_as(words)


class PrefixedLinear(nn.Module):
    """Queries, keys and values; at places, learned keys and values."""

    def __init__(self, base: Linear, places: Places, tokens: int) -> None:
        super().__init__()
        self.base, self.places = base, places
        self.virtual_keys_values = nn.Parameter(base.weight.new_zeros(tokens, 2 * base.in_features))

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, C) -> (B, T, 3 C)"""
        qkv, C, places = self.base(x), self.base.in_features, self.places
        assert places.flat is not None
        assert places.number is not None
        rows = qkv.flatten(0, 1)
        learned = F.embedding(places.number, self.virtual_keys_values).to(qkv.dtype)
        learned = torch.cat([rows[places.flat, :C], learned], dim=1)
        prefixed: Tensor = rows.index_copy(0, places.flat, learned).view_as(qkv)
        return prefixed


def add_virtual(model: TaskModel, method: MethodConfig) -> None:
    """Make the model read places, in place; what they hold is zero yet."""
    if not method.virtual_tokens:
        return
    places, embeddings = Places(), model.encoder.embeddings
    prompt_tokens = method.prompt.tokens if method.prompt is not None else 0
    embeddings.word = VirtualWords(embeddings.word, places, prompt_tokens)  # type: ignore[assignment]
    if method.prefix is not None:
        for module in [module for module in model.encoder.modules() if isinstance(module, Attention)]:
            module.qkv = PrefixedLinear(module.qkv, places, method.prefix.tokens)  # type: ignore[assignment]


@torch.no_grad()
def start_virtual(model: TaskModel, method: MethodConfig, generator: torch.Generator) -> None:
    """Start prompts as words drawn at random (Lester et al., 2021, section 3.2), and prefixes as the keys and values of
    such words (Li and Liang, 2021, section 7.4): numbers around zero would only thin out what attention sees."""
    words: nn.Module = model.encoder.embeddings.word
    if not isinstance(words, VirtualWords):
        return
    count, most = method.virtual_tokens, model.config.max_positions
    if count > most // 2:
        raise ConfigError(
            f"method: {count} virtual tokens, and the model reads {most} tokens: take at most half of them"
        )
    drawn = torch.randint(words.base.num_embeddings, (count,), generator=generator)
    if words.virtual_prompt is not None:
        words.virtual_prompt.copy_(words.weight[drawn])
        return
    seen: dict[nn.Module, Tensor] = {}
    layers = [module for module in model.encoder.modules() if isinstance(module, PrefixedLinear)]
    hooks = [layer.base.register_forward_hook(lambda base, _, out: seen.setdefault(base, out)) for layer in layers]
    was_training = model.training
    model.eval()
    model.encoder(_single(torch.cat([drawn[:1], drawn])))  # its first token stands where a text's [CLS] will
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        layer.virtual_keys_values.copy_(seen[layer.base][0, 1:, layer.base.in_features :])


def _single(ids: Tensor) -> SimpleNamespace:
    """One sequence, as an encoder reads a batch."""
    T = len(ids)
    return SimpleNamespace(
        input_ids=ids[None],
        token_type_ids=torch.zeros(1, T, dtype=torch.int64),
        position_ids=torch.arange(T)[None],
        document_ids=torch.ones(1, T, dtype=torch.int64),
        cu_seqlens=torch.tensor([0, T], dtype=torch.int32),
        max_seqlen=T,
    )
