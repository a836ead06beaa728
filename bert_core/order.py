"""The order of a run as a pure function of its step: which phase, which rows, how many, after how many positions.

Rows of one length form an endless stream: one shuffled epoch after the other. A step takes the next rows of its phase's
stream, and where it takes them is arithmetic: nothing is iterated, stored or sent, so a seek, a resumed run and any
number of ranks agree. Phases that share a row length share a stream, so the later one continues where the earlier
ended.

    k  step, from 0        S  steps in all        W  steps in which the batch grows
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bert_core.config import BatchConfig

_ENDLESS = 2**62


@dataclass(frozen=True)
class RunLength:
    """When a run ends: at the first of the limits that are set; none of them: never."""

    steps: int | None = None
    epochs: float | None = None
    tokens: int | None = None
    """Positions in rows, padding included."""

    @property
    def is_endless(self) -> bool:
        return self.steps is None and self.epochs is None and self.tokens is None


@dataclass(frozen=True)
class StepRows:
    """The rows of a global batch: positions `first` to `first + rows` of a stream."""

    phase: int
    stream: int
    """Index into `Order.row_lengths`."""
    row_length: int
    first: int
    rows: int


class Order:
    """Phases and batch sizes of a run of `total_steps` steps; None: endless, as only one phase without warmup can be.

    A phase's steps end at its share of S, rounded half up. The batch grows by `start + (full - start) * k // W`.
    """

    def __init__(self, batch: BatchConfig, total_steps: int | None) -> None:
        if total_steps is None and needs_length(batch):
            raise ValueError("phases and warmup are shares of a run's steps: say how long it is")
        self.total_steps = total_steps
        steps = _ENDLESS if total_steps is None else total_steps
        self.row_lengths: tuple[int, ...] = row_lengths(batch)
        self._phases = [length for length, _ in batch.stretches]
        self._full = [batch.rows_of(length) for length in self._phases]
        self._starts = [0]
        share = 0.0
        for _, part in batch.stretches:
            share += part
            self._starts.append(min(steps, int(share * steps + 0.5)))
        self._starts[-1] = steps
        self._start_rows = batch.warmup.start if batch.warmup else 1
        self._warm_steps = int(batch.warmup.share * steps + 0.5) if batch.warmup else 0

    @property
    def fewest_rows(self) -> int:
        """Of any step: more ranks than that would leave one without a row."""
        used = [rows for rows, lo, hi in zip(self._full, self._starts, self._starts[1:], strict=False) if lo < hi]
        return min(self._start_rows, *used) if self._warm_steps else min(used)

    def at(self, step: int) -> StepRows:
        """Raises:
        IndexError: the run has no such step.
        """
        if not 0 <= step < self._starts[-1]:
            raise IndexError(f"step {step}: the run has steps 0 to {self._starts[-1] - 1}")
        phase = bisect_right(self._starts, step) - 1
        length = self._phases[phase]
        stream = self.row_lengths.index(length)
        rows = self._full[phase]
        if step < self._warm_steps:
            rows = self._start_rows + (rows - self._start_rows) * step // self._warm_steps
        return StepRows(phase, stream, length, self.rows_before(step)[stream], rows)

    def rows_before(self, step: int) -> list[int]:
        """Rows of each stream in the steps before `step`."""
        rows = [0] * len(self.row_lengths)
        for phase, length in enumerate(self._phases):
            start, end = self._starts[phase], min(step, self._starts[phase + 1])
            if start < end:
                rows[self.row_lengths.index(length)] += self._rows_between(self._full[phase], start, end)
        return rows

    def positions_before(self, step: int) -> int:
        """Rows times their length in the steps before `step`: a clock that knows nothing of padding and ranks."""
        return sum(rows * length for rows, length in zip(self.rows_before(step), self.row_lengths, strict=True))

    def epochs_before(self, step: int, rows_per_epoch: Sequence[int]) -> float:
        """Passes over the text, all streams together.

        Args:
            rows_per_epoch: of each stream.
        """
        return sum(rows / of for rows, of in zip(self.rows_before(step), rows_per_epoch, strict=True))

    def _rows_between(self, full: int, start: int, end: int) -> int:
        warm_end = min(end, self._warm_steps)
        if warm_end <= start:
            return (end - start) * full
        growth = full - self._start_rows
        grown = sum_of_floors(warm_end, self._warm_steps, growth) - sum_of_floors(start, self._warm_steps, growth)
        return (warm_end - start) * self._start_rows + grown + (end - warm_end) * full


def needs_length(batch: BatchConfig) -> bool:
    """Whether the order depends on how long the run is."""
    return len(batch.stretches) > 1 or batch.warmup is not None


def row_lengths(batch: BatchConfig) -> tuple[int, ...]:
    """The row length of each stream, in the order in which phases first use them."""
    return tuple(dict.fromkeys(length for length, _ in batch.stretches))


def plan(batch: BatchConfig, length: RunLength, rows_per_epoch: Sequence[int]) -> Order:
    """The order of a run that ends at the first of `length`'s limits: its steps are the fewest that reach one.

    Args:
        rows_per_epoch: of each stream, at least 1.

    Raises:
        ValueError: a run without end that has phases or warmup.
    """
    if length.is_endless:
        return Order(batch, None)

    def is_enough(steps: int) -> bool:
        order = Order(batch, steps)
        return (
            (length.steps is not None and steps >= length.steps)
            or (length.epochs is not None and order.epochs_before(steps, rows_per_epoch) >= length.epochs * (1 - 1e-12))
            or (length.tokens is not None and order.positions_before(steps) >= length.tokens)
        )

    return Order(batch, _fewest(is_enough))


def _fewest(is_enough: Callable[[int], bool]) -> int:
    """The least positive number that is enough; whatever is larger is enough too."""
    high = 1
    while not is_enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high


def sum_of_floors(n: int, m: int, a: int) -> int:
    """The sum of floor(a i / m) for i from 0 to n - 1, in O(log m): Euclid's algorithm on the lattice points below a
    line (Graham, Knuth and Patashnik, Concrete Mathematics, section 3.5). 0 for n = 0."""
    total, b = 0, 0
    while n > 0:
        total += n * (n - 1) // 2 * (a // m) + n * (b // m)
        a, b = a % m, b % m
        top = a * n + b
        if top < m:
            break
        n, m, a, b = top // m, a, m, top % m
    return total
