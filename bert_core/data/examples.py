"""Labelled examples of any task, packed on the fly: the sequences of an example stay in one micro batch.

E  examples of a batch    N  their sequences    M  tokens of all of them
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import ceil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from bert_core.config import BatchConfig
from bert_core.data.batch import Batch, DataError
from bert_core.data.ranks import check_share, deal
from bert_core.features import Features, open_features
from bert_core.order import RunLength
from bert_core.packing import PackingPlan, pack_cheapest
from bert_core.shuffle import shuffled


class ExampleData:
    """The examples of a folder of features, shuffled anew in each epoch; a sample id is an example's row in its table.

    Global batch k is a function of (seed, k) alone. Its examples are dealt to ranks by length; the sequences of each
    share are packed into the rows that cost least.

    Args:
        length: of the run; without one there is no last step.
        causal: the model's tokens see only those before them, so a sequence is read at its last token.
        origin: what the features have to be made with (`bert_core.features.encode.origin`); None: anything.
        max_positions: tokens of the longest sequence that the model reads; None: any.
        read: opens the folder; a method may put tokens of its own into what lies there.

    Raises:
        FeaturesError: the folder holds no whole features.
        DataError: no examples, sequences longer than a row or than the model reads, features of another task or
            tokenizer, or `batch.samples` is not set.
    """

    def __init__(
        self,
        folder: str | Path,
        batch: BatchConfig,
        seed: int,
        *,
        pad_id: int,
        length: RunLength | None = None,
        causal: bool = False,
        origin: Mapping[str, Any] | None = None,
        max_positions: int | None = None,
        read: Callable[[str | Path], Features] = open_features,
    ) -> None:
        if batch.samples is None:
            raise DataError("fine-tuning counts its batches in examples: set batch.samples, not batch.rows")
        self.features = read(folder)
        if not self.features.num_examples:
            raise DataError(f"{folder}: no examples")
        if other := [key for key, value in (origin or {}).items() if self.features.origin.get(key) != value]:
            said = "; ".join(f"{key} {self.features.origin.get(key)}, asked for {(origin or {})[key]}" for key in other)
            raise DataError(f"{folder}: features of another {' and '.join(other)}: {said}: encode the examples again")
        if (longest := int(self.features.lengths.max())) > batch.row_length:
            raise DataError(
                f"{folder}: a sequence of {longest} tokens, and batch.row_length is {batch.row_length}: encode the "
                "examples again with this row length"
            )
        if max_positions is not None and longest > max_positions:
            raise DataError(
                f"{folder}: a sequence of {longest} tokens, and the model reads at most {max_positions}: set "
                f"batch.row_length = {max_positions}, and encode the examples again"
            )
        self.batch_size: int = batch.samples
        self._row_length, self._seed, self._pad_id, self._causal = batch.row_length, seed, pad_id, causal
        self._length = length or RunLength()
        bounds = self.features.sequence_bounds
        self._tokens = np.add.reduceat(self.features.lengths, bounds[:-1])  # of each example
        self._mean_length = float(self._tokens.mean())

    @property
    def num_samples(self) -> int:
        return self.features.num_examples

    @property
    def steps_per_epoch(self) -> float:
        return self.num_samples / self.batch_size

    @property
    def total_steps(self) -> int:
        """Raises:
        DataError: data that were not told how long the run is.
        """
        length = self._length
        if length.is_endless:
            raise DataError("the run has no last step: set steps, epochs or tokens")
        steps = [] if length.steps is None else [length.steps]
        steps += [] if length.epochs is None else [ceil(length.epochs * self.steps_per_epoch)]
        steps += [] if length.tokens is None else [ceil(length.tokens / (self.batch_size * self._mean_length))]
        return max(1, min(steps))

    def positions_before(self, step: int) -> int:
        """Tokens of the global batches before `step` if each example had the mean length: what packing adds is not
        known before it is done, and a clock must not depend on the number of ranks."""
        return int(step * self.batch_size * self._mean_length)

    def epochs_before(self, step: int) -> float:
        return step / self.steps_per_epoch

    def document_id(self, sample: int) -> str:
        """The example that a sample is."""
        return self.features.ids[sample]

    def sample_ids(self, step: int) -> list[int]:
        """Of global batch `step`."""
        return self._examples(step).tolist()

    def batch(self, step: int, rank: int, world: int) -> Batch:
        """Rank `rank` of `world`'s examples of global batch `step` (from 0): about as many tokens as the others'."""
        (batch,) = self.micro_batches(step, rank, world, None)
        return batch

    def micro_batches(self, step: int, rank: int, world: int, micro_rows: int | None) -> list[Batch]:
        """This rank's examples, the longest first, dealt into batches of about `micro_rows` rows; None: one batch.

        Every rank has as many. An example is not cut, so one with more sequences than fit has more rows.
        """
        check_share(self.batch_size, rank, world)
        examples = self._by_length(self._examples(step))
        parts = 1
        if micro_rows is not None:
            most = max(self._plan(deal(examples, other, world)).num_rows for other in range(world))
            parts = min(-(-most // micro_rows), len(examples) // world)
        share = deal(examples, rank, world)
        return [self.assemble(share[part::parts]) for part in range(parts)]

    def eval_batches(self, rank: int, world: int) -> Iterator[Batch]:
        """Every example once, over all ranks, the longest first.

        Ranks may get different numbers of batches, and none at all where there are fewer examples than ranks.
        """
        share = deal(self._by_length(np.arange(self.num_samples)), rank, world)
        size = max(1, self.batch_size // world)
        for at in range(0, len(share), size):
            yield self.assemble(share[at : at + size])

    def assemble(self, examples: NDArray[np.int64]) -> Batch:
        """The batch of these examples, in this order, in as few and as short rows as is cheap."""
        return pack_batch(self.features, examples, self._row_length, self._pad_id, read_last=self._causal)

    def _examples(self, step: int) -> NDArray[np.int64]:
        count = self.num_samples
        epochs, indices = np.divmod(step * self.batch_size + np.arange(self.batch_size), count)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            indices[here] = shuffled(indices[here], count, self._seed, 0, epoch)
        return np.asarray(indices, dtype=np.int64)

    def _by_length(self, examples: NDArray[np.int64]) -> NDArray[np.int64]:
        """Longest first; equal lengths by number, so that the order of the epoch does not matter."""
        return examples[np.lexsort((examples, -self._tokens[examples]))]

    def _plan(self, examples: NDArray[np.int64]) -> PackingPlan:
        sequences, _ = _sequences(self.features, examples)
        return pack_cheapest(self.features.lengths[sequences], self._row_length)


def pack_batch(
    features: Features, examples: NDArray[np.int64], row_length: int, pad_id: int, *, read_last: bool = False
) -> Batch:
    """The sequences of `examples`, in this order, as a `Batch` of packed rows of at most `row_length` tokens.

    Args:
        read_last: each sequence is stood for by its last token, not its first.
    """
    sequences, example_of = _sequences(features, examples)
    lengths = features.lengths[sequences]
    plan = pack_cheapest(lengths, row_length)
    B, T = plan.num_rows, plan.row_length
    first = _first_positions(plan, lengths)  # (N,)
    before = np.cumsum(lengths) - lengths
    within = np.arange(int(lengths.sum())) - np.repeat(before, lengths)  # (M,)
    flat = np.repeat(first, lengths) + within
    number = np.argsort(np.argsort(first, kind="stable"), kind="stable") + 1  # any, if it differs within a row

    def spread(values: NDArray[np.integer], fill: int) -> torch.Tensor:
        rows = np.full(B * T, fill, dtype=np.int64)
        rows[flat] = values
        return torch.from_numpy(rows.reshape(B, T))

    tokens = features.tokens[np.repeat(features.offsets[sequences].astype(np.int64), lengths) + within]
    predicted, labels = _labelled(features, sequences, first)
    targets = features.targets[sequences]
    known = ~np.isnan(targets).any(axis=1) if targets.shape[1] else np.zeros(len(sequences), dtype=bool)
    # Numbers may be negative, where -1 says that there is none.
    classes = np.where(known, targets[:, 0].clip(min=0) if targets.shape[1] else 0, -1)
    bounds = _bounds(first, lengths, plan, T)
    return Batch(
        input_ids=spread(tokens, pad_id),
        token_type_ids=spread((within >= np.repeat(features.b_starts[sequences], lengths)).astype(np.int64), 0),
        position_ids=spread(within, 0),
        document_ids=spread(np.repeat(number, lengths), 0),
        cls_positions=torch.from_numpy(first + lengths - 1 if read_last else first),
        predict_positions=torch.from_numpy(predicted),
        predict_labels=torch.from_numpy(labels),
        sample_labels=torch.from_numpy(classes.astype(np.int64)),
        sample_ids=examples.tolist(),
        num_tokens=int(lengths.sum()),
        cu_seqlens=torch.from_numpy(bounds.astype(np.int32)),
        max_seqlen=int(np.diff(bounds).max()),
        targets=torch.from_numpy(np.ascontiguousarray(targets)),
        examples=torch.from_numpy(example_of),
        spans=torch.from_numpy(np.stack([first, first + lengths], axis=1)),
    )


def _sequences(features: Features, examples: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sequences of `examples`, one example after the other, and the place of each one's example."""
    first = features.sequence_bounds[examples]
    sizes = features.sequence_bounds[examples + 1] - first
    owner = np.repeat(np.arange(len(examples)), sizes)
    inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return first[owner] + inside, owner


def _first_positions(plan: PackingPlan, lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """(N,): the flat index at which each sequence begins."""
    members, sizes = plan.members(np.arange(plan.num_rows))
    ends = np.cumsum(lengths[members])
    row_of = np.repeat(np.arange(plan.num_rows), sizes)
    row_start = np.concatenate([[0], ends])[np.cumsum(sizes) - sizes]
    first = np.empty(len(lengths), dtype=np.int64)
    first[members] = row_of * plan.row_length + ends - lengths[members] - row_start[row_of]
    return first


def _labelled(
    features: Features, sequences: NDArray[np.int64], first: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat index and class of every position that carries a label, sequence after sequence."""
    starts = features.position_offsets[sequences].astype(np.int64)
    sizes = features.position_offsets[sequences + 1].astype(np.int64) - starts
    inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    at = np.repeat(starts, sizes) + inside
    flat = np.repeat(first, sizes) + features.positions[at]
    return flat.astype(np.int64), features.position_labels[at].astype(np.int64)


def _bounds(
    first: NDArray[np.int64], lengths: NDArray[np.int64], plan: PackingPlan, row_length: int
) -> NDArray[np.int64]:
    """(D + 1,): where sequences, and each row's padding, start; B * T."""
    ends = first + lengths
    rows = np.arange(plan.num_rows) * row_length
    filled = np.zeros(plan.num_rows, dtype=np.int64)
    np.maximum.at(filled, first // row_length, ends - first // row_length * row_length)
    padding = (rows + filled)[filled < row_length]
    return np.append(np.sort(np.concatenate([first, padding])), plan.num_rows * row_length)
