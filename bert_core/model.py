"""One transformer for the whole family: BERT, RoBERTa, ALBERT, DistilBERT, GPT-2 and a modern encoder.

`ModelConfig` says where the norms stand, how positions enter, what the feed-forward layer is, which layers share
weights, and what a token sees. Nothing here knows of ranks, precision or compilation: those are applied from outside.

Shapes: B rows, T tokens in a row, C hidden size, E embedding size, I intermediate size, P selected positions.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.attention import Attention, AttentionMask, Packed, Rotary
from bert_core.config import ModelConfig
from bert_core.dropout import Dropout
from bert_core.precision import LayerNorm, Linear


class EncoderInputs(Packed, Protocol):
    """What an `Encoder` reads of a `bert_core.data.Batch`, which says what each field holds."""

    @property
    def input_ids(self) -> Tensor: ...  # (B, T) int64
    @property
    def token_type_ids(self) -> Tensor: ...  # (B, T) int64


class Embeddings(nn.Module):
    """Words, and what the family adds to them: positions, token types, a norm, a projection to the hidden size."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, E = config.hidden_size, config.embedding_size or config.hidden_size
        self.position_offset = config.position_offset
        # GPT-2 pads with the token that ends its documents, which is to be learned.
        self.word = nn.Embedding(config.vocab_size, E, padding_idx=None if config.causal else config.pad_token_id)
        learned = config.positions == "learned"
        self.position = nn.Embedding(config.max_positions + config.position_offset, E) if learned else None
        self.token_type = nn.Embedding(config.type_vocab_size, E) if config.type_vocab_size else None
        self.norm = _norm(E, config) if config.embedding_norm else None
        self.dropout = Dropout(config.hidden_dropout)
        self.project = Linear(E, C) if config.embedding_size else None

    def forward(self, batch: EncoderInputs, words: Tensor | None = None) -> Tensor:
        """(B, T, C); `words` (B, T, E) are those of the batch, where somebody looked them up before."""
        embedded: Tensor = self.word(batch.input_ids) if words is None else words  # (B, T, E)
        if self.token_type is not None:
            # RoBERTa has one type: the second text of a pair is of it too.
            types = batch.token_type_ids.clamp(max=0) if self.token_type.num_embeddings == 1 else batch.token_type_ids
            embedded = embedded + self.token_type(types)
        if self.position is not None:
            embedded = embedded + self.position(batch.position_ids + self.position_offset)
        if self.norm is not None:
            embedded = self.norm(embedded)
        embedded = self.dropout(embedded)
        return embedded if self.project is None else self.project(embedded)


class Block(nn.Module):
    """Attention, then a feed-forward layer, each added to what it read; normalised before reading or after adding."""

    def __init__(self, config: ModelConfig, layer: int = 0) -> None:
        super().__init__()
        C, width = config.hidden_size, config.intermediate_size
        self.norm_first, self.activation = config.norm_first, config.activation
        self.attention = Attention(C, config.num_heads, config.attention_dropout, bias=config.bias)
        self.attention_output = Linear(C, C, bias=config.bias)
        # ModernBERT: the embeddings were just normalised, so that the first block's norm would do nothing.
        normalised = config.norm_first and config.embedding_norm and layer == 0 and not config.share_layers
        self.attention_norm: nn.Identity | LayerNorm = nn.Identity() if normalised else _norm(C, config)
        self.up = Linear(C, width * (2 if config.activation == "geglu" else 1), bias=config.bias)
        self.down = Linear(width, C, bias=config.bias)
        if config.norm_first:  # GPT-2, section 2.3: the stream between the norms adds up 2 L of these
            self.attention_output.initial_scale = self.down.initial_scale = (2 * config.num_layers) ** -0.5
        self.norm = _norm(C, config)
        self.dropout = Dropout(config.hidden_dropout)

    def forward(
        self, hidden: Tensor, mask: AttentionMask, rotary: Rotary | None = None, positions: Tensor | None = None
    ) -> Tensor:
        """(B, T, C) -> (B, T, C); with `positions` (P,) into B * T only these: (P, C), and only these are paid for."""
        context = self.attention(self.attention_norm(hidden) if self.norm_first else hidden, mask, rotary)
        if positions is not None:
            hidden = hidden.flatten(0, 1).index_select(0, positions)  # (P, C)
            context = context.flatten(0, 1).index_select(0, positions)
        context = self.attention_output(context)
        if isinstance(self.attention_norm, nn.Identity) or self.norm_first:
            hidden = self.dropout.add(hidden, context)
            return self.dropout.add(hidden, self.feed_forward(self.norm(hidden)))
        hidden = self.attention_norm.of_sum(hidden, context, self.dropout)
        return self.norm.of_sum(hidden, self.feed_forward(hidden), self.dropout)

    def feed_forward(self, x: Tensor) -> Tensor:
        """(…, C) -> (…, C)"""
        if self.activation == "geglu":  # Shazeer, 2020, arXiv:2002.05202
            inner, gate = self.up(x).chunk(2, dim=-1)
            return self.down(F.gelu(inner) * gate)
        return self.down(F.gelu(self.up(x), approximate="tanh" if self.activation == "gelu_tanh" else "none"))


class Encoder(nn.Module):
    """Embeddings and a stack of blocks. Documents of one row never influence each other, in value or gradient.

    Raises:
        ValueError: relative positions, which `bert_core.xlnet` has.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        if config.positions == "relative":
            raise ValueError(f"family {config.family!r}, positions 'relative': that model is in bert_core.xlnet")
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Block(config, i) for i in range(1 if config.share_layers else config.num_layers))
        self.final_norm = _norm(config.hidden_size, config) if config.norm_first else None

    def forward(self, batch: EncoderInputs, positions: Tensor | None = None, words: Tensor | None = None) -> Tensor:
        """The last hidden states.

        Args:
            positions: (P,) int64, flat indices into B * T. The last block then computes its feed-forward layer for
                these alone, which saves about a tenth of a step of six blocks when 15 % of the tokens are asked for.
            words: (B, T, E), the word embeddings of the batch, where somebody looked them up before.

        Returns:
            (B, T, C), or (P, C) when `positions` is given. States of padding are finite and mean nothing.
        """
        config = self.config
        masks = {w: AttentionMask.of(batch, causal=config.causal, window=w) for w in {None, config.local_window}}
        rotary = self._rotary(batch.position_ids)
        hidden = self.embeddings(batch, words)
        for i in range(config.num_layers):
            window = config.window(i)
            wanted = positions if i == config.num_layers - 1 else None
            hidden = self.layers[i % len(self.layers)](hidden, masks[window], rotary.get(window), wanted)
        return hidden if self.final_norm is None else self.final_norm(hidden)

    def _rotary(self, position_ids: Tensor) -> dict[int | None, Rotary]:
        """By window: layers that see little turn faster (ModernBERT, section 2.1.2). Empty without rotary positions."""
        config = self.config
        if config.positions != "rope":
            return {}
        thetas = {config.local_window: config.local_rope_theta, None: config.rope_theta}
        return {window: Rotary.of(position_ids, config.head_size, theta) for window, theta in thetas.items()}


def _norm(size: int, config: ModelConfig) -> LayerNorm:
    return LayerNorm(size, eps=config.layer_norm_eps, bias=config.bias)


# Every parameter of the project, by the kind of module that owns it and its name there. Google's release drew from a
# truncated normal; transformers draws from this plain one, and we follow the published checkpoints' heirs.
INITIAL_DISTRIBUTION = {
    ("Linear", "weight"): "normal",
    ("Linear", "bias"): "zeros",
    ("Embedding", "weight"): "normal",
    ("LayerNorm", "weight"): "ones",
    ("LayerNorm", "bias"): "zeros",
    ("MlmHead", "bias"): "zeros",
    ("XLNetModel", "mask_emb"): "normal",
    **{
        ("XLNetRelativeAttention", name): "normal"
        for name in ("q", "k", "v", "o", "r", "r_r_bias", "r_s_bias", "r_w_bias", "seg_embed")
    },
}


@torch.no_grad()
def init_weights(module: nn.Module, initializer_range: float, generator: torch.Generator) -> None:
    """Draw every parameter of `module` anew, in place: by the table above, with `initializer_range` as the deviation.

    Equal generator states give equal bits. The embedding of the padding token is zero, except in a causal model.

    Raises:
        KeyError: a parameter that the table does not list.
    """
    for owner in module.modules():
        for name, parameter in owner.named_parameters(recurse=False):
            match INITIAL_DISTRIBUTION[type(owner).__name__, name]:
                case "normal":
                    deviation = initializer_range * (owner.initial_scale if isinstance(owner, Linear) else 1.0)
                    parameter.normal_(0.0, deviation, generator=generator)
                case "zeros":
                    parameter.zero_()
                case "ones":
                    parameter.fill_(1.0)
        if isinstance(owner, nn.Embedding) and owner.padding_idx is not None:
            owner.weight[owner.padding_idx].zero_()
