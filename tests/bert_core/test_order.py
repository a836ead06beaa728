from __future__ import annotations

from math import ceil

import numpy as np
import pytest

from bert_core.config import BatchConfig, BatchWarmup, PhaseConfig
from bert_core.order import Order, RunLength, StepRows, plan, sum_of_floors
from bert_core.shuffle import shuffled

PHASES = (PhaseConfig(row_length=128, share=0.7), PhaseConfig(row_length=512, share=0.2))
BACK = (*PHASES, PhaseConfig(row_length=128, share=0.1))


def batch(**keys: object) -> BatchConfig:
    return BatchConfig.model_validate({"tokens": 4096, **keys})


def step_by_step(config: BatchConfig, steps: int) -> list[StepRows]:
    """The same plan by counting."""
    lengths = list(dict.fromkeys(length for length, _ in config.stretches))
    ends = [
        int(sum(share for _, share in config.stretches[: index + 1]) * steps + 0.5)
        for index in range(len(config.stretches))
    ]
    ends[-1] = steps
    warm = int(config.warmup.share * steps + 0.5) if config.warmup else 0
    done = [0] * len(lengths)
    found = []
    for step in range(steps):
        phase = next(index for index, end in enumerate(ends) if step < end)
        length = config.stretches[phase][0]
        rows = config.rows_of(length)
        if step < warm:
            assert config.warmup is not None
            rows = config.warmup.start + int((rows - config.warmup.start) * step / warm + 1e-9)
        stream = lengths.index(length)
        found.append(StepRows(phase, stream, length, done[stream], rows))
        done[stream] += rows
    return found


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 100, 1009])
@pytest.mark.parametrize(
    "keys",
    [
        {"tokens": None, "rows": 8},
        {},
        {"phases": (*PHASES[:1], PhaseConfig(row_length=512, share=0.3))},
        {"phases": BACK},
        {"warmup": BatchWarmup(start=3, share=0.25)},
        {"phases": BACK, "warmup": BatchWarmup(start=2, share=0.85)},
        {"phases": BACK, "warmup": BatchWarmup(start=8, share=1.0)},
    ],
)
def test_a_step_is_what_counting_to_it_gives(keys: dict[str, object], steps: int) -> None:
    config = batch(**keys)
    order, expected = Order(config, steps), step_by_step(config, steps)
    assert [order.at(step) for step in range(steps)] == expected
    positions = np.cumsum([0, *(each.rows * each.row_length for each in expected)])
    assert [order.positions_before(step) for step in range(steps + 1)] == positions.tolist()
    assert order.fewest_rows <= min(each.rows for each in expected)
    for step in (-1, steps):
        with pytest.raises(IndexError, match=f"step {step}: the run has steps 0 to {steps - 1}"):
            order.at(step)


def test_a_step_far_away_is_found_without_going_there() -> None:
    config = batch(phases=BACK, warmup=BatchWarmup(start=1, share=0.5))
    order = Order(config, 10**12)
    assert order.at(9 * 10**11 - 1).row_length == 512
    last = order.at(10**12 - 1)
    assert last.first + last.rows == order.rows_before(10**12)[0]


def test_sums_of_floors_are_those_of_adding() -> None:
    rng = np.random.default_rng(0)
    for n, m, a in rng.integers([0, 1, 0], [60, 40, 100], (500, 3)).tolist():
        assert sum_of_floors(n, m, a) == sum(a * i // m for i in range(n))


@pytest.mark.parametrize(("epochs", "rows"), [(1.0, 313), (0.1, 7), (2.5, 100), (3.0, 8), (0.001, 5)])
def test_epochs_end_a_run_at_the_first_step_that_completes_them(epochs: float, rows: int) -> None:
    order = plan(batch(tokens=None, rows=8), RunLength(epochs=epochs), [rows])
    assert order.total_steps == max(1, ceil(epochs * rows / 8))


def test_what_ends_first_counts() -> None:
    config = batch(phases=BACK, warmup=BatchWarmup(start=2, share=0.1))
    rows = [10_000, 2500]

    def steps(**limits: float) -> int:
        found = plan(config, RunLength(**limits), rows).total_steps  # type: ignore[arg-type]
        assert found is not None
        return found

    by_tokens, by_epochs = steps(tokens=10**6), steps(epochs=2)
    order, shorter = Order(config, by_tokens), Order(config, by_tokens - 1)
    assert shorter.positions_before(by_tokens - 1) < 10**6 <= order.positions_before(by_tokens)
    assert Order(config, by_epochs).epochs_before(by_epochs, rows) >= 2
    assert Order(config, by_epochs - 1).epochs_before(by_epochs - 1, rows) < 2
    assert steps(tokens=10**6, epochs=2) == min(by_tokens, by_epochs)
    assert steps(tokens=10**6, epochs=2, steps=9) == 9


def test_shares_of_a_run_without_end_are_an_error() -> None:
    for keys in ({"phases": BACK}, {"warmup": BatchWarmup(start=1, share=0.1)}):
        with pytest.raises(ValueError, match="shares of a run's steps"):
            Order(batch(**keys), None)
    assert Order(batch(), None).at(10**15).first == 10**15 * 32


@pytest.mark.parametrize("count", [*range(1, 70), 97, 100, 127, 128, 129, 997, 1024, 1025, 10_007, 65_536])
def test_a_shuffle_is_a_permutation(count: int) -> None:
    for key in ((0, 0), (13, 5), (2**63, 2**40)):
        assert np.bincount(shuffled(np.arange(count), count, *key), minlength=count).tolist() == [1] * count


def test_a_shuffle_depends_on_every_part_of_its_key_and_on_nothing_else() -> None:
    keys = [(seed, epoch) for seed in range(20) for epoch in range(20)]
    found = {tuple(shuffled(np.arange(50), 50, *key).tolist()) for key in keys}
    assert len(found) == 400
    whole = shuffled(np.arange(10_007), 10_007, 1, 2)
    some = np.array([17, 3, 9999, 17])
    np.testing.assert_array_equal(shuffled(some, 10_007, 1, 2), whole[some])


@pytest.mark.parametrize("count", [3, 7, 10, 64, 101])
def test_every_position_goes_everywhere_alike(count: int) -> None:
    found = np.stack([shuffled(np.arange(count), count, 3, epoch) for epoch in range(1500)])
    table = np.stack([np.bincount(found[:, position], minlength=count) for position in range(count)])
    expected = len(found) / count
    chi_square = ((table - expected) ** 2 / expected).sum()
    freedom = (count - 1) ** 2
    print(f"{count}: chi-square {chi_square:.0f}, {freedom} expected")
    assert abs(chi_square - freedom) < 5 * (2 * freedom) ** 0.5


def test_neighbours_part() -> None:
    """Where one goes says nothing of where the next goes, nor of where it goes in the next epoch."""
    count = 100_003
    first, second = (shuffled(np.arange(count), count, 13, epoch) for epoch in (0, 1))
    for one, other in (
        (first[:-1], first[1:]),
        (first, second),
        (np.arange(count), first),
        (first[:-317], first[317:]),
    ):
        table = np.histogram2d(one, other, bins=16)[0]
        expected = table.sum() / 256
        assert ((table - expected) ** 2 / expected).sum() < 255 + 5 * (2 * 255) ** 0.5
    assert abs((np.diff(first) > 0).mean() - 0.5) < 0.01
