"""A bare BERT for the speed of its loop alone: what PyTorch gives without effort. It has no dropout and no packing."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.config import ModelConfig


class Block(nn.Module):
    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        C, inner = shape.hidden_size, shape.intermediate_size
        self.heads, self.is_gated = shape.num_heads, shape.activation == "geglu"
        self.qkv, self.out = nn.Linear(C, 3 * C, bias=shape.bias), nn.Linear(C, C, bias=shape.bias)
        self.up = nn.Linear(C, inner * (2 if self.is_gated else 1), bias=shape.bias)
        self.down = nn.Linear(inner, C, bias=shape.bias)
        self.norms = nn.ModuleList(nn.LayerNorm(C) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        q, k, v = self.qkv(x).view(B, T, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(B, T, C)
        x = self.norms[0](x + self.out(attended))
        up = self.up(x)
        if self.is_gated:
            up, gate = up.chunk(2, dim=-1)
            return self.norms[1](x + self.down(F.gelu(up) * gate))
        return self.norms[1](x + self.down(F.gelu(up)))


class Plain(nn.Module):
    """(B, T) ids, (P,) flat positions and their labels -> the loss."""

    def __init__(self, shape: ModelConfig) -> None:
        super().__init__()
        self.word = nn.Embedding(shape.vocab_size, shape.hidden_size)
        self.position = nn.Embedding(shape.max_positions, shape.hidden_size)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.num_layers))
        self.dense, self.norm = nn.Linear(shape.hidden_size, shape.hidden_size), nn.LayerNorm(shape.hidden_size)

    def forward(self, ids: Tensor, positions: Tensor, labels: Tensor) -> Tensor:
        x = self.word(ids) + self.position(torch.arange(ids.shape[1], device=ids.device))
        for block in self.blocks:
            x = block(x)
        states = self.norm(F.gelu(self.dense(x.flatten(0, 1).index_select(0, positions))))
        return F.cross_entropy(F.linear(states, self.word.weight).float(), labels)
