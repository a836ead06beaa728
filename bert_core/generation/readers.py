"""Models as `search` sees them: scores of the next token, for some texts at a time.

Shapes: N examples, R rows: texts under way, some of each example, V vocabulary, L tokens of the longest prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_core.generation.incremental import Incremental, Memory
from bert_core.heads import PretrainingModel
from bert_core.seq2seq import Seq2SeqModel
from bert_core.seq2seq_batch import Ids, SpecialTokens, packed_rows


class Reader(Protocol):
    """N examples whose texts go on; whoever has begun may only advance."""

    def begin(self) -> Tensor:
        """Scores of each example's first new token, (N, V) float32."""

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        """Scores of the next token, (R, V) float32.

        Args:
            rows: (R,) int64, the texts of the call before that go on. Several may go on from one, none need. Those of
                one example stand together, as many for each.
            tokens: (R,) int64, what each goes on with.
        """


class CausalReader:
    """Prompts of any lengths, at once, by a model that reads from left to right.

    Args:
        prompts: ids, the first token included; none is empty.
        max_new_tokens: how far the texts will go on.

    Raises:
        ValueError: a model that is not causal, an empty prompt, or one too long for the model's positions.
    """

    def __init__(self, model: PretrainingModel, prompts: Sequence[Ids], max_new_tokens: int) -> None:
        config = model.config
        if not config.causal:
            raise ValueError(f"family {config.family!r}, causal = False: only a causal model goes on with a text")
        lengths = [len(prompt) for prompt in prompts]
        if min(lengths) == 0:
            raise ValueError(f"prompt {lengths.index(0)} is empty: expected at least a first token")
        _check_positions(max(lengths) + max_new_tokens - 1, max_new_tokens, config.max_positions)
        encoder = model.encoder
        layers: list[Any] = [encoder.layers[i % len(encoder.layers)] for i in range(config.num_layers)]
        self._blocks = Incremental(config, encoder.embeddings, layers, encoder.final_norm)
        self._model = model
        device = encoder.embeddings.word.weight.device
        ids = np.full((len(prompts), max(lengths)), config.pad_token_id, dtype=np.int64)
        for row, prompt in enumerate(prompts):
            ids[row, : len(prompt)] = prompt
        self._prompts = torch.from_numpy(ids).to(device)  # (N, L)
        self._lengths = torch.tensor(lengths, device=device)  # (R,)

    def begin(self) -> Tensor:
        N, L = self._prompts.shape
        states = self._blocks.read(self._prompts, torch.arange(L, device=self._prompts.device).expand(N, L))
        return self._scores(states[torch.arange(N, device=states.device), self._lengths - 1])

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        if not _all_in_order(rows, len(self._lengths)):
            self._blocks.keep(rows)
            self._lengths = self._lengths[rows]
        states = self._blocks.read(tokens[:, None], self._lengths[:, None])
        self._lengths = self._lengths + 1
        return self._scores(states[:, 0])

    def _scores(self, states: Tensor) -> Tensor:
        head = self._model.mlm_head
        return F.linear(head(states), self._model.encoder.embeddings.word.weight, head.bias).float()


class Seq2SeqReader:
    """Targets of sources of any lengths, at once.

    Args:
        sources: ids without special tokens.
        tokens: the tokenizer; [CLS] begins every target.

    Raises:
        ValueError: targets longer than the model's positions.
        DataError: a source that is.
    """

    def __init__(self, model: Seq2SeqModel, sources: Sequence[Ids], tokens: SpecialTokens, max_new_tokens: int) -> None:
        config, decoder = model.decoder_config, model.decoder
        _check_positions(max_new_tokens, max_new_tokens, config.max_positions)
        self._model, self._device = model, decoder.embeddings.word.weight.device
        whole = [np.concatenate([[tokens.cls_id], ids, [tokens.sep_id]]).astype(np.int64) for ids in sources]
        rows = packed_rows(whole, tokens.pad_id, model.config.max_positions).to(self._device)
        states = model.encoder(rows).flatten(0, 1)
        places = torch.arange(int(rows.lengths.max()), device=self._device)
        seen = places < rows.lengths[:, None]  # (N, S)
        states = states[torch.where(seen, rows.starts[:, None] + places, 0)]
        layers: list[Any] = list(decoder.layers)
        self._memory = Memory(layers, states, seen)
        self._blocks = Incremental(config, decoder.embeddings, layers, memory=self._memory)
        self._start = torch.full((len(sources),), tokens.cls_id, device=self._device)
        self._rows_of_each, self._read = 1, 0

    def begin(self) -> Tensor:
        return self._next(self._start)

    def advance(self, rows: Tensor, tokens: Tensor) -> Tensor:
        before = len(self._start) * self._rows_of_each
        if not _all_in_order(rows, before):
            self._blocks.keep(rows)
            examples = rows // self._rows_of_each
            going_on = examples.unique_consecutive()
            if len(going_on) < len(self._start):
                self._memory.keep(going_on)
            self._start, self._rows_of_each = self._start[going_on], len(rows) // len(going_on)
        return self._next(tokens)

    def _next(self, tokens: Tensor) -> Tensor:
        states = self._blocks.read(tokens[:, None], torch.full_like(tokens, self._read)[:, None])
        self._read += 1
        head = self._model.mlm_head
        return F.linear(head(states[:, 0]), self._model.decoder.embeddings.word.weight, head.bias).float()


def _all_in_order(rows: Tensor, count: int) -> bool:
    return len(rows) == count and bool((rows == torch.arange(count, device=rows.device)).all())


def _check_positions(needed: int, max_new_tokens: int, max_positions: int) -> None:
    if needed > max_positions:
        raise ValueError(
            f"max_new_tokens = {max_new_tokens} needs {needed} positions, and the model has {max_positions}: "
            f"set it to at most {max_new_tokens - needed + max_positions}, or cut what comes before"
        )
