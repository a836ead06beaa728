"""Text in packed rows, for the objectives that need no labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bert_core.config import BatchConfig, CausalObjective, MlmObjective, Objective, PermutationObjective
from bert_core.data.batch import Batch, DataError
from bert_core.data.layout import Layout
from bert_core.data.ranks import check_share, micro_parts
from bert_core.data.row_index import RowIndex, open_row_index
from bert_core.objectives import SampleRandom, Segments, factorise, mask_tokens, next_tokens, pair_up, single
from bert_core.objectives.pairs import DRAWS
from bert_core.order import Order, RunLength, needs_length, plan, row_lengths
from bert_core.shards import open_shards
from bert_core.shuffle import shuffled
from bert_core.tokenizer import Tokenizer

MASKING, PAIRING = 0, 1  # purposes of random numbers


class PretrainingData:
    """Text for pretraining, in fixed packed rows; a run's phases may differ in the rows' length.

    Which samples share a row is settled once, over all the text; an epoch shuffles rows. Sample ids number the pieces
    of documents in the order of the text, those of the first row length before those of the next.

    Args:
        length: of the run. Without one there is no last step; phases and batch warmup need one.
        index_folder: where the index of rows is kept, if the text is long enough to be worth it; None: with the shards.

    Raises:
        ShardError: the shards are damaged or were made with another tokenizer.
        DataError: no text, the batch is counted in samples, or next sentences are asked for with fewer than two
            documents.
    """

    def __init__(
        self,
        shards_folder: str | Path,
        tokenizer: Tokenizer,
        objective: Objective,
        batch: BatchConfig,
        seed: int,
        *,
        length: RunLength | None = None,
        index_folder: str | Path | None = None,
    ) -> None:
        if batch.samples is not None:
            raise DataError("pretraining counts its batches in rows: set batch.rows or batch.tokens, not batch.samples")
        self._arguments = (shards_folder, tokenizer, objective, batch, seed, length, index_folder)
        self.shards = open_shards(shards_folder, fingerprint=tokenizer.fingerprint)
        self._tokenizer, self._objective, self._seed = tokenizer, objective, seed
        self._pairs = objective.pairs if isinstance(objective, MlmObjective) else None
        self.row_lengths = row_lengths(batch)
        self.streams: list[RowIndex] = [
            open_row_index(self.shards, row_length, pairs=self._pairs is not None, folder=index_folder)
            for row_length in self.row_lengths
        ]
        self._first_sample = np.cumsum([0, *(stream.num_samples for stream in self.streams)]).tolist()
        if not self.num_samples:
            raise DataError(f"{shards_folder}: no text in {self.shards.num_documents} documents")
        if self._pairs == "nsp" and self.streams[0].num_documents < 2:
            raise DataError(f"{shards_folder}: one document; next-sentence prediction draws from others, so needs two")
        self._masking, self._pairing = SampleRandom(seed, purpose=MASKING), SampleRandom(seed, purpose=PAIRING)
        self.batch_size: int = batch.rows_of(self.row_lengths[0])
        self._order = None
        if length is not None or not needs_length(batch):
            self._order = plan(batch, length or RunLength(), [stream.num_rows for stream in self.streams])

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, self._arguments

    @property
    def num_samples(self) -> int:
        """Of all row lengths together."""
        return int(self._first_sample[-1])

    @property
    def order(self) -> Order:
        """Raises:
        DataError: data with phases or warmup that were not told how long the run is.
        """
        if self._order is None:
            raise DataError("phases and warmup are shares of the run's steps: say how long it is")
        return self._order

    @property
    def total_steps(self) -> int:
        """Raises:
        DataError: data that were not told how long the run is.
        """
        if self.order.total_steps is None:
            raise DataError("the run has no last step: set steps, epochs or tokens")
        return self.order.total_steps

    @property
    def steps_per_epoch(self) -> float:
        """Full batches of the first row length."""
        return self.streams[0].num_rows / self.batch_size

    def positions_before(self, step: int) -> int:
        """Rows times their length in the global batches before `step`."""
        return self.order.positions_before(step)

    def epochs_before(self, step: int) -> float:
        """Passes over the text in the global batches before `step`."""
        return self.order.epochs_before(step, [stream.num_rows for stream in self.streams])

    def document_id(self, sample: int) -> str:
        """The document that a sample is a piece of."""
        stream = int(np.searchsorted(self._first_sample, sample, side="right")) - 1
        span = self.streams[stream].samples[sample - self._first_sample[stream]]
        return self.shards.document_ids[int(span[0])]

    def sample_ids(self, step: int) -> list[int]:
        """Of global batch `step`, row after row; reads the index of rows alone."""
        rows = self.order.at(step)
        _, samples, _ = self._members(rows.stream, rows.first + np.arange(rows.rows))
        return samples.tolist()

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Rank `rank` of `world`'s rows of global batch `step` (from 0): every world-th row.

        Raises:
            DataError: some global batch of the run has fewer rows than there are ranks.
            IndexError: the run has no such step.
        """
        (batch,) = self.micro_batches(step, rank, world, None)
        return batch

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Batch]:
        """The rows of `batch`, in order, cut into batches of at most `micro_rows` rows; None: one batch.

        Every rank has as many; one that is short of rows gets a row of padding alone.
        """
        check_share(self.order.fewest_rows, rank, world)
        rows = self.order.at(step)
        positions = rows.first + np.arange(rank, rows.rows, world)
        parts = micro_parts(positions, -(-rows.rows // world), micro_rows)
        return [self._assemble(rows.stream, part) for part in parts]

    def eval_batches(self, rank: int, world: int) -> Iterator[Batch]:
        """Every sample of the first phase's row length once, over all ranks, asked as in epoch 0.

        Ranks may get different numbers of batches, and none at all where there are fewer rows than ranks.
        """
        rows = np.arange(self.streams[0].num_rows)[rank::world]
        size = max(1, self.batch_size // world)
        for at in range(0, len(rows), size):
            yield self._assemble(0, rows[at : at + size], is_shuffled=False)

    def _members(
        self, stream: int, positions: NDArray[np.int64], *, is_shuffled: bool = True
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """(N,) epoch, sample id and row (counted from 0 in these positions) of each sample at positions of a stream."""
        index = self.streams[stream]
        epochs, rows = np.divmod(positions, index.num_rows)
        if is_shuffled:
            for epoch in np.unique(epochs).tolist():
                here = epochs == epoch
                rows[here] = shuffled(rows[here], index.num_rows, self._seed, stream, epoch)
        samples, sizes = index.plan.members(rows)
        row_of = np.repeat(np.arange(len(rows)), sizes)
        return epochs[row_of], self._first_sample[stream] + samples, row_of

    def _assemble(self, stream: int, positions: NDArray[np.int64], *, is_shuffled: bool = True) -> Batch:
        epochs, samples, row_of = self._members(stream, positions, is_shuffled=is_shuffled)
        spans = self.streams[stream].samples[samples - self._first_sample[stream]].astype(np.int64)
        if isinstance(self._objective, MlmObjective) and self._objective.static:
            epochs = np.zeros_like(epochs)
        segments = self._segments(epochs, samples, spans)
        shape = (max(1, len(positions)), self.row_lengths[stream])
        layout = Layout(segments, row_of, shape, self.shards, self._tokenizer)
        return self._ask(layout, epochs, samples)

    def _segments(self, epochs: NDArray[np.int64], samples: NDArray[np.int64], spans: NDArray[np.int64]) -> Segments:
        if self._pairs is None:
            return single(spans)
        uniforms = self._pairing.uniforms(epochs, samples, np.full(len(samples), DRAWS))
        return pair_up(self.shards, spans, uniforms, self._pairs)

    def _ask(self, layout: Layout, epochs: NDArray[np.int64], samples: NDArray[np.int64]) -> Batch:
        objective, ids = self._objective, layout.ids()
        if isinstance(objective, CausalObjective):
            positions, labels = next_tokens(ids, layout.lengths)
            return layout.batch(
                ids, samples.tolist(), predict_positions=positions, predict_labels=labels, read_last=True
            )
        uniforms = self._masking.uniforms(epochs, samples, layout.lengths)
        is_special = self._tokenizer.is_special
        if isinstance(objective, PermutationObjective):
            order, positions = factorise(
                ids, layout.lengths, uniforms[0], objective.predict_rate, is_special=is_special
            )
            labels = ids[positions]
            return layout.batch(ids, samples.tolist(), predict_positions=positions, predict_labels=labels, order=order)
        masked = mask_tokens(
            ids,
            layout.lengths,
            uniforms,
            objective,
            is_special=is_special,
            mask_id=self._tokenizer.mask_id,
            word_starts=None if objective.unit == "token" else layout.word_starts(),
        )
        return layout.batch(
            masked.ids, samples.tolist(), predict_positions=masked.positions, predict_labels=masked.labels
        )


def _rebuilt(
    shards_folder: str | Path,
    tokenizer: Tokenizer,
    objective: Objective,
    batch: BatchConfig,
    seed: int,
    length: RunLength | None,
    index_folder: str | Path | None,
) -> PretrainingData:
    return PretrainingData(shards_folder, tokenizer, objective, batch, seed, length=length, index_folder=index_folder)
