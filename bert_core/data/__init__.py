"""The loader: step -> batch, a pure function of (seed, step), for any number of ranks, in O(1).

Positions 0, 1, 2, … run without end through one shuffled epoch after the other; a global batch is the next of them, and
rank r of w takes every w-th from r on. Nothing else is state, so a resumed run, a seek and another number of ranks meet
the same samples, masked in the same way.

    B  rows of this rank    T  tokens in a row    N  samples    M  tokens of all samples    P  tokens to predict
"""

from bert_core.data.batch import Batch, DataError, document_bounds
from bert_core.data.examples import ExampleData, pack_batch
from bert_core.data.loader import Loader
from bert_core.data.pretraining import PretrainingData
from bert_core.order import RunLength

__all__ = [
    "Batch",
    "DataError",
    "ExampleData",
    "Loader",
    "PretrainingData",
    "RunLength",
    "document_bounds",
    "pack_batch",
]
