"""What is trained on top of the encoder: pretraining (masked tokens, next sentence) and sequence classification.

Shapes: B rows, T tokens in a row, C hidden size, V vocabulary, P predicted tokens, N samples in the batch.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.config import ModelConfig
from bert_core.dropout import Dropout
from bert_core.model import Encoder

POSITIONS_STEP = 64
"""The number of masked tokens differs from batch to batch, and CPU kernels are built and kept for every number met."""


class SequenceInputs(Protocol):
    """What a `SequenceClassifier` reads of a `bert_core.data.Batch`, which says what each field holds."""

    @property
    def input_ids(self) -> Tensor: ...  # (B, T) int64
    @property
    def token_type_ids(self) -> Tensor: ...  # (B, T) int64
    @property
    def position_ids(self) -> Tensor: ...  # (B, T) int64
    @property
    def document_ids(self) -> Tensor: ...  # (B, T) integers, 0 = padding
    @property
    def cls_positions(self) -> Tensor: ...  # (N,) int64, flat into B * T


class PretrainingInputs(SequenceInputs, Protocol):
    """What a `PretrainingModel` reads of a `bert_core.data.Batch`."""

    @property
    def predict_positions(self) -> Tensor: ...  # (P,) int64, flat into B * T


class Pooler(nn.Module):
    """Dense and tanh over the hidden state of [CLS]: (N, C) -> (N, C)."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, cls_states: Tensor) -> Tensor:
        return torch.tanh(self.dense(cls_states))


class MlmHead(nn.Module):
    """Scores over the vocabulary. The decoder's weight is the word embedding itself, handed in and never copied."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, states: Tensor, word_embeddings: Tensor) -> Tensor:
        """(P, C), (V, C) -> (P, V)"""
        return F.linear(self.norm(F.gelu(self.dense(states))), word_embeddings, self.bias)

    @torch.no_grad()
    def start_from_frequencies(self, counts: Tensor) -> None:
        """Set the bias to the log of each token's share in `counts` (at most V,), one added to each.

        With a bias of zero a new head spends its first steps on learning which words are frequent, and the encoder
        under it is pulled along by that.
        """
        smoothed = F.pad(counts, (0, len(self.bias) - len(counts))) + 1
        self.bias.copy_(torch.log(smoothed / smoothed.sum()))


class PretrainingOutput(NamedTuple):
    mlm_logits: Tensor
    """(P, V), in the order of `predict_positions`"""
    nsp_logits: Tensor | None
    """(N, 2), class 0 is "B follows A"; None without next-sentence prediction"""


class PretrainingModel(nn.Module):
    """BERT with its pretraining heads; scores are computed at the predicted positions only (15 % of the tokens).

    Without `nsp` there is no `nsp_head`, and the pooler is frozen, kept only so that its weights survive a round trip.
    """

    def __init__(self, config: ModelConfig, *, nsp: bool) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.pooler = Pooler(config).requires_grad_(nsp)  # frozen: DDP would wait for a gradient that never comes
        self.mlm_head = MlmHead(config)
        self.nsp_head = nn.Linear(config.hidden_size, 2) if nsp else None

    def forward(self, batch: PretrainingInputs) -> PretrainingOutput:
        predicted, padded = len(batch.predict_positions), _round_up(batch.predict_positions)
        heads = [padded] if self.nsp_head is None else [padded, batch.cls_positions]
        states, cls_states = _states(self.encoder, batch, torch.cat(heads)).tensor_split([len(padded)])
        mlm_logits = self.mlm_head(states, self.encoder.embeddings.word.weight)[:predicted]
        if self.nsp_head is None:
            return PretrainingOutput(mlm_logits, None)
        return PretrainingOutput(mlm_logits, self.nsp_head(self.pooler(cls_states)))


class SequenceClassifier(nn.Module):
    """One row of scores for each sample, read from its [CLS], wherever packing has put it."""

    def __init__(self, config: ModelConfig, num_labels: int) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.pooler = Pooler(config)
        self.dropout = Dropout(config.hidden_dropout)
        self.classifier = nn.Linear(config.hidden_size, num_labels)

    def forward(self, batch: SequenceInputs) -> Tensor:
        """(N, num_labels), in the order of `cls_positions`"""
        cls_states = _states(self.encoder, batch, batch.cls_positions)
        return self.classifier(self.dropout(self.pooler(cls_states)))


def _states(encoder: Encoder, batch: SequenceInputs, positions: Tensor) -> Tensor:
    """(P, C): the last hidden states at flat `positions`"""
    return encoder(batch.input_ids, batch.token_type_ids, batch.position_ids, batch.document_ids, positions)


def _round_up(positions: Tensor) -> Tensor:
    """`positions` (P,), and repeats of the first up to a multiple of `POSITIONS_STEP` for the caller to cut off."""
    return torch.cat([positions, positions[:1].expand(-len(positions) % POSITIONS_STEP)])
