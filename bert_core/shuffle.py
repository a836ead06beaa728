"""Shuffling without a table: a keyed bijection of 0 … n - 1, computed for the positions that are asked for.

A permutation of the 10^8 rows of a large text would take 0.8 GB and seconds, in each process and epoch; this takes what
a batch has rows, and so a seek is free.
"""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

ROUNDS = 8
"""Six are the fewest from which no distinguisher with few queries is known (Patarin, 2004, "Security of random Feistel
schemes with 5 or more rounds"); each costs about 10 us a batch."""

_GOLDEN = 0x9E3779B97F4A7C15
_WORD = 2**64 - 1


def shuffled(positions: NDArray[np.int64], count: int, *key: int) -> NDArray[np.int64]:
    """Where each of `positions` in 0 … count - 1 goes under the permutation of `key`.

    A Feistel network over two digits of base about sqrt(count) (Black and Rogaway, 2002, "Ciphers with arbitrary finite
    domains", section 4); what falls into the few numbers from `count` on walks on until it is below.

    Args:
        positions: any shape.
        key: whole numbers, for example seed and epoch; each other tuple is another permutation.
    """
    low = max(1, isqrt(max(0, count - 1)) + 1)
    high = -(-count // low)
    keys = _round_keys(key)
    found = _network(positions.astype(np.uint64), high, low, keys)
    while (outside := found >= count).any():
        found[outside] = _network(found[outside], high, low, keys)
    return found.astype(np.int64)


def _network(numbers: NDArray[np.uint64], high: int, low: int, keys: list[int]) -> NDArray[np.uint64]:
    left, right = np.divmod(numbers, np.uint64(low))
    for index, key in enumerate(keys):
        if index % 2:
            right = (right + _mixed(left, key) % np.uint64(low)) % np.uint64(low)
        else:
            left = (left + _mixed(right, key) % np.uint64(high)) % np.uint64(high)
    return left * np.uint64(low) + right


def _round_keys(key: tuple[int, ...]) -> list[int]:
    state = 0
    for part in key:
        state = int(_mixed(np.array([part & _WORD], dtype=np.uint64), state)[0])
    return [(state + (index + 1) * _GOLDEN) & _WORD for index in range(ROUNDS)]


def _mixed(numbers: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """splitmix64's finaliser (Steele, Lea and Flood, 2014), twice: a bit of the input changes half of the output's."""
    mixed = numbers ^ np.uint64(key)
    for _ in range(2):
        mixed = mixed + np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return mixed
