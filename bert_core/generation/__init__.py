"""Text from a model, one token after the other: greedy, drawn, or by beam search; and how probable a given text is.

A `Reader` gives the scores of the next token and keeps what it has computed (`readers`); `search` decides with them
which tokens go on, and knows no model.
"""

from bert_core.generation.readers import CausalReader, Reader, Seq2SeqReader
from bert_core.generation.run import generate, generate_from_sources
from bert_core.generation.scoring import Likelihood, score, score_targets
from bert_core.generation.search import beam_search, one_by_one

__all__ = [
    "CausalReader",
    "Likelihood",
    "Reader",
    "Seq2SeqReader",
    "beam_search",
    "generate",
    "generate_from_sources",
    "one_by_one",
    "score",
    "score_targets",
]
