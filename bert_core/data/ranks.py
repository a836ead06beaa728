"""How a global batch is shared among ranks, and a rank's share is cut into micro batches."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from bert_core.data.batch import DataError


def check_share(size: int, rank: int, world: int) -> None:
    """Raises:
    DataError: a rank would have nothing of a global batch of `size`.
    """
    if not 0 <= rank < world <= size:
        raise DataError(f"rank {rank} of {world} with a global batch of {size}: each rank needs at least one of them")


def micro_parts(rows: NDArray[np.int64], largest_share: int, micro_rows: int | None) -> list[NDArray[np.int64]]:
    """A rank's rows in parts of at most `micro_rows` and about equal size; None: one part.

    All ranks cut into as many parts, or one would wait for a gradient that never comes: a part may be empty.

    Args:
        largest_share: rows of the rank that has most.
    """
    count = 1 if micro_rows is None else -(-largest_share // micro_rows)
    return [np.asarray(part) for part in np.array_split(rows, count)]


def deal(items: NDArray[np.int64], rank: int, world: int) -> NDArray[np.int64]:
    """A rank's items, dealt there and back again: 0 1 2 2 1 0 0 1 2 …"""
    turn = np.arange(len(items)) % (2 * world)
    return items[np.minimum(turn, 2 * world - 1 - turn) == rank]
