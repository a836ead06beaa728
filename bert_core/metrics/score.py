"""A task's metrics from its examples and a model's answers to them."""

from __future__ import annotations

from collections.abc import Collection

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
from bert_core.intervals import EvaluationError
from bert_core.metrics.aligned import aligned
from bert_core.metrics.choices import choice_scores
from bert_core.metrics.classes import class_scores
from bert_core.metrics.entities import entity_scores, tag_scores
from bert_core.metrics.labels import label_scores
from bert_core.metrics.metric import Scores
from bert_core.metrics.regression import regression_scores
from bert_core.metrics.scripts import Words
from bert_core.metrics.similarity import similarity_scores
from bert_core.metrics.spans import span_scores


def score(task: Task, gold: pa.Table, answers: pa.Table, *, words: Words | None = None) -> Scores:
    """Every metric of the task, in an order of which the first leads.

    Args:
        task: with its labels, in the order of `probabilities`.
        words: what a word is for metrics that count them; None: characters if the right answers are mostly Chinese.

    Raises:
        EvaluationError: ids that are missing, repeated or too many, columns that are missing, labels that are not the
            task's; each names the value.
    """
    found = aligned(gold, answers)
    match task:
        case SequenceTask(kind="regression") | PairTask(kind="regression"):
            return regression_scores(gold, found)
        case SequenceTask() | PairTask():
            if not task.labels:
                raise EvaluationError(
                    "task.labels is empty: give the labels in the order of the answers' probabilities"
                )
            kind = class_scores if task.kind == "single" else label_scores
            return kind(gold, found, task.labels)
        case TokenTask():
            tagged = entity_scores if task.scheme == "bio" else tag_scores
            return tagged(gold, found, task.labels)
        case SpanTask():
            return span_scores(gold, found, words)
        case ChoiceTask():
            return choice_scores(gold, found)
        case EmbeddingTask():
            return similarity_scores(gold, found)
    # BLEU and ROUGE bring packages along that no other task needs
    from bert_core.metrics.generation import causal_scores, text_scores

    return text_scores(gold, found, words) if isinstance(task, Seq2SeqTask) else causal_scores(gold, found, words)


def primary_metric(task: Task, available: Collection[str] | None = None) -> str:
    """The metric that leads: what models and trials are compared by, and the report opens with.

    Args:
        available: choose among these, such as `Scores.metrics`; embeddings can lack labels or ranks.

    Raises:
        EvaluationError: none that could lead is available.
    """
    order = _leaders(task)
    for name in order:
        if available is None or name in available:
            return name
    raise EvaluationError(f"a {task.type} task is led by {' or '.join(order)}; there are: {', '.join(available or ())}")


def _leaders(task: Task) -> tuple[str, ...]:
    match task:
        case SequenceTask() | PairTask():
            return {"single": ("accuracy",), "multi": ("micro_f1",), "regression": ("pearson", "rmse")}[task.kind]
        case TokenTask():
            return ("entity_f1",) if task.scheme == "bio" else ("token_accuracy",)
        case SpanTask():
            return ("f1",)
        case ChoiceTask():
            return ("accuracy",)
        case EmbeddingTask():
            return ("spearman", "mrr") if task.loss == "cosine" else ("mrr", "spearman")
        case Seq2SeqTask():
            return ("chrf",)
        case CausalTask():
            return ("bits_per_character",)  # perplexity depends on how a tokenizer cuts, and compares no two of them
