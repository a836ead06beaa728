"""What a model is asked: masked tokens, words and spans; pairs of segments; the next token; tokens in a random order.

Pure functions; every random choice is a function of (seed, epoch, sample), so the same sample of the same epoch asks
the same in whatever batch, rank, thread or restart it is met.
"""

from bert_core.objectives.masking import Masked, mask_tokens
from bert_core.objectives.pairs import IS_NEXT, IS_RANDOM, IS_SWAPPED, NO_LABEL, Segments, pair_up, single
from bert_core.objectives.prediction import factorise, next_tokens
from bert_core.objectives.random import SampleRandom

__all__ = [
    "IS_NEXT",
    "IS_RANDOM",
    "IS_SWAPPED",
    "NO_LABEL",
    "Masked",
    "SampleRandom",
    "Segments",
    "factorise",
    "mask_tokens",
    "next_tokens",
    "pair_up",
    "single",
]
