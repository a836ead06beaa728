"""How probable a model finds given texts.

Shapes: P predicted tokens, E embedding size, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_core.data.batch import DataError
from bert_core.generation.run import TOKENS_AT_ONCE, evaluating
from bert_core.heads import PretrainingModel
from bert_core.loss import CHUNK_BYTES
from bert_core.seq2seq import Seq2SeqModel
from bert_core.seq2seq_batch import Ids, SpecialTokens, packed_rows, seq2seq_batch


class Likelihood(NamedTuple):
    """Perplexity of many texts: exp(-sum of log_likelihood / sum of num_tokens)."""

    log_likelihood: float
    """Natural logarithm, summed over the tokens."""
    num_tokens: int


def score(model: PretrainingModel, prompts: Sequence[Ids], targets: Sequence[Ids]) -> list[Likelihood]:
    """The probability of each target after its prompt, by a causal model.

    Args:
        prompts: ids, the first token included; none is empty.
        targets: ids, the end token included where its probability is to count.

    Raises:
        ValueError: a model that is not causal, another number of targets, an empty prompt.
        DataError: prompt and target are longer than the model's positions.
    """
    if not model.config.causal:
        raise ValueError(f"family {model.config.family!r}, causal = False: it gives no probability to a text")
    if len(prompts) != len(targets) or any(len(prompt) == 0 for prompt in prompts):
        raise ValueError(f"{len(prompts)} prompts, {len(targets)} targets: expected one target for each, none empty")
    texts = [np.concatenate([*pair]).astype(np.int64) for pair in zip(prompts, targets, strict=True)]
    found: list[Likelihood] = []
    weight, head = model.encoder.embeddings.word.weight, model.mlm_head
    with evaluating(model):
        for some in _portions([len(text) for text in texts]):
            # What the last token leads to is not asked.
            rows = packed_rows([texts[i][:-1] for i in some], model.config.pad_token_id, model.config.max_positions)
            first = [len(prompts[i]) - 1 for i in some]
            positions = torch.cat(
                [
                    start + torch.arange(before, length)
                    for start, before, length in zip(rows.starts.tolist(), first, rows.lengths.tolist(), strict=True)
                ]
            )
            labels = torch.from_numpy(np.concatenate([texts[i][len(prompts[i]) :] for i in some]))
            states = head(model.encoder(rows.to(weight.device), positions.to(weight.device)))
            log_p = _of_labels(states, weight, head.bias, labels.to(weight.device))
            found += _summed(log_p, [len(targets[i]) for i in some])
    return found


def score_targets(
    model: Seq2SeqModel, sources: Sequence[Ids], targets: Sequence[Ids], tokens: SpecialTokens
) -> list[Likelihood]:
    """The probability of each target, its end included, given its source; ids without special tokens.

    Raises:
        DataError: another number of targets, or one longer than the model's positions.
    """
    if len(sources) != len(targets):
        raise DataError(f"{len(sources)} sources and {len(targets)} targets: expected one target for each")
    most = min(model.config.max_positions, model.decoder_config.max_positions)
    found: list[Likelihood] = []
    with evaluating(model):
        for some in _portions([len(s) + len(t) + 3 for s, t in zip(sources, targets, strict=True)]):
            batch = seq2seq_batch([sources[i] for i in some], [targets[i] for i in some], tokens, most)
            output = model(batch.to(model.decoder.embeddings.word.weight.device))
            labels = batch.predict_labels.to(output.states.device)
            log_p = _of_labels(output.states, output.decoder, output.decoder_bias, labels)
            found += _summed(log_p, [len(targets[i]) + 1 for i in some])
    return found


def _portions(lengths: Sequence[int]) -> Iterator[range]:
    """Neighbours of about `TOKENS_AT_ONCE` tokens."""
    start, tokens = 0, 0
    for i, length in enumerate(lengths):
        if tokens + length > TOKENS_AT_ONCE and i > start:
            yield range(start, i)
            start, tokens = i, 0
        tokens += length
    if start < len(lengths):
        yield range(start, len(lengths))


def _of_labels(states: Tensor, weight: Tensor, bias: Tensor | None, labels: Tensor) -> Tensor:
    """(P, E), (V, E), (V,), (P,) -> (P,) float64: log-probabilities, some rows of scores at a time."""
    chunk = max(1, CHUNK_BYTES // (4 * len(weight)))
    found = [
        F.linear(some, weight, bias).float().log_softmax(-1).gather(1, of[:, None]).squeeze(1).double()
        for some, of in zip(states.split(chunk), labels.split(chunk), strict=True)
    ]
    return torch.cat(found).cpu()


def _summed(log_p: Tensor, lengths: list[int]) -> list[Likelihood]:
    return [Likelihood(float(part.sum()), len(part)) for part in log_p.split(lengths)]
