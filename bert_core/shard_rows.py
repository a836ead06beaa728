"""Rows of token shards, one by one or in columns, and what makes them legal.

D documents, M tokens of all of them, S sentences.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

MAX_SHARD_TOKENS = 2**31 - 1  # offsets of an Arrow list are int32


class ShardError(RuntimeError):
    """Shards that are missing, incomplete, changed, or made with another tokenizer; the message names the file."""


@dataclass(frozen=True)
class ShardHeader:
    """What all shards of a folder share."""

    vocab_size: int
    fingerprint: str
    """Of the tokenizer."""
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class TokenizedDocument:
    """A row of a shard. N tokens without special tokens."""

    document_id: str
    tokens: NDArray[Any]
    """(N,)"""
    sentence_starts: NDArray[Any]
    """Token offsets, ascending, the first 0."""
    word_starts: NDArray[np.bool_]
    """(N,)"""
    kind: str = ""
    label: int = -1
    """Index into the shards' labels, or -1."""


@dataclass(frozen=True)
class TokenizedBatch:
    """D documents in columns, one after the other."""

    document_ids: pa.StringArray
    kinds: pa.StringArray
    labels: NDArray[np.int32]
    """(D,): index into the shards' labels, or -1."""
    counts: NDArray[np.int64]
    """(D,): tokens of each document."""
    tokens: NDArray[Any]
    """(M,)"""
    word_starts: NDArray[np.bool_]
    """(M,)"""
    sentence_counts: NDArray[np.int64]
    """(D,)"""
    sentence_starts: NDArray[np.int32]
    """(S,): token offsets inside each document, ascending, the first 0."""

    def __len__(self) -> int:
        return len(self.counts)

    def slice(self, start: int, stop: int) -> TokenizedBatch:
        """Documents `start` to `stop`; a view."""
        tokens = _range(self.counts, start, stop)
        sentences = _range(self.sentence_counts, start, stop)
        return TokenizedBatch(
            self.document_ids[start:stop],
            self.kinds[start:stop],
            self.labels[start:stop],
            self.counts[start:stop],
            self.tokens[tokens],
            self.word_starts[tokens],
            self.sentence_counts[start:stop],
            self.sentence_starts[sentences],
        )


def batch_of(document: TokenizedDocument) -> TokenizedBatch:
    if len(document.word_starts) != len(document.tokens):
        raise ShardError(
            f"document {document.document_id}: {len(document.word_starts)} word starts for {len(document.tokens)} "
            "tokens"
        )
    return TokenizedBatch(
        document_ids=pa.array([document.document_id], pa.string()),
        kinds=pa.array([document.kind], pa.string()),
        labels=np.array([document.label], dtype=np.int32),
        counts=np.array([len(document.tokens)]),
        tokens=document.tokens,
        word_starts=document.word_starts,
        sentence_counts=np.array([len(document.sentence_starts)]),
        sentence_starts=document.sentence_starts,
    )


def check_rows(batch: TokenizedBatch, header: ShardHeader) -> None:
    """Raises:
    ShardError: names the first document that cannot be a row, and why.
    """
    counts, labels = batch.counts, batch.labels
    if len(batch.tokens) and (batch.tokens.min() < 0 or batch.tokens.max() >= header.vocab_size):
        at = int(np.flatnonzero((batch.tokens < 0) | (batch.tokens >= header.vocab_size))[0])
        tokens = batch.tokens[_range(counts, *(row := _row(counts, at)))]
        found = f"token ids {tokens.min()} to {tokens.max()} with a vocabulary of {header.vocab_size}"
        raise ShardError(f"document {batch.document_ids[row[0]]}: {found}")
    if (counts > MAX_SHARD_TOKENS).any():
        row_ = int(np.argmax(counts))
        raise ShardError(
            f"document {batch.document_ids[row_]}: {counts[row_]} tokens; a shard holds {MAX_SHARD_TOKENS}"
        )
    if (bad := _bad_sentences(batch)) is not None:
        starts = batch.sentence_starts[_range(batch.sentence_counts, bad, bad + 1)]
        found = f"sentence starts {starts[:5]}… must ascend from 0 to below {counts[bad]}"
        raise ShardError(f"document {batch.document_ids[bad]}: {found}")
    if len(illegal := np.flatnonzero((labels < -1) | (labels >= len(header.labels)))):
        found = f"label {labels[illegal[0]]}; legal: -1 to {len(header.labels) - 1}"
        raise ShardError(f"document {batch.document_ids[int(illegal[0])]}: {found}")


def _row(counts: NDArray[np.int64], token: int) -> tuple[int, int]:
    row = int(np.searchsorted(np.cumsum(counts), token, side="right"))
    return row, row + 1


def _bad_sentences(batch: TokenizedBatch) -> int | None:
    """The first document whose sentences do not start at 0 and ascend to below its number of tokens."""
    starts, counts = batch.sentence_starts, batch.sentence_counts
    owner = np.repeat(np.arange(len(batch)), counts)
    first = np.ones(len(starts), dtype=bool)
    first[1:] = owner[1:] != owner[:-1]
    wrong = first & (starts != 0)
    wrong[1:] |= ~first[1:] & (np.diff(starts) <= 0)
    wrong |= starts >= np.maximum(batch.counts, 1)[owner]
    missing = np.flatnonzero((batch.counts > 0) & (counts == 0))
    bad = [*owner[wrong][:1].tolist(), *missing[:1].tolist()]
    return min(bad) if bad else None


def _range(counts: NDArray[np.int64], start: int, stop: int) -> slice:
    first = int(counts[:start].sum())
    return slice(first, first + int(counts[start:stop].sum()))
