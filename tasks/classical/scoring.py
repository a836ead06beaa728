"""One figure for each type of task, by which settings are chosen on the validation side; higher is better.

These are for choosing. What a report prints is computed by the evaluation, from the same answers tables.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from scipy.stats import spearmanr

from bert_core.config import Task
from tasks.classical.words import is_word, words

_ARTICLES = frozenset(("a", "an", "the"))


def score(task: Task, gold: pa.Table, answers: pa.Table) -> tuple[str, float]:
    """(name, value) of the metric that decides; `answers` are in the order of `gold`, which has a row or more."""
    kind = getattr(task, "kind", "")
    if task.type in ("sequence", "pair") and kind == "single":
        return "accuracy", _share(gold["label"], answers["label"])
    if task.type in ("sequence", "pair") and kind == "multi":
        return "micro_f1", _micro_f1(gold["label"].to_pylist(), answers["labels"].to_pylist())
    if task.type in ("sequence", "pair"):
        return "r2", _r2(gold["label"].to_numpy(), answers["value"].to_numpy())
    if task.type == "token" and task.scheme == "bio":
        return "entity_f1", entity_f1(gold["tags"].to_pylist(), answers["tags"].to_pylist())
    if task.type == "token":
        return "accuracy", _share(gold["tags"].combine_chunks().flatten(), answers["tags"].combine_chunks().flatten())
    if task.type == "span":
        return "f1", _span_f1(gold["answers"].to_pylist(), answers["answer"].to_pylist())
    if task.type == "choice":
        return "accuracy", _share(gold["label"], answers["choice"])
    if task.type == "embedding":
        return _similarity(gold, answers)
    if task.type == "seq2seq":
        pairs = zip(gold["target"].to_pylist(), answers["output"].to_pylist(), strict=True)
        return "word_f1", float(np.mean([word_f1(target, output) for target, output in pairs]))
    characters = sum(map(len, gold["target"].to_pylist()))
    return "log_likelihood_per_character", sum(answers["log_likelihood"].to_pylist()) / max(1, characters)


def word_f1(target: str, output: str) -> float:
    """F1 of the words of two texts as bags, articles and punctuation left out, as SQuAD counts it.

    Two empty bags agree. Where a script has no blanks, the words are its characters.
    """
    wanted, found = (
        Counter(word for word in words(text) if is_word(word) and word not in _ARTICLES) for text in (target, output)
    )
    if not wanted or not found:
        return float(wanted == found)
    shared = (wanted & found).total()
    return 2 * shared / (wanted.total() + found.total())


def entity_f1(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    """F1 of whole entities, of BIO tags, as conlleval counts them; 0 where neither side has one."""
    wanted, given = (
        {(row, *entity) for row, tags in enumerate(side) for entity in entities(tags)} for side in (gold, found)
    )
    return 2 * len(wanted & given) / max(1, len(wanted) + len(given))


def entities(tags: Sequence[str]) -> list[tuple[str, int, int]]:
    """(type, start, end) of each entity; an I- that follows no tag of its type begins one, as in conlleval."""
    found: list[tuple[str, int, int]] = []
    for i, tag in enumerate(tags):
        prefix, _, name = tag.partition("-")
        if tag == "O":
            continue
        if prefix == "I" and found and found[-1][0] == name and found[-1][2] == i:
            found[-1] = (name, found[-1][1], i + 1)
        else:
            found.append((name, i, i + 1))
    return found


def _share(gold: pa.ChunkedArray | pa.Array, found: pa.ChunkedArray | pa.Array) -> float:
    return float(np.mean(np.array(gold.to_pylist()) == np.array(found.to_pylist())))


def _micro_f1(gold: Sequence[Sequence[str]], found: Sequence[Sequence[str]]) -> float:
    shared = sum(len(set(wanted) & set(given)) for wanted, given in zip(gold, found, strict=True))
    total = sum(map(len, gold)) + sum(map(len, found))
    return 2 * shared / total if total else 1.0


def _r2(gold: np.ndarray, found: np.ndarray) -> float:
    variance = float(np.var(gold))
    error = float(np.mean((gold - found) ** 2))
    return 1 - error / variance if variance else -error


def _span_f1(gold: Sequence[Sequence[dict[str, str]]], found: Sequence[str]) -> float:
    best = [
        max(word_f1(answer["text"], given) for answer in answers) if answers else float(not given)
        for answers, given in zip(gold, found, strict=True)
    ]
    return float(np.mean(best))


def _similarity(gold: pa.Table, answers: pa.Table) -> tuple[str, float]:
    """Spearman's correlation where there are scores that differ, else the mean reciprocal rank."""
    scored = [
        (s, v)
        for s, v in zip(gold["label"].to_pylist(), answers["similarity"].to_pylist(), strict=True)
        if s is not None
    ]
    if len({wanted for wanted, _ in scored}) > 1:
        if len({given for _, given in scored}) == 1:  # a model that tells nothing apart has no correlation
            return "spearman", 0.0
        return "spearman", float(spearmanr(*zip(*scored, strict=True)).statistic)
    ranks = [rank for rank in answers["rank"].to_pylist() if rank is not None]
    return "mean_reciprocal_rank", float(np.mean([1 / (1 + rank) for rank in ranks])) if ranks else 0.0
