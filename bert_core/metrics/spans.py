"""Exact match and F1 of answers to questions, as SQuAD counts them (arXiv:1606.05250, 1806.03822).

Both compare words after lower-casing and without punctuation and articles; an answer is as good as the best of the
accepted ones. A question without an accepted answer is right only if none was given. For Chinese each character is a
word, and no character is an article (as MLQA does, arXiv:1910.07475).
"""

from __future__ import annotations

import re
import string
from collections import Counter

import numpy as np
import pyarrow as pa

from bert_core.metrics.aligned import column
from bert_core.metrics.metric import AnyMetric, Metric, Scores, mean_of, scores
from bert_core.metrics.scripts import Words, split_han, without_punctuation, words_of

_ARTICLES = re.compile(r"\b(a|an|the)\b", re.UNICODE)
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def answer_words(text: str, words: Words = "spaces") -> list[str]:
    """What two answers are compared by."""
    if words == "characters":
        return split_han(without_punctuation(text.lower()))
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def exact_match(answer: str, accepted: list[str], words: Words = "spaces") -> float:
    """1 if the answer is one of the accepted ones, or none was given where none is accepted; else 0."""
    said = answer_words(answer, words)
    return float(any(said == one for one in _accepted(accepted, words)))


def overlap_f1(answer: str, accepted: list[str], words: Words = "spaces") -> float:
    """F1 of the answer's words and an accepted one's, the best of them."""
    said = answer_words(answer, words)
    return max(_f1(said, one) for one in _accepted(accepted, words))


def span_scores(gold: pa.Table, answers: pa.Table, words: Words | None = None) -> Scores:
    """Exact match and F1 over all questions, over those with an answer and those without.

    Args:
        words: None: "characters" if most letters of the accepted answers are Chinese.
    """
    accepted = accepted_answers(gold)
    said = column(answers, "answer", "answers").to_pylist()
    words = words or words_of(one for held in accepted for one in held)
    rows = np.zeros((len(said), 7))
    for row, (answer, allowed) in enumerate(zip(said, accepted, strict=True)):
        exact, f1 = exact_match(answer, allowed, words), overlap_f1(answer, allowed, words)
        has = any(answer_words(one, words) for one in allowed)
        rows[row] = [exact, f1, 1, *([exact, f1, 1, 0] if has else [0, 0, 0, 1])]
    has_answer = rows[:, 5] > 0
    found: list[AnyMetric] = [Metric("exact", rows, mean_of(0, 2)), Metric("f1", rows, mean_of(1, 2))]
    if has_answer.any() and not has_answer.all():
        right = np.stack([rows[:, 0] * ~has_answer, ~has_answer], axis=1).astype(np.float64)
        found += [
            Metric("has_answer_exact", rows, mean_of(3, 5)),
            Metric("has_answer_f1", rows, mean_of(4, 5)),
            Metric("no_answer_accuracy", right, mean_of(0, 1)),
        ]
    return scores(found)


def accepted_answers(gold: pa.Table) -> list[list[str]]:
    """The texts that are right, for each question; an empty list: it has no answer."""
    held = column(gold, "answers", "gold table").to_pylist()
    return [[one["text"] for one in answers] for answers in held]


def _accepted(texts: list[str], words: Words) -> list[list[str]]:
    """What is nothing but articles or punctuation answers nothing, as the script of SQuAD 2.0 has it."""
    held = [split for one in texts if (split := answer_words(one, words))]
    return held or [[]]


def _f1(said: list[str], true: list[str]) -> float:
    if not said or not true:
        return float(said == true)
    both = sum((Counter(said) & Counter(true)).values())
    return 2 * both / (len(said) + len(true))
