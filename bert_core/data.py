"""The loader: step -> batch, a pure function of (seed, step), for any number of ranks, in O(1).

Positions 0, 1, 2, … run without end through one shuffled epoch after the other; global batch k is positions
k * size to (k + 1) * size, and rank r of w takes its share of it. Nothing else is state, so a resumed run, a seek and
another number of ranks meet the same samples, masked in the same way.

    B  rows of this rank    T  tokens in a row    N  samples    P  tokens to predict
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bert_core.config import BatchConfig, MlmObjective, SequenceObjective
from bert_core.objectives import SampleRandom, Segments, mask_tokens, next_sentence
from bert_core.packing import chunk, pack
from bert_core.shards import open_shards
from bert_core.tokenizer import Tokenizer

MASKING, SHUFFLING = 0, 1  # purposes of generators


ATTENTION_TOKENS = 250
"""Row length at which attention costs as much as the matrix products: 6 x 384 BERT, two cores, dropout on."""
WIDTH_STEP = 8
"""Every new shape has kernels built and buffers kept for it: fewer shapes, less time and memory lost."""


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
    """(B, T) int64: 0 at each sample's [CLS]."""
    document_ids: torch.Tensor
    """(B, T) int64: 1, 2, … for the samples of a row, 0 for padding."""
    cls_positions: torch.Tensor
    """(N,) int64: flat index of each sample's [CLS]."""
    predict_positions: torch.Tensor
    """(P,) int64: flat indices, ascending; empty unless tokens are masked."""
    predict_labels: torch.Tensor
    """(P,) int64"""
    sample_labels: torch.Tensor
    """(N,) int64: class, or 0 = next sentence and 1 = random; -1 = none."""
    sample_ids: list[int]
    """(N,): the same numbers whatever the number of ranks."""
    num_tokens: int
    """Special tokens included, padding not."""

    @property
    def num_samples(self) -> int:
        return len(self.sample_ids)

    @property
    def num_predictions(self) -> int:
        """P: tokens whose loss this rank sums; summed over ranks, the global batch's divisor."""
        return len(self.predict_labels)

    @property
    def num_labelled(self) -> int:
        """Samples with a label; summed over ranks, the divisor of the sample loss."""
        return int((self.sample_labels >= 0).sum())

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on `device`."""
        tensors: dict[str, Any] = {
            field.name: value.to(device, non_blocking=True)
            for field in fields(self)
            if isinstance(value := getattr(self, field.name), torch.Tensor)
        }
        return replace(self, **tensors)


class PretrainingData:
    """Text for masked language modelling, in fixed packed rows of `row_length` tokens.

    Which samples share a row is settled once, over all the text; an epoch shuffles rows. Sample ids number the pieces
    of documents, in the order of the text.

    Raises:
        ShardError: the shards are damaged or were made with another tokenizer.
        DataError: no text, `batch.rows` is not set, or next sentences are asked for with fewer than two documents.
    """

    def __init__(
        self,
        shards_folder: str | Path,
        tokenizer: Tokenizer,
        objective: MlmObjective,
        batch: BatchConfig,
        seed: int,
    ) -> None:
        if batch.rows is None:
            raise DataError("pretraining counts its batches in rows: set batch.rows, not batch.samples")
        self.shards = open_shards(shards_folder, fingerprint=tokenizer.fingerprint)
        self.batch_size: int = batch.rows
        self._tokenizer, self._objective, self._row_length, self._seed = tokenizer, objective, batch.row_length, seed
        self._random = SampleRandom(seed, purpose=MASKING)
        specials = 3 if objective.nsp else 2
        self.samples = chunk(self.shards, batch.row_length - specials, nsp=objective.nsp)
        self.plan = pack(self.samples.lengths + specials, batch.row_length)
        self._others = np.flatnonzero(self.shards.lengths > 0)
        if not len(self.samples):
            raise DataError(f"{shards_folder}: no text in {self.shards.num_documents} documents")
        if objective.nsp and len(self._others) < 2:
            raise DataError(f"{shards_folder}: one document; next-sentence prediction draws from others, so needs two")

    @property
    def num_samples(self) -> int:
        return len(self.samples)

    @property
    def steps_per_epoch(self) -> float:
        return self.plan.num_rows / self.batch_size

    def document_id(self, sample: int) -> str:
        """The document that a sample is a piece of."""
        return self.shards.document_ids[int(self.samples.document[sample])]

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Rank `rank` of `world`'s rows of global batch `step` (from 0): every world-th row."""
        _check_share(self.batch_size, rank, world)
        epochs, rows = _positions(self._seed, self.plan.num_rows, step, self.batch_size)
        return self._assemble(epochs[rank::world], rows[rank::world])

    def eval_batches(self, rank: int, world: int) -> Iterator[Batch]:
        """Every sample once, over all ranks, in the order of the plan, masked as in epoch 0.

        Ranks may get different numbers of batches, and none at all where there are fewer rows than ranks.
        """
        rows = np.arange(self.plan.num_rows)[rank::world]
        size = max(1, self.batch_size // world)
        for at in range(0, len(rows), size):
            share = rows[at : at + size]
            yield self._assemble(np.zeros_like(share), share)

    def _assemble(self, epochs: NDArray[np.int64], rows: NDArray[np.int64]) -> Batch:
        members = [self.plan.row(int(row)) for row in rows]
        sizes = [len(each) for each in members]
        samples = np.concatenate(members)
        segments, uniforms = [], []
        for epoch, sample in zip(np.repeat(epochs, sizes).tolist(), samples.tolist(), strict=True):
            rng = self._random.at(epoch, sample)
            segments.append(self._segments(sample, rng))
            uniforms.append(rng.random((2, segments[-1].length)))
        layout = _Layout(segments, np.repeat(np.arange(len(rows)), sizes), len(rows), self._row_length, self._tokenizer)
        masked = mask_tokens(
            layout.ids,
            layout.lengths,
            np.concatenate(uniforms, axis=1),
            self._objective,
            is_special=self._tokenizer.is_special,
            mask_id=self._tokenizer.mask_id,
        )
        return layout.batch(
            masked.ids,
            samples.tolist(),
            predict_positions=layout.flat[masked.positions],
            predict_labels=masked.labels,
        )

    def _segments(self, sample: int, rng: np.random.Generator) -> Segments:
        table = self.samples
        document, start, end = int(table.document[sample]), int(table.start[sample]), int(table.end[sample])
        if self._objective.nsp:
            return next_sentence(self.shards, document, start, end, self._others, rng)
        return Segments(self.shards.tokens(document)[start:end])


class SequenceData:
    """Labelled documents, one sample each, cut to the row length (the head stays), packed on the fly.

    An epoch shuffles documents. A sample id is a document's number in the shards; documents without a label are left
    out.

    Raises:
        ShardError: the shards are damaged or were made with another tokenizer.
        DataError: no labelled text, other labels than the objective's, or `batch.samples` is not set.
    """

    def __init__(
        self,
        shards_folder: str | Path,
        tokenizer: Tokenizer,
        objective: SequenceObjective,
        batch: BatchConfig,
        seed: int,
    ) -> None:
        if batch.samples is None:
            raise DataError("fine-tuning counts its batches in samples: set batch.samples, not batch.rows")
        self.shards = open_shards(shards_folder, fingerprint=tokenizer.fingerprint)
        if self.shards.label_names != objective.labels:
            raise DataError(
                f"{shards_folder}: labels are {self.shards.label_names}, the objective's {objective.labels}"
            )
        self.batch_size: int = batch.samples
        self._tokenizer, self._row_length, self._seed = tokenizer, batch.row_length, seed
        self.documents = np.flatnonzero((self.shards.labels >= 0) & (self.shards.lengths > 0))
        if not len(self.documents):
            raise DataError(f"{shards_folder}: none of {self.shards.num_documents} documents has text and a label")

    @property
    def num_samples(self) -> int:
        return len(self.documents)

    @property
    def steps_per_epoch(self) -> float:
        return self.num_samples / self.batch_size

    def document_id(self, sample: int) -> str:
        """The document that a sample is."""
        return self.shards.document_ids[sample]

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Rank `rank` of `world`'s samples of global batch `step` (from 0): about as many tokens as the others'."""
        _check_share(self.batch_size, rank, world)
        _, indices = _positions(self._seed, self.num_samples, step, self.batch_size)
        return self._assemble(_deal(self._by_length(self.documents[indices]), rank, world))

    def eval_batches(self, rank: int, world: int) -> Iterator[Batch]:
        """Every sample once, over all ranks, the longest first.

        Ranks may get different numbers of batches, and none at all where there are fewer samples than ranks.
        """
        share = _deal(self._by_length(self.documents), rank, world)
        size = max(1, self.batch_size // world)
        for at in range(0, len(share), size):
            yield self._assemble(share[at : at + size])

    def _by_length(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Longest first; equal lengths by number, so that the order of the epoch does not matter."""
        return documents[np.lexsort((documents, -self._lengths(documents)))]

    def _lengths(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.minimum(self.shards.lengths[documents] + 2, self._row_length).astype(np.int64)

    def _assemble(self, documents: NDArray[np.int64]) -> Batch:
        plan, width = _tightest(self._lengths(documents), self._row_length)
        samples = documents[plan.sample_ids]
        segments = [
            Segments(self.shards.tokens(sample)[: self._row_length - 2], label=int(self.shards.labels[sample]))
            for sample in samples.tolist()
        ]
        row_of = np.repeat(np.arange(plan.num_rows), np.diff(plan.row_offsets))
        layout = _Layout(segments, row_of, plan.num_rows, width, self._tokenizer)
        return layout.batch(layout.ids, samples.tolist())


class _Layout:
    """Where the tokens of N samples, M in all, go in (B, T)."""

    def __init__(
        self, segments: Sequence[Segments], row_of: NDArray[np.int64], rows: int, row_length: int, tokenizer: Tokenizer
    ) -> None:
        self._shape = (rows, row_length)
        self._pad_id = tokenizer.pad_id
        self._labels = np.array([each.label for each in segments], dtype=np.int64)
        self.lengths = np.array([each.length for each in segments], dtype=np.int64)
        """(N,)"""
        self.ids = _with_specials(segments, tokenizer)
        """(M,): samples one after the other."""
        before = np.cumsum(self.lengths) - self.lengths
        first_of_row = np.concatenate([[True], row_of[1:] != row_of[:-1]])
        row_start = np.maximum.accumulate(np.where(first_of_row, np.arange(len(segments)), 0))
        self._first = row_of * row_length + before - before[row_start]  # flat index of each [CLS]
        self._number = np.arange(len(segments)) - row_start + 1
        self._position = np.arange(len(self.ids)) - np.repeat(before, self.lengths)
        self._type = self._position >= np.repeat([len(each.a) + 2 for each in segments], self.lengths)
        self.flat = np.repeat(self._first, self.lengths) + self._position
        """(M,): flat index of each token."""

    def batch(
        self,
        ids: NDArray[np.int64],
        sample_ids: list[int],
        *,
        predict_positions: NDArray[np.int64] | None = None,
        predict_labels: NDArray[np.int64] | None = None,
    ) -> Batch:
        none = np.zeros(0, dtype=np.int64)
        return Batch(
            input_ids=self._spread(ids, self._pad_id),
            token_type_ids=self._spread(self._type, 0),
            position_ids=self._spread(self._position, 0),
            document_ids=self._spread(np.repeat(self._number, self.lengths), 0),
            cls_positions=torch.from_numpy(self._first),
            predict_positions=torch.from_numpy(none if predict_positions is None else predict_positions),
            predict_labels=torch.from_numpy(none if predict_labels is None else predict_labels),
            sample_labels=torch.from_numpy(self._labels),
            sample_ids=sample_ids,
            num_tokens=len(self.ids),
        )

    def _spread(self, values: NDArray[Any], fill: int) -> torch.Tensor:
        """(M,) -> (B, T)"""
        spread = np.full(self._shape[0] * self._shape[1], fill, dtype=np.int64)
        spread[self.flat] = values
        return torch.from_numpy(spread.reshape(self._shape))


def _with_specials(segments: Sequence[Segments], tokenizer: Tokenizer) -> NDArray[np.int64]:
    cls, sep = np.array([tokenizer.cls_id]), np.array([tokenizer.sep_id])
    parts = []
    for each in segments:
        parts += [cls, each.a, sep] if each.b is None else [cls, each.a, sep, each.b, sep]
    return np.concatenate(parts, dtype=np.int64, casting="same_kind")


def _tightest(lengths: NDArray[np.int64], row_length: int) -> tuple[Any, int]:
    """The plan that costs least in rows of at most `row_length`: long rows waste less, short ones attend less.

    A position of a row of T tokens costs 1 + T / ATTENTION_TOKENS of what its matrix products alone cost.
    """
    shortest = -(-int(lengths.max()) // WIDTH_STEP) * WIDTH_STEP
    plans = [pack(lengths, width) for width in range(shortest, row_length + 1, WIDTH_STEP)] or [
        pack(lengths, row_length)
    ]
    best = min(plans, key=lambda plan: plan.num_rows * plan.row_length * (1 + plan.row_length / ATTENTION_TOKENS))
    return best, best.row_length


def _deal(items: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """A rank's items, dealt there and back again: 0 1 2 2 1 0 0 1 2 …"""
    turn = np.arange(len(items)) % (2 * world)
    return items[np.minimum(turn, 2 * world - 1 - turn) == rank]


def _positions(seed: int, count: int, step: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Epoch of and index into `count` things for each of the `size` positions of a global batch."""
    epochs, offsets = np.divmod(np.arange(step * size, (step + 1) * size), count)
    indices = np.empty(size, dtype=np.int64)
    for epoch in np.unique(epochs).tolist():
        indices[epochs == epoch] = _permutation(seed, epoch, count)[offsets[epochs == epoch]]
    return epochs, indices


@lru_cache(maxsize=4)
def _permutation(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return SampleRandom(seed, purpose=SHUFFLING).at(epoch, 0).permutation(count)


def _check_share(size: int, rank: int, world: int) -> None:
    if not 0 <= rank < world <= size:
        raise DataError(f"rank {rank} of {world} with a global batch of {size}: each rank needs at least one of them")
