"""Bidirectional self-attention in which the documents packed into a row do not see each other.

Shapes: B rows, T tokens in a row, H heads, D = C / H channels of a head, C hidden size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core.dropout import Dropout

INTEGER_TYPES = (torch.int64, torch.int32, torch.int16, torch.uint8)


@dataclass(frozen=True)
class AttentionMask:
    """Which tokens may attend to which; checked once here, so that no kernel checks it again.

    `allowed` is (B, 1, T, T) bool, True where the query token (dim 2) sees the key token (dim 3). None: every token
    sees its whole row, and the kernels skip the mask.
    """

    allowed: Tensor | None

    def __post_init__(self) -> None:
        mask = self.allowed
        if mask is None:
            return
        if mask.dtype != torch.bool or mask.ndim != 4 or mask.shape[1] != 1 or mask.shape[2] != mask.shape[3]:
            raise ValueError(f"attention mask {_described(mask)}: expected bool of shape (B, 1, T, T), or None")

    @cached_property
    def bias(self) -> Tensor | None:
        """(B, 1, T, T) float32 to add to attention scores: 0 where allowed, else -inf."""
        if self.allowed is None:
            return None
        return torch.zeros(self.allowed.shape, device=self.allowed.device).masked_fill_(~self.allowed, -torch.inf)

    @classmethod
    def of_documents(cls, document_ids: Tensor) -> AttentionMask:
        """The mask under which a token sees the tokens of its row that carry the same document id.

        Padding (id 0) is one more document: real tokens never see it, and because it sees itself its rows stay finite.
        Costs one device synchronisation, to find out whether a mask is needed at all.

        Args:
            document_ids: (B, T) integers, constant over each document of a row.
        """
        if document_ids.ndim != 2 or document_ids.dtype not in INTEGER_TYPES:
            raise ValueError(f"document_ids {_described(document_ids)}: expected integers of shape (B, T)")
        if bool((document_ids == document_ids[:, :1]).all()):
            return cls(None)
        return cls((document_ids[:, :, None] == document_ids[:, None, :]).unsqueeze(1))


class Attention(nn.Module):
    """Multi-head self-attention (Vaswani et al., 2017, arXiv:1706.03762, section 3.2), query, key and value fused."""

    def __init__(self, hidden_size: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = Dropout(dropout)
        self.qkv = nn.Linear(hidden_size, 3 * hidden_size)

    def forward(self, hidden: Tensor, mask: AttentionMask) -> Tensor:
        """Each head's weighted values, side by side, before the output projection: (B, T, C) -> (B, T, C)."""
        B, T, C = hidden.shape
        q, k, v = self.qkv(hidden).view(B, T, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)  # each (B, H, T, D)
        dropout = self.dropout.p if self.training else 0.0
        if dropout and hidden.device.type == "cpu":
            context = self._attend_on_cpu(q, k, v, mask)
        else:
            context = F.scaled_dot_product_attention(q, k, v, attn_mask=mask.allowed, dropout_p=dropout)
        return context.transpose(1, 2).reshape(B, T, C)

    def _attend_on_cpu(self, q: Tensor, k: Tensor, v: Tensor, mask: AttentionMask) -> Tensor:
        """torch fuses no CPU kernel with dropout; its fallback draws slowly and passes over the scores more often."""
        B, H, T, D = q.shape
        q, k, v = (x.reshape(B * H, T, D) for x in (q, k, v))
        scores = torch.baddbmm(q.new_empty(()), q, k.transpose(1, 2), beta=0, alpha=D**-0.5).view(B, H, T, T)
        if mask.bias is not None:
            scores += mask.bias
        weights = self.dropout(scores.softmax(dim=-1)).view(B * H, T, T)
        return torch.bmm(weights, v).view(B, H, T, D)


def _described(tensor: Tensor) -> str:
    return f"of {tensor.dtype}, shape {tuple(tensor.shape)}"
