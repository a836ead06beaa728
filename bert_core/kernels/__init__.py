"""What a training step on a CPU does between matrix products, in C, where the machine has a compiler.

torch passes over memory once for every operation: of a bf16 step of a 4 x 256 BERT, matrix products were 29 %, and the
rest copies, masks, sums and conversions. Here attention within documents, dropout with the sum and the norm that follow
it, and the cross-entropy over a vocabulary are one pass each. Where there is no compiler, `available` says so and torch
does the same in its own way, slower and with other draws of dropout.
"""

from bert_core.kernels.build import available, why_not
from bert_core.kernels.functions import add_norm, attend, cross_entropy_, dropout_add, transpose_and_sum, usable

__all__ = [
    "add_norm",
    "attend",
    "available",
    "cross_entropy_",
    "dropout_add",
    "transpose_and_sum",
    "usable",
    "why_not",
]
