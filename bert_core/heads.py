"""What is trained on top of the encoder in pretraining: words, pairs of segments. `task_models` has the other heads.

Shapes: B rows, T tokens in a row, C hidden size, E embedding size, V vocabulary, P predicted tokens, N samples.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.config import ModelConfig
from bert_core.model import Encoder, EncoderInputs
from bert_core.precision import LayerNorm, Linear
from bert_core.tied import look_up

POSITIONS_STEP = 64
"""The number of masked tokens differs from batch to batch, and CPU kernels are built and kept for every number met."""


class PretrainingInputs(EncoderInputs, Protocol):
    """What a `PretrainingModel` reads of a `bert_core.data.Batch`, which says what each field holds."""

    @property
    def cls_positions(self) -> Tensor: ...  # (N,) int64, flat into B * T
    @property
    def predict_positions(self) -> Tensor: ...  # (P,) int64, flat into B * T


class Pooler(nn.Module):
    """What a classifier reads: the state of one token through a dense layer, as its family does it: (N, C) -> (N, C).

    Tanh for BERT, ALBERT and RoBERTa, ReLU for DistilBERT, GELU and a norm for ModernBERT; GPT-2 has no such layer.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, self.family = config.hidden_size, config.family
        self.dense = nn.Linear(C, C, bias=config.bias) if self.family != "gpt2" else None
        modern = self.family == "modernbert"
        self.norm = nn.LayerNorm(C, eps=config.layer_norm_eps, bias=config.bias) if modern else None

    def forward(self, states: Tensor) -> Tensor:
        if self.dense is None:
            return states
        if self.norm is not None:
            return self.norm(F.gelu(self.dense(states)))
        return F.relu(self.dense(states)) if self.family == "distilbert" else torch.tanh(self.dense(states))


class MlmHead(nn.Module):
    """Scores over the vocabulary. The decoder's weight is the word embedding itself, handed in and never copied.

    A causal model has no transformation before the decoder and no bias, as GPT-2; XLNet's has only the bias.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        C, E = config.hidden_size, config.embedding_size or config.hidden_size
        self.approximate = "tanh" if config.activation == "gelu_tanh" else "none"
        plain = config.causal or config.family == "xlnet"
        self.dense = None if plain else Linear(C, E, bias=config.bias)
        self.norm = None if plain else LayerNorm(E, eps=config.layer_norm_eps, bias=config.bias)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size)) if not config.causal else None

    def forward(self, states: Tensor) -> Tensor:
        """(P, C) -> (P, E): what the decoder, the word embeddings, is multiplied with."""
        if self.dense is None or self.norm is None:
            return states
        return self.norm(F.gelu(self.dense(states), approximate=self.approximate))

    @torch.no_grad()
    def start_from_frequencies(self, counts: Tensor) -> None:
        """Set the bias to the log of each token's share in `counts` (at most V,), one added to each.

        With a bias of zero a new head spends its first steps on learning which words are frequent, and the encoder
        under it is pulled along by that.
        """
        if self.bias is None:
            return
        smoothed = F.pad(counts, (0, len(self.bias) - len(counts))) + 1
        self.bias.copy_(torch.log(smoothed / smoothed.sum()))


class PretrainingOutput(NamedTuple):
    """What the losses are made of. Scores over the vocabulary are not: whoever wants them asks for `mlm_logits`."""

    states: Tensor
    """(P, E), in the order of `predict_positions`, after the head's transformation"""
    decoder: Tensor
    """(V, E): the word embeddings"""
    decoder_bias: Tensor | None
    """(V,)"""
    pair_logits: Tensor | None
    """(N, 2), class 0 is "B follows A" or "A and B are in order"; None without pairs of segments"""

    @property
    def mlm_logits(self) -> Tensor:
        """(P, V)"""
        return F.linear(self.states, self.decoder, self.decoder_bias)


class PretrainingModel(nn.Module):
    """An encoder with its pretraining heads; states are computed at the predicted positions only (15 % of the tokens).

    Without `pairs` there is no `pair_head`, and a pooler is frozen, kept only so that its weights survive a round trip.

    Raises:
        ValueError: pairs for a family without a pooler.
    """

    def __init__(self, config: ModelConfig, *, pairs: bool) -> None:
        super().__init__()
        if pairs and not config.pooler:
            raise ValueError(f"pairs of segments need model.pooler = true; {config.family} has none of its own")
        self.config = config
        self.encoder = Encoder(config)
        # Frozen without pairs: DDP would wait for a gradient that never comes.
        self.pooler = Pooler(config).requires_grad_(pairs) if config.pooler else None
        self.mlm_head = MlmHead(config)
        self.pair_head = nn.Linear(config.hidden_size, 2) if pairs else None

    def forward(self, batch: PretrainingInputs) -> PretrainingOutput:
        predicted, padded = len(batch.predict_positions), _round_up(batch.predict_positions)
        wanted = [padded] if self.pair_head is None else [padded, batch.cls_positions]
        words, decoder = look_up(self.encoder.embeddings.word, batch.input_ids)
        states, first = self.encoder(batch, torch.cat(wanted), words).tensor_split([len(padded)])
        pair_logits = None
        if self.pair_head is not None and self.pooler is not None:
            pair_logits = self.pair_head(self.pooler(first))
        return PretrainingOutput(self.mlm_head(states)[:predicted], decoder, self.mlm_head.bias, pair_logits)


def _round_up(positions: Tensor) -> Tensor:
    """`positions` (P,), and repeats of the first up to a multiple of `POSITIONS_STEP` for the caller to cut off."""
    return torch.cat([positions, positions[:1].expand(-len(positions) % POSITIONS_STEP)])
