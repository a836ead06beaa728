"""Self-attention in which the documents packed into a row do not see each other.

Shapes: B rows, T tokens in a row, H heads, D = C / H channels of a head, C hidden size, N documents of all rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core import kernels
from bert_core.attention_cpu import Groups, attend_in_groups
from bert_core.dropout import Dropout
from bert_core.precision import Linear

FUSED_LENGTH = 512
"""Longest document, in tokens, that our own kernel is given: above it torch's is as fast, without dropout."""
GROUPED_LENGTH = 256
"""Without that kernel: up to which a CPU holds all scores of a layer without need. Dropout is such a need: torch fuses
no CPU kernel with it, and its fallback draws slowly and passes over the scores more often."""
INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.uint8)


class Packed(Protocol):
    """Where the documents of a batch lie; `bert_core.data.Batch` says what each field holds."""

    @property
    def document_ids(self) -> Tensor: ...  # (B, T) integers, constant over each document of a row, 0 = padding
    @property
    def position_ids(self) -> Tensor: ...  # (B, T) int64
    @property
    def cu_seqlens(self) -> Tensor: ...  # (N + 1,) int32
    @property
    def max_seqlen(self) -> int: ...


@dataclass(frozen=True)
class AttentionMask:
    """Which tokens see which: those of their document, in a window, or before them.

    Padding is one more document: real tokens never see it, and because it sees itself its rows stay finite. Checked
    once here, so that no kernel checks it again. Every kernel reads what it needs: `cu_seqlens` those that take
    documents one by one, `allowed` those that want a matrix.
    """

    document_ids: Tensor
    position_ids: Tensor
    cu_seqlens: Tensor
    max_seqlen: int
    causal: bool = False
    window: int | None = None
    """Tokens that are seen, half of them on each side; None: all of the document."""

    def __post_init__(self) -> None:
        if self.document_ids.ndim != 2 or self.document_ids.dtype not in INTEGER_TYPES:
            raise ValueError(f"document_ids {_described(self.document_ids)}: expected integers of shape (B, T)")
        if self.cu_seqlens.ndim != 1 or self.cu_seqlens.dtype != torch.int32:
            raise ValueError(f"cu_seqlens {_described(self.cu_seqlens)}: expected int32 of shape (N + 1,)")

    @property
    def whole_rows(self) -> bool:
        """Whether each row is one document, without padding; known on the host."""
        return len(self.cu_seqlens) - 1 == len(self.document_ids)

    @property
    def windowed(self) -> bool:
        return self.window is not None and self.max_seqlen > self.window // 2

    @cached_property
    def allowed(self) -> Tensor | None:
        """(B, 1, T, T) bool, True where the query token (dim 2) sees the key token (dim 3). None: all of its row."""
        if self.whole_rows and not self.causal and not self.windowed:
            return None
        allowed = self.document_ids[:, :, None] == self.document_ids[:, None, :]
        distance = self.position_ids[:, :, None] - self.position_ids[:, None, :]  # query minus key
        if self.causal:
            allowed = allowed & (distance >= 0)
        if self.windowed:
            assert self.window is not None
            allowed = allowed & (distance.abs() <= self.window // 2)
        return allowed.unsqueeze(1)

    @cached_property
    def groups(self) -> Groups:
        """The same for kernels on a CPU that take documents of about one length together."""
        return Groups.of(self.cu_seqlens, causal=self.causal, half_window=self.half_window)

    @property
    def half_window(self) -> int | None:
        """Tokens seen on each side; None: all."""
        return self.window // 2 if self.window is not None and self.windowed else None

    @classmethod
    def of(cls, batch: Packed, *, causal: bool = False, window: int | None = None) -> AttentionMask:
        return cls(batch.document_ids, batch.position_ids, batch.cu_seqlens, batch.max_seqlen, causal, window)


@dataclass(frozen=True)
class Rotary:
    """Cosines and sines of rotary positions (Su et al., 2021, arXiv:2104.09864), each (B, 1, T, D), float32."""

    cos: Tensor
    sin: Tensor

    @classmethod
    def of(cls, position_ids: Tensor, head_size: int, theta: float) -> Rotary:
        powers = torch.arange(0, head_size, 2, device=position_ids.device, dtype=torch.float32) / head_size
        # Times the inverse, as transformers: a division rounds the angle of position 600 by 3e-5 in another way.
        angles = position_ids[:, None, :, None].float() * (1.0 / theta**powers)  # (B, 1, T, D / 2)
        return cls(angles.cos().repeat(1, 1, 1, 2), angles.sin().repeat(1, 1, 1, 2))

    def rotate(self, x: Tensor) -> Tensor:
        """(B, H, T, D) -> (B, H, T, D): channel i is paired with channel i + D / 2."""
        first, second = x.float().chunk(2, dim=-1)
        turned = torch.cat([-second, first], dim=-1)
        return (x * self.cos + turned * self.sin).to(x.dtype)


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017, arXiv:1706.03762, section 3.2), query, key and value fused."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float, *, bias: bool = True) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.qkv = Linear(hidden_size, 3 * hidden_size, bias=bias)

    def forward(self, hidden: Tensor, mask: AttentionMask, rotary: Rotary | None = None) -> Tensor:
        """Each head's weighted values, side by side, before the output projection: (B, T, C) -> (B, T, C)."""
        B, T, C = hidden.shape
        qkv = self.qkv(hidden)  # (B, T, 3 C)
        q, k, v = qkv.view(B, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        if rotary is not None:
            q, k = rotary.rotate(q), rotary.rotate(k)
        dropout = self.dropout.p if self.training else 0.0
        if hidden.device.type == "cpu" and not torch.compiler.is_compiling():
            longest, fused = mask.max_seqlen, kernels.usable(qkv) and mask.max_seqlen <= FUSED_LENGTH
            if rotary is not None and (fused or dropout or longest <= GROUPED_LENGTH):
                qkv = torch.stack([q, k, v]).permute(1, 3, 0, 2, 4).reshape(B, T, 3 * C)
            if fused:
                how = (dropout, mask.causal, mask.half_window)
                return kernels.attend(qkv, mask.cu_seqlens, longest, self.num_heads, *how)
            if dropout or longest <= GROUPED_LENGTH:
                return attend_in_groups(qkv, self.num_heads, mask.groups, dropout)
        if q.is_cuda and q.dtype in (torch.bfloat16, torch.float16) and not dropout:
            return attend_by_document(q, k, v, mask)
        context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.allowed, dropout_p=dropout)
        return context.transpose(1, 2).reshape(B, T, C)


def documents_of_rows(lengths: Tensor, row_length: int) -> Tensor:
    """`cu_seqlens` of rows that hold one document each, of `lengths` (B,) tokens, and padding: (N + 1,) int32."""
    pieces = torch.stack([lengths, row_length - lengths], dim=1).flatten()
    return F.pad(pieces[pieces > 0].cumsum(0), (1, 0)).int()


def attend_by_document(q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask) -> Tensor:
    """Flash attention over documents of any length, without a matrix of what is allowed: (B, H, T, D) -> (B, T, C).

    Needs CUDA and half precision, and has no dropout.
    """
    from torch.nn.attention.varlen import varlen_attn  # only where it can run: it looks for the kernels on import

    B, H, T, D = q.shape
    q, k, v = (x.transpose(1, 2).reshape(B * T, H, D) for x in (q, k, v))
    half = -1 if mask.half_window is None else mask.half_window
    cu, longest = mask.cu_seqlens, mask.max_seqlen
    window = (half, 0 if mask.causal else half)
    context = varlen_attn(q, k, v, cu, cu, longest, longest, window_size=window)
    assert isinstance(context, Tensor)
    return context.reshape(B, T, H * D)


def _described(tensor: Tensor) -> str:
    return f"of {tensor.dtype}, shape {tuple(tensor.shape)}"
