"""The clock of data whose global batches are a fixed number of samples."""

from __future__ import annotations

from abc import abstractmethod
from math import ceil

from bert_core.data.batch import DataError
from bert_core.order import RunLength


class SampledData:
    """Steps, epochs and tokens of `batch_size` samples a step."""

    batch_size: int
    _length: RunLength
    _mean_length: float
    """Tokens of a sample."""

    @property
    @abstractmethod
    def num_samples(self) -> int: ...

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
        """Tokens of the global batches before `step` if each sample had the mean length: what packing adds is not
        known before it is done, and a clock must not depend on the number of ranks."""
        return int(step * self.batch_size * self._mean_length)

    def epochs_before(self, step: int) -> float:
        return step / self.steps_per_epoch
