from __future__ import annotations

import pytest
from scaling_estimate import (
    ATTAINED,
    NETWORK_BYTES_S,
    NVLINK_BYTES_S,
    estimate,
    reduction_seconds,
    ring_seconds,
)

GRADIENTS = 440e6


def simulated_ring_bytes(payload: float, ranks: int) -> float:
    """Bytes that each rank of a ring sends, step by step: every part goes round once to be summed, once to be known."""
    return sum(payload / ranks for _ in range(ranks - 1)) + sum(payload / ranks for _ in range(ranks - 1))


@pytest.mark.parametrize("ranks", [1, 2, 8, 64])
def test_a_ring_takes_as_long_as_its_bytes(ranks: int) -> None:
    assert ring_seconds(GRADIENTS, ranks, 1e9) == pytest.approx(simulated_ring_bytes(GRADIENTS, ranks) / 1e9)


def test_among_nodes_an_eighth_of_the_bytes_travels_by_each_adapter() -> None:
    within = 2 * 7 / 8 * GRADIENTS / (ATTAINED * NVLINK_BYTES_S)
    among = 2 * 31 / 32 * GRADIENTS / 8 / (ATTAINED * NETWORK_BYTES_S)
    assert reduction_seconds(GRADIENTS, 256) == pytest.approx(within + among)


def test_a_reduction_that_fits_behind_the_backward_pass_costs_nothing_and_a_longer_one_its_rest() -> None:
    assert estimate(GRADIENTS, 1.0, 64).efficiency == 1
    bare = reduction_seconds(GRADIENTS, 64)
    assert estimate(GRADIENTS, bare, 64, overlap=0.0).speedup == pytest.approx(32)
    assert estimate(GRADIENTS, bare, 64, overlap=0.5).step_s == pytest.approx(1.5 * bare)


def test_more_than_a_node_comes_in_full_nodes() -> None:
    with pytest.raises(ValueError, match="12 GPUs"):
        estimate(GRADIENTS, 1.0, 12)
