"""A batch that does not fit into memory: how to tell, and what to do about it."""

from __future__ import annotations

import torch

from bert_core.config import ConfigError

OUT_OF_MEMORY = (RuntimeError, MemoryError)
"""What may mean that: torch's is a RuntimeError, on a CPU a plain one; NumPy's is the other."""
SIGNS = ("can't allocate memory", "cannot allocate memory", "out of memory", "could not create a primitive")
"""In its message; the last is oneDNN's, which names no cause: with products that worked before it is this one."""
ADVICE = (
    "give rows a shorter batch.row_length, set runtime.activation_checkpointing = true or precision = 'bf16', "
    "or take a smaller model"
)


class OutOfMemoryError(ConfigError):
    """Even the smallest micro batch does not fit, or none can be made smaller here; says what would help."""


def is_out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return any(sign in str(error).lower() for sign in SIGNS)


def smaller_micro_rows(rows: int, strategy: str, cause: str) -> int:
    """Half of the rows of a micro batch that did not fit.

    Raises:
        OutOfMemoryError: it has one row, or ranks meet in every micro batch, so that one alone cannot have more.
    """
    if strategy != "replicate":
        raise OutOfMemoryError(
            f"a micro batch of {rows} rows does not fit into memory ({cause}), and under {strategy} all ranks must "
            f"have as many: set runtime.micro_rows = {max(1, rows // 2)}, or runtime.parallel = 'replicate', which "
            "halves by itself"
        )
    if rows == 1:
        raise OutOfMemoryError(f"a micro batch of a single row does not fit into memory ({cause}): {ADVICE}")
    return rows // 2
