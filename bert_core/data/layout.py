"""Where samples and their tokens go in packed rows; the only place that writes tokens, straight from the mapped files.

B  rows    T  tokens in a row    N  samples    M  tokens of all samples, special ones included    P  tokens to predict
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bert_core.data.batch import Batch
from bert_core.objectives import Segments
from bert_core.shards import TokenShards
from bert_core.tokenizer import Tokenizer


class Layout:
    """N samples in B rows of T positions, in the order given.

    Args:
        row_of: (N,) ascending; a row without samples is padding.
    """

    def __init__(
        self,
        segments: Segments,
        row_of: NDArray[np.int64],
        shape: tuple[int, int],
        shards: TokenShards,
        tokenizer: Tokenizer,
    ) -> None:
        self._segments, self._shape, self._shards, self._tokenizer = segments, shape, shards, tokenizer
        self.lengths = segments.lengths
        """(N,)"""
        before = np.cumsum(self.lengths) - self.lengths
        self._row_tokens = np.bincount(row_of, weights=self.lengths, minlength=shape[0]).astype(np.int64)
        row_start = np.cumsum(self._row_tokens) - self._row_tokens
        self._first = row_of * shape[1] + before - row_start[row_of]  # flat index of each [CLS]
        self._number = 1 + np.arange(len(row_of)) - row_of.searchsorted(row_of)
        self._before = before
        self._position = np.arange(int(self.lengths.sum())) - np.repeat(before, self.lengths)
        self.flat = np.repeat(self._first, self.lengths) + self._position
        """(M,): flat index of each token, ascending."""

    def ids(self) -> NDArray[np.int64]:
        """(M,): the tokens, samples one after the other."""
        tokenizer = self._tokenizer
        ids = np.full(len(self.flat), tokenizer.sep_id, dtype=np.int64)
        ids[self._before] = tokenizer.cls_id
        for (document, start, end), at in self._pieces():
            ids[at : at + end - start] = self._shards.tokens(document, start, end)
        return ids

    def word_starts(self) -> NDArray[np.bool_]:
        """(M,): true at special tokens and after them too, so that no word reaches over one."""
        starts = np.ones(len(self.flat), dtype=bool)
        for (document, start, end), at in self._pieces():
            starts[at : at + end - start] = self._shards.word_starts(document, start, end)
            starts[at] = True
        return starts

    def batch(
        self,
        ids: NDArray[np.int64],
        sample_ids: list[int],
        *,
        predict_positions: NDArray[np.int64] | None = None,
        predict_labels: NDArray[np.int64] | None = None,
        order: NDArray[np.int64] | None = None,
        read_last: bool = False,
    ) -> Batch:
        """Args:
        ids, order: (M,)
        predict_positions: (P,) indices into M.
        read_last: each sample is stood for by its last token, not its first.
        """
        none = np.zeros(0, dtype=np.int64)
        bounds = self._bounds()
        segment_b = self._position >= np.repeat(self._segments.a_lengths + 2, self.lengths)
        return Batch(
            input_ids=self._spread(ids, self._tokenizer.pad_id),
            token_type_ids=self._spread(segment_b, 0),
            position_ids=self._spread(self._position, 0),
            document_ids=self._spread(np.repeat(self._number, self.lengths), 0),
            cls_positions=torch.from_numpy(self._first + self.lengths - 1 if read_last else self._first),
            predict_positions=torch.from_numpy(none if predict_positions is None else self.flat[predict_positions]),
            predict_labels=torch.from_numpy(none if predict_labels is None else predict_labels),
            sample_labels=torch.from_numpy(self._segments.labels),
            sample_ids=sample_ids,
            num_tokens=len(ids),
            cu_seqlens=torch.from_numpy(bounds.astype(np.int32)),
            max_seqlen=int(np.diff(bounds).max()),
            order=None if order is None else self._spread(order, 0),
        )

    def _pieces(self) -> list[tuple[list[int], int]]:
        """Every segment as (document, start, end) and where it starts in M."""
        segments = self._segments
        paired = np.flatnonzero(segments.b_lengths)
        spans = np.concatenate([segments.a, segments.b[paired]])
        starts = np.concatenate([self._before + 1, (self._before + segments.a_lengths + 2)[paired]])
        return list(zip(spans.tolist(), starts.tolist(), strict=True))

    def _bounds(self) -> NDArray[np.int64]:
        """(D + 1,): where documents, and each row's padding, start; B * T."""
        rows, row_length = self._shape
        padded = np.flatnonzero(self._row_tokens < row_length)
        padding = padded * row_length + self._row_tokens[padded]
        return np.append(np.sort(np.concatenate([self._first, padding])), rows * row_length)

    def _spread(self, values: NDArray[Any], fill: int) -> torch.Tensor:
        """(M,) -> (B, T)"""
        spread = np.full(self._shape[0] * self._shape[1], fill, dtype=np.int64)
        spread[self.flat] = values
        return torch.from_numpy(spread.reshape(self._shape))
