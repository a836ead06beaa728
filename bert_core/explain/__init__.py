"""Which words a model's answer hangs on.

integrated_gradients: how much of the score each word adds on the way from a text of [MASK] alone (exact in sum).
leave_one_out: what the score loses when a word becomes [MASK].
attention: how much of each word flows to what is read, by attention alone; it says nothing of for or against.
"""

from bert_core.explain.attention import attention_maps, rollout
from bert_core.explain.explanation import Explanation, Passage, Word, as_json
from bert_core.explain.gradients import integrated_gradients
from bert_core.explain.methods import METHODS, AttentionMaps, ExplainError, attention_of, explain
from bert_core.explain.page import as_html

__all__ = [
    "METHODS",
    "AttentionMaps",
    "ExplainError",
    "Explanation",
    "Passage",
    "Word",
    "as_html",
    "as_json",
    "attention_maps",
    "attention_of",
    "explain",
    "integrated_gradients",
    "rollout",
]
