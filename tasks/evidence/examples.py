"""Single examples as a person reads them: what was asked, what is right, what was said, and how wrong that is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from bert_core.config import (
    CausalTask,
    ChoiceTask,
    EmbeddingTask,
    PairTask,
    Seq2SeqTask,
    SequenceTask,
    SpanTask,
    Task,
    TokenTask,
)
from bert_core.intervals import Floats
from bert_core.metrics.aligned import ids_of, numbers, probability_rows
from bert_core.metrics.choices import choice_probabilities
from bert_core.metrics.classes import log_loss
from bert_core.metrics.entities import entities
from bert_core.metrics.labels import label_matrix
from bert_core.metrics.scripts import words_of
from bert_core.metrics.spans import accepted_answers, overlap_f1
from tasks.evidence.schema import ExampleFigures

PARTS = {
    "sequence": ("text",),
    "pair": ("text", "text_b"),
    "token": ("tokens",),
    "span": ("question", "context"),
    "choice": ("text", "choices"),
    "embedding": ("text", "text_b"),
    "seq2seq": ("text",),
    "causal": ("text",),
}
"""The columns that a model is given, by task type."""


@dataclass(frozen=True)
class Judged:
    """One run's answers: N examples."""

    said: list[str]
    confidence: list[float | None]
    loss: Floats


def judged(task: Task, gold: pa.Table, answers: pa.Table) -> Judged:
    """How wrong each answer is: log loss where probabilities are known, else an error that orders examples.

    `answers` are in the order of `gold`.
    """
    match task:
        case SequenceTask(kind="regression") | PairTask(kind="regression"):
            value = numbers(answers, "value", "answers")
            error = np.abs(value - numbers(gold, "label", "gold table"))
            return Judged([f"{one:.3g}" for one in value], [None] * len(value), error)
        case SequenceTask(kind="multi") | PairTask(kind="multi"):
            return _labels(task, gold, answers)
        case SequenceTask() | PairTask():
            return _class(task, gold, answers)
        case TokenTask():
            return _tags(task, gold, answers)
        case SpanTask():
            return _spans(gold, answers)
        case ChoiceTask():
            return _choice(gold, answers)
        case EmbeddingTask():
            return _similarity(gold, answers)
        case Seq2SeqTask() | CausalTask():
            return _text(gold, answers)


def right_answers(task: Task, gold: pa.Table) -> list[str]:
    """What is right, of each example."""
    match task:
        case TokenTask():
            return [
                _shown_entities(tags, tokens) if task.scheme == "bio" else " ".join(tags)
                for tags, tokens in zip(gold["tags"].to_pylist(), gold["tokens"].to_pylist(), strict=True)
            ]
        case SpanTask():
            return [" | ".join(dict.fromkeys(one)) or "(no answer)" for one in accepted_answers(gold)]
        case ChoiceTask():
            return [
                choices[label]
                for label, choices in zip(gold["label"].to_pylist(), gold["choices"].to_pylist(), strict=True)
            ]
        case Seq2SeqTask() | CausalTask():
            return [str(one) for one in gold["target"].to_pylist()]
        case _:
            column = gold["label"].to_pylist() if "label" in gold.column_names else [None] * len(gold)
            return [_label(one) for one in column]


def parts(task: Task, example: dict[str, object]) -> tuple[tuple[str, str], ...]:
    """(column, text) of what a model is given of one row."""
    return tuple((name, _written(name, example[name])) for name in PARTS[task.type] if example.get(name))


def main_text(task: Task, example: dict[str, object]) -> str:
    return " ".join(text for _, text in parts(task, example))


def example_figures(
    task: Task, gold: pa.Table, runs: Sequence[Judged], rows: Sequence[int]
) -> tuple[ExampleFigures, ...]:
    """Some examples with what the runs said of them, agreeing or not."""
    chosen = gold.take(pa.array(rows, pa.int64()))
    right = right_answers(task, chosen)
    loss = np.mean([run.loss for run in runs], axis=0)
    found = []
    for place, row in enumerate(rows):
        sure = [run.confidence[row] for run in runs]
        known = [one for one in sure if one is not None]
        example = {name: chosen[name][place].as_py() for name in chosen.column_names}
        found.append(
            ExampleFigures(
                id=example["id"],
                parts=parts(task, example),
                gold=right[place],
                said=_agreed([run.said[row] for run in runs]),
                confidence=float(np.mean(known)) if known else None,
                loss=float(loss[row]),
            )
        )
    return tuple(found)


def _agreed(said: list[str]) -> str:
    """What all runs said, or each answer and how many said it."""
    counts = Counter(said).most_common()
    if len(counts) == 1:
        return counts[0][0]
    return " / ".join(f"{one or '(nothing)'} ({count} of {len(said)})" for one, count in counts)


def _class(task: SequenceTask, gold: pa.Table, answers: pa.Table) -> Judged:
    true = ids_of(gold["label"].to_pylist(), task.labels, gold, "gold table")
    said = answers["label"].to_pylist()
    if "probabilities" not in answers.column_names:
        wrong = np.array([a != b for a, b in zip(said, gold["label"].to_pylist(), strict=True)], dtype=np.float64)
        return Judged(said, [None] * len(said), wrong)
    probabilities = probability_rows(answers, len(task.labels))
    ours = probabilities[np.arange(len(said)), ids_of(said, task.labels, answers, "answers")]
    return Judged(said, ours.tolist(), log_loss(true, probabilities))


def _labels(task: SequenceTask, gold: pa.Table, answers: pa.Table) -> Judged:
    said = [_label(one) for one in answers["labels"].to_pylist()]
    true = label_matrix(gold, "label", task.labels, "gold table")
    if "probabilities" not in answers.column_names:
        wrong = np.abs(label_matrix(answers, "labels", task.labels, "answers") - true).sum(axis=1)
        return Judged(said, [None] * len(said), wrong)
    p = np.clip(probability_rows(answers, len(task.labels)), 1e-7, 1 - 1e-7)
    loss = -(true * np.log(p) + (1 - true) * np.log(1 - p)).sum(axis=1)
    return Judged(said, np.maximum(p, 1 - p).min(axis=1).tolist(), loss)


def _tags(task: TokenTask, gold: pa.Table, answers: pa.Table) -> Judged:
    true, said = gold["tags"].to_pylist(), answers["tags"].to_pylist()
    tokens = gold["tokens"].to_pylist()
    if task.scheme == "bio":
        wrong = [len(set(entities(a)) ^ set(entities(b))) for a, b in zip(true, said, strict=True)]
        words = [_shown_entities(tags, held) for tags, held in zip(said, tokens, strict=True)]
    else:
        wrong = [sum(x != y for x, y in zip(a, b, strict=True)) for a, b in zip(true, said, strict=True)]
        words = [" ".join(tags) for tags in said]
    held = answers["confidences"].to_pylist() if "confidences" in answers.column_names else [None] * len(said)
    return Judged(words, [float(np.mean(one)) if one else None for one in held], np.array(wrong, dtype=np.float64))


def _spans(gold: pa.Table, answers: pa.Table) -> Judged:
    accepted, said = accepted_answers(gold), answers["answer"].to_pylist()
    words = words_of(one for held in accepted for one in held)
    wrong = np.array([1 - overlap_f1(one, held, words) for one, held in zip(said, accepted, strict=True)])
    if "score" in answers.column_names:  # of equally wrong ones the surest is the hardest
        score = np.array([one if one is not None else 0.0 for one in answers["score"].to_pylist()])
        wrong = wrong + 1e-3 * (wrong > 0) * np.argsort(np.argsort(score)) / len(score)
    return Judged([one or "(no answer)" for one in said], [None] * len(said), wrong)


def _choice(gold: pa.Table, answers: pa.Table) -> Judged:
    chosen, right = answers["choice"].to_pylist(), gold["label"].to_pylist()
    said = [held[place] for held, place in zip(gold["choices"].to_pylist(), chosen, strict=True)]
    if "probabilities" not in answers.column_names:
        return Judged(said, [None] * len(said), np.not_equal(chosen, right).astype(np.float64))
    given = choice_probabilities(gold, answers)
    loss = [-np.log(max(p[label], 1e-12)) for p, label in zip(given, right, strict=True)]
    return Judged(said, [float(p[place]) for p, place in zip(given, chosen, strict=True)], np.array(loss))


def _similarity(gold: pa.Table, answers: pa.Table) -> Judged:
    """The rank of the right partner; where there are scores alone, how far from its place among them a pair is put."""
    similarity = numbers(answers, "similarity", "answers")
    said = [f"{one:.3f}" for one in similarity]
    rank = answers["rank"].to_pylist() if "rank" in answers.column_names else [None] * len(said)
    if any(one is not None for one in rank):
        said = [f"{text}, rank {place}" if place is not None else text for text, place in zip(said, rank, strict=True)]
        return Judged(said, [None] * len(said), np.array([one or 0 for one in rank], dtype=np.float64))
    label = np.array([np.nan if one is None else one for one in gold["label"].to_pylist()])
    loss = np.abs(np.argsort(np.argsort(similarity)) - np.argsort(np.argsort(label))) / len(said)
    return Judged(said, [None] * len(said), np.where(np.isfinite(label), loss, 0.0))


def _text(gold: pa.Table, answers: pa.Table) -> Judged:
    from bert_core.metrics.generation import chrf_counts, chrf_of  # brings packages along that no other task needs

    said = answers["output"].to_pylist()
    counts = np.array([chrf_counts(a, b) for a, b in zip(said, gold["target"].to_pylist(), strict=True)])
    loss = 1 - chrf_of(counts.astype(np.float64)) / 100
    prompted = np.array([bool(one) for one in gold["text"].to_pylist()])
    if "log_likelihood" in answers.column_names and not prompted.any():
        likelihood, tokens = numbers(answers, "log_likelihood", "answers"), numbers(answers, "num_tokens", "answers")
        loss = -likelihood / np.maximum(tokens, 1)
    return Judged(said, [None] * len(said), loss)


def _shown_entities(tags: list[str], tokens: list[str]) -> str:
    gap = "" if words_of(tokens) == "characters" else " "
    return (
        ", ".join(f"{gap.join(tokens[first : last + 1])} [{kind}]" for kind, first, last in entities(tags)) or "(none)"
    )


def _label(value: object) -> str:
    if value is None:
        return "(a pair)"
    if isinstance(value, list):
        return ", ".join(value) or "(none)"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _written(column: str, value: object) -> str:
    if isinstance(value, list):
        words = [str(one) for one in value]
        if column == "choices":
            return " | ".join(words)
        return ("" if words_of(words) == "characters" else " ").join(words)
    return str(value)
