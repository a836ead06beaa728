"""Metrics of a tag for each token: entities as conlleval counts them, or the tags themselves.

An entity counts if its first token, its last one and its type are all right (Tjong Kim Sang and De Meulder, 2003).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from bert_core.intervals import EvaluationError, Floats
from bert_core.metrics.aligned import column
from bert_core.metrics.classes import accuracy, macro_f1, micro_f1, micro_precision, micro_recall, per_class
from bert_core.metrics.metric import Metric, Scores, mean_of, scores

OUTSIDE = "O"


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, first token, last token) of each, in order.

    As conlleval: an I-X that continues no X begins one, so what is not well-formed is repaired and not lost.

    Raises:
        EvaluationError: a tag is neither O nor B-X nor I-X.
    """
    found: list[tuple[str, int, int]] = []
    open_type, start = "", 0
    for place, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if open_type and (prefix != "I" or kind != open_type):
            found.append((open_type, start, place - 1))
            open_type = ""
        if prefix != OUTSIDE and not open_type:
            open_type, start = kind, place
    if open_type:
        found.append((open_type, start, len(tags) - 1))
    return found


def split_tag(tag: str) -> tuple[str, str]:
    """("B", "PER") of B-PER; ("O", "") of O."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    if prefix not in ("B", "I") or not dash or not kind:
        raise EvaluationError(f'tag {tag!r}: scheme = "bio" knows O, B-X and I-X; for other tags set scheme = "plain"')
    return prefix, kind


def entity_scores(gold: pa.Table, answers: pa.Table, labels: tuple[str, ...]) -> Scores:
    """Entity precision, recall and F1, micro, macro and by type, and token accuracy; types are those of `labels`, and
    of the gold table where it has more."""
    pairs = tag_pairs(gold, answers)
    told = [(entities(true), entities(said)) for true, said in pairs]
    types = sorted(
        {split_tag(tag)[1] for tag in labels if tag != OUTSIDE} | {one[0] for true, said in told for one in true + said}
    )
    place, t = {name: i for i, name in enumerate(types)}, len(types)
    counts = np.zeros((len(pairs), 3 * t))
    for row, (true, said) in enumerate(told):
        for block, held in enumerate((true, said, set(true) & set(said))):
            for kind, _, _ in held:
                counts[row, block * t + place[kind]] += 1
    tokens = _tokens(pairs)
    return scores(
        [
            Metric("entity_f1", counts, micro_f1),
            Metric("entity_precision", counts, micro_precision),
            Metric("entity_recall", counts, micro_recall),
            Metric("macro_f1", counts, macro_f1),
            Metric("token_accuracy", tokens, mean_of(0, 1)),
            *per_class(counts, types),
        ]
    )


def tag_scores(gold: pa.Table, answers: pa.Table, labels: tuple[str, ...]) -> Scores:
    """Token accuracy, macro F1 and figures of each tag.

    Raises:
        EvaluationError: a tag is not one of `labels`.
    """
    pairs = tag_pairs(gold, answers)
    place, k = {name: i for i, name in enumerate(labels)}, len(labels)
    counts = np.zeros((len(pairs), 3 * k))
    for row, (true, said) in enumerate(pairs):
        for right, called in zip(true, said, strict=True):
            for tag in (right, called):
                if tag not in place:
                    name = gold["id"][row].as_py()
                    raise EvaluationError(f"tag {tag!r} of {name!r} is not one of the task's: {list(labels)}")
            counts[row, place[right]] += 1
            counts[row, k + place[called]] += 1
            counts[row, 2 * k + place[right]] += right == called
    return scores(
        [
            Metric("token_accuracy", counts, accuracy),
            Metric("macro_f1", counts, macro_f1),
            *per_class(counts, labels),
        ]
    )


def tag_pairs(gold: pa.Table, answers: pa.Table) -> list[tuple[list[str], list[str]]]:
    """(true tags, tags that were said) of each example.

    Raises:
        EvaluationError: an example has as many of one as not of the other; names it.
    """
    pairs = list(
        zip(
            column(gold, "tags", "gold table").to_pylist(),
            column(answers, "tags", "answers").to_pylist(),
            strict=True,
        )
    )
    for row, (true, said) in enumerate(pairs):
        if len(true) != len(said):
            raise EvaluationError(
                f"{gold['id'][row].as_py()!r} has {len(true)} tokens and was answered with {len(said)} tags; "
                "a model that cuts long texts must say O for what it did not see"
            )
    return pairs


def _tokens(pairs: Sequence[tuple[list[str], list[str]]]) -> Floats:
    """(N, 2): tokens whose tag is right, and tokens."""
    right = [[sum(a == b for a, b in zip(true, said, strict=True)), len(true)] for true, said in pairs]
    return np.array(right, dtype=np.float64)
