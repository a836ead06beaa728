"""Floating-point operations of a training step of an encoder and a decoder; counted as in `bert_core.flops`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from bert_core.flops import batch_shape, training_flops
from bert_core.seq2seq import Seq2SeqModel


def seq2seq_flops(model: Seq2SeqModel, batches: Iterable[Any]) -> int:
    """Encoder and decoder by themselves, and in each layer of the decoder, forward and backward, cross-attention:
    2 C^2 for queries and for the output of each target token, 4 C^2 for key and value of each source token, 4 C for
    each pair of a target token and a token of its source."""
    encoder, decoder = model.config, model.decoder_config.model_copy(update={"causal": True})
    C, total = decoder.hidden_size, 0
    for batch in batches:
        sources, targets = batch.source.lengths.tolist(), batch.target.lengths.tolist()
        total += training_flops(encoder, batch_shape(encoder, sources, sum(sources)))
        total -= training_flops(encoder, batch_shape(encoder, [], sum(sources)))  # an encoder scores no vocabulary
        total += training_flops(decoder, batch_shape(decoder, targets, batch.num_predictions))
        pairs = sum(s * t for s, t in zip(sources, targets, strict=True))
        cross = 4 * C * C * (sum(targets) + sum(sources)) + 4 * C * pairs
        total += 3 * decoder.num_layers * cross
    return total
