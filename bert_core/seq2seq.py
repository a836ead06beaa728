"""One text becomes another: an encoder, and a decoder that reads its states (Vaswani et al., 2017, arXiv:1706.03762).

The decoder is BERT with a layer of cross-attention in each block and a head tied to its word embeddings, so that both
sides start from an encoder's weights (Rothe et al., 2020, arXiv:1907.12461; `bert_core.hf.encoder_decoder`).

Shapes: B rows, T tokens in a row, each of sources (s) or targets (t), C hidden size, E embedding size, V vocabulary,
P predicted tokens.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.attention import AttentionMask
from bert_core.config import ModelConfig
from bert_core.cross_attention import CrossAttention, Pairs
from bert_core.heads import POSITIONS_STEP, MlmHead
from bert_core.loss import Loss, linear_cross_entropy
from bert_core.model import Block, Embeddings, Encoder, EncoderInputs
from bert_core.precision import LayerNorm, Linear
from bert_core.seq2seq_batch import Seq2SeqBatch
from bert_core.tied import look_up

FAMILIES = ("bert", "roberta")
"""Whose decoders transformers runs with cross-attention in this place."""
_SHAPE = {
    "norm_first": False,
    "embedding_norm": True,
    "positions": "learned",
    "embedding_size": None,
    "share_layers": False,
    "local_window": None,
    "causal": False,
}


class Seq2SeqOutput(NamedTuple):
    """What the loss is made of. Scores over the vocabulary are not: whoever wants them asks for `logits`."""

    states: Tensor
    """(P, E), in the order of `predict_positions`, after the head's transformation"""
    decoder: Tensor
    """(V, E): the decoder's word embeddings"""
    decoder_bias: Tensor | None
    """(V,)"""
    of_labels: Tensor | None
    """(P, E): the decoder's rows of the labels; None where labels are not smoothed"""

    @property
    def logits(self) -> Tensor:
        """(P, V)"""
        return F.linear(self.states, self.decoder, self.decoder_bias)


class CrossBlock(Block):
    """A block of the decoder: attention to the source comes between attention and feed-forward layer."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        C = config.hidden_size
        self.cross_attention = CrossAttention(C, config.num_heads, config.attention_dropout, bias=config.bias)
        self.cross_output = Linear(C, C, bias=config.bias)
        self.cross_norm = LayerNorm(C, eps=config.layer_norm_eps, bias=config.bias)

    def forward(  # type: ignore[override]
        self, hidden: Tensor, mask: AttentionMask, states: Tensor, pairs: Pairs
    ) -> Tensor:
        """Targets (B_t, T_t, C) and the states of sources (B_s, T_s, C) -> (B_t, T_t, C)"""
        context = self.attention_output(self.attention(hidden, mask))
        assert isinstance(self.attention_norm, LayerNorm)
        hidden = self.attention_norm.of_sum(hidden, context, self.dropout)
        context = self.cross_output(self.cross_attention(hidden, states, pairs))
        hidden = self.cross_norm.of_sum(hidden, context, self.dropout)
        return self.norm.of_sum(hidden, self.feed_forward(hidden), self.dropout)


class Decoder(nn.Module):
    """Embeddings and a stack of blocks in which a target's token sees those before it, and its own source.

    Parameters are named as an `Encoder`'s, those of cross-attention come on top.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(CrossBlock(config) for _ in range(config.num_layers))

    def forward(self, target: EncoderInputs, states: Tensor, pairs: Pairs, words: Tensor | None = None) -> Tensor:
        """(B_t, T_t, C); `words` (B_t, T_t, E) as `Encoder.forward` has them."""
        mask = AttentionMask.of(target, causal=True)
        hidden = self.embeddings(target, words)
        for layer in self.layers:
            hidden = layer(hidden, mask, states, pairs)
        return hidden


class Seq2SeqModel(nn.Module):
    """Predicts each token of a target from the tokens before it and from its source alone.

    Args:
        decoder_config: the shape of an encoder, not causal: that it reads from left to right is what a decoder is.
        label_smoothing: share of each label that is spread evenly over the vocabulary while training (Szegedy et al.,
            2016, arXiv:1512.00567, section 7).

    Raises:
        ValueError: shapes that no such model has, or two hidden sizes.
    """

    def __init__(
        self, encoder_config: ModelConfig, decoder_config: ModelConfig, *, label_smoothing: float = 0.0
    ) -> None:
        super().__init__()
        _check(encoder_config, decoder_config)
        self.config, self.decoder_config = encoder_config, decoder_config
        self.label_smoothing = label_smoothing
        self.encoder = Encoder(encoder_config)
        self.decoder = Decoder(decoder_config)
        self.mlm_head = MlmHead(decoder_config)

    def forward(self, batch: Seq2SeqBatch) -> Seq2SeqOutput:
        target, labels = batch.target, batch.predict_labels
        states = self.encoder(batch.source)
        smoothed = self.training and self.label_smoothing > 0
        # The labels' rows are looked up along with the words that are read: one gradient for all uses of the weight.
        asked = [target.input_ids.flatten(), labels] if smoothed else [target.input_ids.flatten()]
        looked_up, decoder = look_up(self.decoder.embeddings.word, torch.cat(asked))
        words, of_labels = looked_up.tensor_split([target.input_ids.numel()])
        hidden = self.decoder(target, states, batch.pairs, words.view(*target.input_ids.shape, -1))
        positions = batch.predict_positions
        wanted = torch.cat([positions, positions[:1].expand(-len(positions) % POSITIONS_STEP)])
        predicted = self.mlm_head(hidden.flatten(0, 1).index_select(0, wanted))[: len(positions)]
        return Seq2SeqOutput(predicted, decoder, self.mlm_head.bias, of_labels if smoothed else None)

    def losses(self, batch: Seq2SeqBatch) -> dict[str, Loss]:
        """ "target": the sum over P of the cross-entropy, smoothed while training, and how many are right."""
        output = self(batch)
        total, correct = linear_cross_entropy(output.states, output.decoder, output.decoder_bias, batch.predict_labels)
        if output.of_labels is not None:
            total = total + self.label_smoothing * _smoothing(output, output.of_labels, batch.predict_labels)
        return {"target": Loss(total, correct)}

    def counted(self, batch: Seq2SeqBatch) -> dict[str, int]:
        """The number of predictions of each loss."""
        return {"target": batch.num_predictions}


def decoder_config(encoder_config: ModelConfig, layers: int | None = None) -> ModelConfig:
    """The shape of a decoder that starts from the lowest `layers` of an encoder's; None: from all.

    Raises:
        ValueError: the encoder has fewer.
    """
    layers = encoder_config.num_layers if layers is None else layers
    if not 1 <= layers <= encoder_config.num_layers:
        raise ValueError(f"decoder_layers = {layers}: the encoder has {encoder_config.num_layers} to start from")
    return encoder_config.model_copy(update={"num_layers": layers})


def _smoothing(output: Seq2SeqOutput, of_labels: Tensor, labels: Tensor) -> Tensor:
    """Sum over P of the mean over V of -log p, minus the cross-entropy: times the share, what smoothing adds.

    Both have the same logarithm of a sum over V, so what is left is the label's score minus the mean score. That mean
    is the score of the mean of the decoder's rows: (P, E) numbers are looked at, and no (P, V).
    """
    states = output.states.float()
    total = (states * of_labels.float()).sum() - states.sum(0) @ output.decoder.float().mean(0)
    if output.decoder_bias is not None:
        bias = output.decoder_bias.float()
        total = total + bias[labels].sum() - len(labels) * bias.mean()
    return total


def _check(encoder: ModelConfig, decoder: ModelConfig) -> None:
    for side, config in (("encoder", encoder), ("decoder", decoder)):
        if config.family not in FAMILIES:
            raise ValueError(f"{side} of family {config.family!r}: legal here: {', '.join(map(repr, FAMILIES))}")
        for name, legal in _SHAPE.items():
            if getattr(config, name) != legal:
                raise ValueError(f"{side}: {name} = {getattr(config, name)!r}: legal here: {legal!r}")
    if encoder.hidden_size != decoder.hidden_size:
        raise ValueError(f"hidden_size {encoder.hidden_size} of the encoder, {decoder.hidden_size} of the decoder")
