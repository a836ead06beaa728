"""What a step of a sequence-to-sequence model reads: sources and targets, each packed into rows of their own.

Shapes: N samples, B rows, T tokens in a row, M tokens of all samples, P = M of the targets: each of them predicts one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bert_core.cross_attention import Pairs
from bert_core.data.batch import DataError
from bert_core.packing import ROW_LENGTH_STEP, PackingPlan, pack

Ids = Sequence[int] | NDArray[Any]


class SpecialTokens(Protocol):
    """A `bert_core.tokenizer.Tokenizer` has these."""

    pad_id: int
    cls_id: int
    sep_id: int


@dataclass(frozen=True)
class Rows:
    """N sequences in rows, whole, in any order: what an `Encoder` reads, and where each of them lies."""

    input_ids: Tensor
    """(B, T) int64"""
    token_type_ids: Tensor
    """(B, T) int64, zeros"""
    position_ids: Tensor
    """(B, T) int64: 0 at each sequence's first token."""
    document_ids: Tensor
    """(B, T) int64: 1, 2, … for the sequences of a row, 0 for padding."""
    cu_seqlens: Tensor
    """(documents + 1,) int32: flat index at which each begins, and B * T. Padding at a row's end is one more."""
    max_seqlen: int
    """Tokens of the longest of those."""
    starts: Tensor
    """(N,) int64: flat index of each sequence's first token."""
    lengths: Tensor
    """(N,) int64"""

    def to(self, device: torch.device | str) -> Rows:
        """The same rows with their tensors on `device`."""
        return replace(self, **_moved(self, device))


@dataclass(frozen=True)
class Seq2SeqBatch:
    """Sources `[CLS] x [SEP]` and what the decoder reads, `[CLS] y`, to predict `y [SEP]`."""

    source: Rows
    target: Rows
    pairs: Pairs
    predict_positions: Tensor
    """(P,) int64: flat indices into the target's B * T, sample after sample."""
    predict_labels: Tensor
    """(P,) int64"""
    sample_ids: list[int]
    """(N,)"""
    num_tokens: int
    """Of sources and targets, special tokens included, padding not."""

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_predictions(self) -> int:
        """P: tokens whose loss is summed; summed over ranks, the global batch's divisor."""
        return len(self.predict_labels)

    @property
    def input_ids(self) -> Tensor:
        """(positions of sources and of targets,) int64: all that is computed, padding included."""
        return torch.cat([self.source.input_ids.flatten(), self.target.input_ids.flatten()])

    def to(self, device: torch.device | str) -> Seq2SeqBatch:
        """The same batch with its tensors on `device`."""
        parts: dict[str, Any] = {name: getattr(self, name).to(device) for name in ("source", "target", "pairs")}
        return replace(self, **parts, **_moved(self, device))


def seq2seq_batch(
    sources: Sequence[Ids],
    targets: Sequence[Ids],
    tokens: SpecialTokens,
    row_length: int,
    sample_ids: Sequence[int] | None = None,
) -> Seq2SeqBatch:
    """N pairs as a batch, in the order given.

    Args:
        sources, targets: ids without special tokens; a target may be empty, and then only its end is to be predicted.
        row_length: of the longest rows; shorter ones are taken where they leave less padding.
        sample_ids: (N,); None: 0, 1, 2, …

    Raises:
        DataError: no pairs, a source without its target, or a sequence that does not fit into a row.
    """
    if not len(sources) or len(sources) != len(targets):
        raise DataError(f"{len(sources)} sources and {len(targets)} targets: expected one target for each, and some")
    sample_ids = list(range(len(sources)) if sample_ids is None else sample_ids)
    source = packed_rows(
        [np.concatenate([[tokens.cls_id], ids, [tokens.sep_id]]) for ids in sources], tokens.pad_id, row_length
    )
    target = packed_rows([np.concatenate([[tokens.cls_id], ids]) for ids in targets], tokens.pad_id, row_length)
    return Seq2SeqBatch(
        source=source,
        target=target,
        pairs=Pairs.of(source, target),
        predict_positions=_flat(target.starts, target.lengths),
        predict_labels=torch.from_numpy(
            np.concatenate([part for ids in targets for part in (ids, [tokens.sep_id])]).astype(np.int64)
        ),
        sample_ids=sample_ids,
        num_tokens=int(source.lengths.sum() + target.lengths.sum()),
    )


def packed_rows(sequences: Sequence[Ids], pad_id: int, row_length: int) -> Rows:
    """Sequences of at least one token, packed into rows of one length, at most `row_length`.

    Raises:
        DataError: one is longer than that.
    """
    lengths = np.array([len(ids) for ids in sequences])
    if lengths.max() > row_length:
        raise DataError(
            f"sequence {int(lengths.argmax())} of {len(lengths)} has {lengths.max()} tokens, special ones included: "
            f"rows take {row_length}; cut it, or make rows longer"
        )
    plan = _tightest(lengths, row_length)
    order, T = plan.sample_ids, plan.row_length
    sizes = np.diff(plan.row_offsets)
    row_of, before = np.repeat(np.arange(plan.num_rows), sizes), np.cumsum(lengths[order]) - lengths[order]
    first_of_row = plan.row_offsets[:-1]
    starts_in_order = row_of * T + before - np.repeat(before[first_of_row], sizes)
    number = 1 + np.arange(len(order)) - np.repeat(first_of_row, sizes)
    starts = np.empty_like(lengths)
    starts[order] = starts_in_order
    flat = _flat(torch.from_numpy(starts_in_order), torch.from_numpy(lengths[order])).numpy()
    ends = np.append(starts_in_order, plan.num_rows * T)
    tokens_of_row = np.add.reduceat(lengths[order], first_of_row)
    padding = np.arange(plan.num_rows) * T + tokens_of_row
    bounds = np.sort(np.concatenate([ends, padding[tokens_of_row < T]])).astype(np.int32)

    def spread(values: NDArray[Any], fill: int) -> Tensor:
        everywhere = np.full(plan.num_rows * T, fill, dtype=np.int64)
        everywhere[flat] = values
        return torch.from_numpy(everywhere.reshape(-1, T))

    positions = np.arange(len(flat)) - np.repeat(before, lengths[order])
    input_ids = spread(np.concatenate([sequences[i] for i in order]), pad_id)
    return Rows(
        input_ids=input_ids,
        token_type_ids=torch.zeros_like(input_ids),
        position_ids=spread(positions, 0),
        document_ids=spread(np.repeat(number, lengths[order]), 0),
        cu_seqlens=torch.from_numpy(bounds),
        max_seqlen=int(np.diff(bounds).max()),
        starts=torch.from_numpy(starts),
        lengths=torch.from_numpy(lengths),
    )


def _tightest(lengths: NDArray[np.int64], row_length: int) -> PackingPlan:
    """The plan with the least padding, then the fewest rows; attention costs the same in all of them."""
    widths = {min(row_length, -(-int(lengths.max()) // ROW_LENGTH_STEP) * ROW_LENGTH_STEP), row_length}
    widths.update(range(min(widths), row_length, ROW_LENGTH_STEP))
    return min((pack(lengths, width) for width in widths), key=lambda p: (p.num_rows * p.row_length, p.num_rows))


def _flat(starts: Tensor, lengths: Tensor) -> Tensor:
    """(M,): flat index of each token, sequence after sequence."""
    before = lengths.cumsum(0) - lengths
    return torch.arange(int(lengths.sum())) + (starts - before).repeat_interleave(lengths)


def _moved(holder: Any, device: torch.device | str) -> dict[str, Any]:
    values = {field.name: getattr(holder, field.name) for field in fields(holder)}
    return {name: v.to(device, non_blocking=True) for name, v in values.items() if isinstance(v, Tensor)}
