"""Random numbers as a function of (seed, epoch, sample): no state, so no order in which they must be asked for."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_LOW = np.uint64(2**32 - 1)
_HALF = np.uint64(32)
_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = 0x9E3779B9, 0xBB67AE85
_ROUNDS = 10


class SampleRandom:
    """Random numbers of (seed, epoch, sample), the same wherever and whenever they are asked for; threads may share it.

    `purpose`, below 2^16, separates uses of the same three.
    """

    def __init__(self, seed: int, *, purpose: int) -> None:
        self._key = seed & (2**32 - 1), seed >> 32 & (2**32 - 1)
        self._purpose = np.uint64(purpose << 16)

    def uniforms(
        self, epochs: NDArray[np.int64], samples: NDArray[np.int64], lengths: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """(4, M) in [0, 1), multiples of 2^-32: `lengths` columns for each sample, one sample after the other.

        Args:
            epochs: (N,) below 2^32.
            samples: (N,) below 2^48.
            lengths: (N,); they sum to M.
        """
        index = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        samples = samples.astype(np.uint64)
        words = philox(
            index.astype(np.uint64),
            np.repeat(samples & _LOW, lengths),
            np.repeat(samples >> _HALF | self._purpose, lengths),
            np.repeat(epochs.astype(np.uint64), lengths),
            key=self._key,
        )
        return np.stack(words).astype(np.float64) * 2.0**-32


def philox(
    a: NDArray[np.uint64], b: NDArray[np.uint64], c: NDArray[np.uint64], d: NDArray[np.uint64], *, key: tuple[int, int]
) -> tuple[NDArray[np.uint64], ...]:
    """Philox4x32-10 (Salmon et al., 2011, "Parallel random numbers: as easy as 1, 2, 3"): a counter of four 32-bit
    words to four random ones. numpy's own Philox moves to one sample at a time, 7 us each; this is 0.1 us a token."""
    key_0, key_1 = key
    for _ in range(_ROUNDS):
        first, second = a * _MULTIPLIERS[0], c * _MULTIPLIERS[1]
        a = second >> _HALF ^ b ^ np.uint64(key_0)
        c = first >> _HALF ^ d ^ np.uint64(key_1)
        b, d = second & _LOW, first & _LOW
        key_0, key_1 = (key_0 + _WEYL[0]) & (2**32 - 1), (key_1 + _WEYL[1]) & (2**32 - 1)
    return a, b, c, d
