"""What a step reads: one rank's packed rows."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch


class DataError(ValueError):
    """Data that cannot be trained on as asked; the message shows both sides."""


@dataclass(frozen=True)
class Batch:
    """One rank's share of a global batch, packed: several samples share a row and never see each other.

    A flat index counts through (B, T) row by row.
    """

    input_ids: torch.Tensor
    """(B, T) int64"""
    token_type_ids: torch.Tensor
    """(B, T) int64: 1 in segment B of a pair."""
    position_ids: torch.Tensor
    """(B, T) int64: 0 at each sample's first token."""
    document_ids: torch.Tensor
    """(B, T) int64: 1, 2, … for the samples of a row, 0 for padding."""
    cls_positions: torch.Tensor
    """(N,) int64: flat index of the token that stands for each sample: its [CLS], or its last where a token sees only
    those before it."""
    predict_positions: torch.Tensor
    """(P,) int64: flat indices, ascending; empty unless tokens are predicted."""
    predict_labels: torch.Tensor
    """(P,) int64"""
    sample_labels: torch.Tensor
    """(N,) int64: class, or 0 = next sentence (in order) and 1 = random (swapped); -1 = none."""
    sample_ids: list[int]
    """(N,): the same numbers whatever the number of ranks."""
    num_tokens: int
    """Special tokens included, padding not."""
    cu_seqlens: torch.Tensor
    """(D + 1,) int32: flat index at which each document starts, and B * T. Padding at a row's end is one more."""
    max_seqlen: int
    """Tokens of the longest of those D."""
    order: torch.Tensor | None = None
    """(B, T) int64, for permutation language modelling: rank of each token in its document's order; 0 for padding."""
    targets: torch.Tensor | None = None
    """(N, L) float32, for fine-tuning: class, labels, number, or an answer's first and last token; NaN: unknown."""
    examples: torch.Tensor | None = None
    """(N,) int64 ascending from 0, for fine-tuning: to which example of the batch each sequence belongs."""
    spans: torch.Tensor | None = None
    """(N, 2) int64, for fine-tuning: flat index of each sequence's first token, and of the one after its last."""

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_predictions(self) -> int:
        """P: tokens whose loss this rank sums; summed over ranks, the global batch's divisor."""
        return len(self.predict_labels)

    @property
    def num_labelled(self) -> int:
        """Samples (fine-tuning: sequences) with a label; summed over ranks, the divisor of the sample loss."""
        return int((self.sample_labels >= 0).sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        tensors: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **tensors)


def document_bounds(document_ids: torch.Tensor) -> tuple[torch.Tensor, int]:
    """`cu_seqlens` and `max_seqlen` of rows made by hand. Loaders know them before there are rows.

    Args:
        document_ids: (B, T) as in `Batch`.
    """
    starts = torch.ones_like(document_ids, dtype=torch.bool)
    starts[:, 1:] = document_ids[:, 1:] != document_ids[:, :-1]
    ends = torch.tensor([document_ids.numel()], device=document_ids.device)
    bounds = torch.cat([starts.flatten().nonzero().squeeze(1), ends])
    return bounds.int(), int(bounds.diff().max())
