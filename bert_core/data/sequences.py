"""Labelled documents, for classification."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bert_core.config import BatchConfig, SequenceObjective
from bert_core.data.batch import Batch, DataError
from bert_core.data.layout import Layout
from bert_core.data.ranks import check_share, deal, micro_parts
from bert_core.data.sampled import SampledData
from bert_core.objectives import single
from bert_core.order import RunLength
from bert_core.packing import PackingPlan, pack
from bert_core.shards import open_shards
from bert_core.shuffle import shuffled
from bert_core.tokenizer import Tokenizer

ATTENTION_TOKENS = 250
"""Row length at which attention costs as much as the matrix products: 6 x 384 BERT, two cores, dropout on."""
WIDTH_STEP = 8
"""Every new shape has kernels built and buffers kept for it: fewer shapes, less time and memory lost."""


class SequenceData(SampledData):
    """Labelled documents, one sample each, cut to the row length (the head stays), packed on the fly.

    An epoch shuffles documents. A sample id is a document's number in the shards; documents without a label are left
    out.

    Args:
        length: of the run; without one there is no last step.
        causal: the model's tokens see only those before them, so a sample is read at its last token, not at its first.

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
        *,
        length: RunLength | None = None,
        causal: bool = False,
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
        self._length, self._causal = length or RunLength(), causal
        self.documents = np.flatnonzero((self.shards.labels >= 0) & (self.shards.lengths > 0))
        if not len(self.documents):
            raise DataError(f"{shards_folder}: none of {self.shards.num_documents} documents has text and a label")
        self._mean_length = float(self._lengths(self.documents).mean())

    @property
    def num_samples(self) -> int:
        return len(self.documents)

    def document_id(self, sample: int) -> str:
        """The document that a sample is."""
        return self.shards.document_ids[sample]

    def sample_ids(self, step: int) -> list[int]:
        """Of global batch `step`."""
        return self._documents(step).tolist()

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Rank `rank` of `world`'s samples of global batch `step` (from 0): about as many tokens as the others'."""
        (batch,) = self.micro_batches(step, rank, world, None)
        return batch

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Batch]:
        """The rows of `batch`, in order, cut into batches of at most `micro_rows` rows; None: one batch.

        Every rank has as many; one that is short of rows gets a row of padding alone.
        """
        check_share(self.batch_size, rank, world)
        documents = self._by_length(self._documents(step))
        plan = self._plan(share := deal(documents, rank, world))
        most = plan.num_rows
        if micro_rows is not None and world > 1:
            most = max(self._plan(deal(documents, other, world)).num_rows for other in range(world))
        parts = micro_parts(np.arange(plan.num_rows), most, micro_rows)
        return [self._assemble(share, plan, part) for part in parts]

    def eval_batches(self, rank: int, world: int) -> Iterator[Batch]:
        """Every sample once, over all ranks, the longest first.

        Ranks may get different numbers of batches, and none at all where there are fewer samples than ranks.
        """
        share = deal(self._by_length(self.documents), rank, world)
        size = max(1, self.batch_size // world)
        for at in range(0, len(share), size):
            part = share[at : at + size]
            plan = self._plan(part)
            yield self._assemble(part, plan, np.arange(plan.num_rows))

    def _documents(self, step: int) -> NDArray[np.int64]:
        count = self.num_samples
        epochs, indices = np.divmod(step * self.batch_size + np.arange(self.batch_size), count)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = shuffled(indices[here], count, self._seed, 0, epoch)
        return self.documents[indices]

    def _by_length(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        """Longest first; equal lengths by number, so that the order of the epoch does not matter."""
        return documents[np.lexsort((documents, -self._lengths(documents)))]

    def _lengths(self, documents: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.minimum(self.shards.lengths[documents] + 2, self._row_length).astype(np.int64)

    def _plan(self, documents: NDArray[np.int64]) -> PackingPlan:
        return tightest(self._lengths(documents), self._row_length)

    def _assemble(self, documents: NDArray[np.int64], plan: PackingPlan, rows: NDArray[np.int64]) -> Batch:
        members, sizes = plan.members(rows)
        samples = documents[members]
        spans = np.stack([samples, np.zeros_like(samples), self._lengths(samples) - 2], axis=1)
        segments = single(spans, self.shards.labels[samples].astype(np.int64))
        row_of = np.repeat(np.arange(len(rows)), sizes)
        layout = Layout(segments, row_of, (max(1, len(rows)), plan.row_length), self.shards, self._tokenizer)
        return layout.batch(layout.ids(), samples.tolist(), read_last=self._causal)


def tightest(lengths: NDArray[np.int64], row_length: int) -> PackingPlan:
    """The plan that costs least in rows of at most `row_length`: long rows waste less, short ones attend less.

    A position of a row of T tokens costs 1 + T / ATTENTION_TOKENS of what its matrix products alone cost.
    """
    total = int(lengths.sum())
    shortest = min(row_length, -(-int(lengths.max()) // WIDTH_STEP) * WIDTH_STEP)
    best, least = pack(lengths, shortest), inf
    for width in range(shortest, row_length + 1, WIDTH_STEP):
        position = 1 + width / ATTENTION_TOKENS
        if total * position >= least:  # not even rows without padding: nor are any longer ones cheaper
            break
        plan = best if width == shortest else pack(lengths, width)
        if (cost := plan.num_rows * width * position) < least:
            best, least = plan, cost
    return best
