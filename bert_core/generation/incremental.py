"""The blocks of `bert_core.model` over a few tokens at a time, with the keys and values of earlier ones kept.

What comes out equals the whole forward pass over all tokens at once, to float tolerance. Evaluation only: no dropout.

Shapes: R rows, one text each; t new tokens of each, S tokens read so far, C hidden size, H heads, D = C / H.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.attention import Attention, Rotary
from bert_core.config import ModelConfig
from bert_core.cross_attention import CrossAttention
from bert_core.model import Block, Embeddings
from bert_core.seq2seq import CrossBlock

ROOM_STEP = 64
"""Tokens by which room for keys and values grows."""


class KeyValues:
    """Keys and values of one layer, (R, H, room, D) each; a token's place is its position."""

    def __init__(self) -> None:
        self._kept: Tensor | None = None  # (2, R, H, room, D)

    def extend(self, k: Tensor, v: Tensor, positions: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """Put those of new tokens, (R, H, t, D), at `positions` (R, t), and give the first `length` of each row."""
        R, H, _, D = k.shape
        kept = self._kept
        if kept is None or kept.shape[3] < length:
            kept = k.new_zeros(2, R, H, -(-length // ROOM_STEP) * ROOM_STEP, D)
            if self._kept is not None:
                kept[:, :, :, : self._kept.shape[3]] = self._kept
            self._kept = kept
        place = positions[:, None, :, None].expand_as(k)
        kept[0].scatter_(2, place, k)
        kept[1].scatter_(2, place, v)
        return kept[0, :, :, :length], kept[1, :, :, :length]

    def keep(self, rows: Tensor) -> None:
        """Only `rows`, in this order; one may be there several times."""
        if self._kept is not None:
            self._kept = self._kept.index_select(1, rows)


class Memory:
    """What the decoder's blocks see of the sources: keys and values of every layer, computed once for all tokens.

    Args:
        states: (N, S, C) of the encoder.
        seen: (N, S) bool, False for padding.
    """

    def __init__(self, layers: Sequence[CrossBlock], states: Tensor, seen: Tensor) -> None:
        self._seen = seen[:, None, None, :]
        self._kept = []
        for layer in layers:
            N, S, C = states.shape
            attention = layer.cross_attention
            kv = attention.kv(states).view(N, S, 2, attention.num_heads, C // attention.num_heads)
            self._kept.append(kv.permute(2, 0, 3, 1, 4))  # (2, N, H, S, D)

    def keep(self, sources: Tensor) -> None:
        """Only `sources`, in this order."""
        self._seen = self._seen.index_select(0, sources)
        self._kept = [kept.index_select(1, sources) for kept in self._kept]

    def attend(self, layer: int, attention: CrossAttention, hidden: Tensor) -> Tensor:
        """(R, t, C) -> (R, t, C); rows of one source stand together, as many for each."""
        R, t, C = hidden.shape
        k, v = self._kept[layer]
        N, H = k.shape[:2]
        q = attention.q(hidden).view(N, R // N * t, H, C // H).transpose(1, 2)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=self._seen)
        return context.transpose(1, 2).reshape(R, t, C)


class Incremental:
    """A causal stack of blocks that reads on where it stopped.

    Args:
        layers: as many as are applied; where they share weights, the same one each time.
    """

    def __init__(
        self,
        config: ModelConfig,
        embeddings: Embeddings,
        layers: Sequence[Block],
        final_norm: nn.Module | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._config, self._embeddings, self._final_norm = config, embeddings, final_norm
        self._layers, self._memory = layers, memory
        self._kept = [KeyValues() for _ in layers]
        self._length = 0

    def keep(self, rows: Tensor) -> None:
        """Go on with `rows` (R',) of those read so far, in this order; one may be there several times."""
        for kept in self._kept:
            kept.keep(rows)

    def read(self, ids: Tensor, positions: Tensor) -> Tensor:
        """The states (R, t, C) of new tokens `ids` (R, t), which see those of their row at most at their `positions`.

        What is written at a position replaces what was there: padding is overwritten by the token that follows.
        """
        config = self._config
        self._length = max(self._length, int(positions.max()) + 1)
        tokens: Any = SimpleNamespace(input_ids=ids, token_type_ids=torch.zeros_like(ids), position_ids=positions)
        hidden = self._embeddings(tokens)
        distance = positions[:, :, None] - torch.arange(self._length, device=ids.device)  # (R, t, S), query minus key
        everything, rotary = (distance >= 0).unsqueeze(1), self._rotary(positions)
        half = self._length if config.local_window is None else config.local_window // 2
        nearby = everything & (distance <= half).unsqueeze(1)
        for i, (block, kept) in enumerate(zip(self._layers, self._kept, strict=True)):
            window = config.window(i)
            seen = everything if window is None else nearby
            hidden = self._block(i, block, hidden, kept, positions, seen, rotary.get(window))
        return hidden if self._final_norm is None else self._final_norm(hidden)

    def _rotary(self, positions: Tensor) -> dict[int | None, Rotary]:
        """As `Encoder._rotary`."""
        config = self._config
        if config.positions != "rope":
            return {}
        thetas = {config.local_window: config.local_rope_theta, None: config.rope_theta}
        return {window: Rotary.of(positions, config.head_size, theta) for window, theta in thetas.items()}

    def _block(
        self,
        number: int,
        block: Block,
        hidden: Tensor,
        kept: KeyValues,
        positions: Tensor,
        seen: Tensor,
        rotary: Rotary | None,
    ) -> Tensor:
        """As `Block.forward` and `CrossBlock.forward`."""
        read = block.attention_norm(hidden) if block.norm_first else hidden
        context = _attend(block.attention, read, kept, positions, seen, rotary)
        hidden = hidden + block.attention_output(context)
        if block.norm_first:
            return hidden + block.feed_forward(block.norm(hidden))
        hidden = block.attention_norm(hidden)
        if self._memory is not None:
            assert isinstance(block, CrossBlock)
            context = self._memory.attend(number, block.cross_attention, hidden)
            hidden = block.cross_norm(hidden + block.cross_output(context))
        return block.norm(hidden + block.feed_forward(hidden))


def _attend(
    attention: Attention, hidden: Tensor, kept: KeyValues, positions: Tensor, seen: Tensor, rotary: Rotary | None
) -> Tensor:
    """(R, t, C) -> (R, t, C); `seen` (R, 1, t, S) bool."""
    R, t, C = hidden.shape
    H = attention.num_heads
    q, k, v = attention.qkv(hidden).view(R, t, 3, H, C // H).permute(2, 0, 3, 1, 4)  # each (R, H, t, D)
    if rotary is not None:
        q, k = rotary.rotate(q), rotary.rotate(k)
    k, v = kept.extend(k, v, positions, seen.shape[-1])
    return F.scaled_dot_product_attention(q, k, v, attn_mask=seen).transpose(1, 2).reshape(R, t, C)
