"""Canonical tables to features, task by task."""

from __future__ import annotations

from typing import Any

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
from bert_core.features.generated import encode_prompts, encode_sources_and_targets
from bert_core.features.store import Features, FeaturesError, described
from bert_core.features.tags import encode_tags
from bert_core.features.texts import (
    MAX_CHARACTERS,
    Specials,
    encode_choices,
    encode_pairs,
    encode_side_by_side,
    encode_texts,
)
from bert_core.features.windows import encode_windows
from bert_core.tokenizer import Tokenizer

__all__ = ["MAX_CHARACTERS", "encode", "origin"]


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, max_tokens: int) -> Features:
    """The features of a canonical table. Targets are read where their columns are there, else unknown.

    Args:
        task: resolved: its labels are filled in.
        max_tokens: of a sequence, special ones included; 8 or more.

    Raises:
        FeaturesError: a column is missing, a label is not the task's, or a text has nothing in it to read.
    """
    if not table.num_rows:
        raise FeaturesError("no examples: there is nothing to encode")
    specials = Specials.of(tokenizer, max_tokens)
    match task:
        case PairTask():
            features = encode_pairs(task, table, tokenizer, specials)
        case SequenceTask():
            features = encode_texts(task, table, tokenizer, specials)
        case TokenTask():
            features = encode_tags(task, table, tokenizer, max_tokens)
        case SpanTask():
            features = encode_windows(task, table, tokenizer, specials)
        case ChoiceTask():
            features = encode_choices(table, tokenizer, specials)
        case EmbeddingTask():
            features = encode_side_by_side(task, table, tokenizer, specials)
        case Seq2SeqTask():
            features = encode_sources_and_targets(task, table, tokenizer, specials)
        case CausalTask():
            features = encode_prompts(task, table, tokenizer, specials)
    return described(features, _statistics(task, features), origin(task, tokenizer))


def origin(task: Task, tokenizer: Tokenizer) -> dict[str, Any]:
    """What decides whether features can be read as `task`'s: with other labels, or another vocabulary, the same
    numbers mean something else."""
    labels = list(getattr(task, "labels", ()))
    return {"task": [task.type, getattr(task, "kind", None), labels], "tokenizer": tokenizer.fingerprint}


def _statistics(task: Task, features: Features) -> dict[str, Any]:
    if isinstance(task, TokenTask):
        known = features.position_labels[features.position_labels >= 0]
        return {"class_counts": np.bincount(known, minlength=len(task.labels)).tolist()}
    values = features.targets[~np.isnan(features.targets).any(axis=1)]
    if not isinstance(task, SequenceTask) or not len(values):
        return {}
    if task.kind == "regression":
        numbers = values.astype(np.float64)
        return {"mean": float(numbers.mean()), "deviation": float(numbers.std())}
    if task.kind == "multi":
        return {"class_counts": values.sum(axis=0).astype(int).tolist()}
    return {"class_counts": np.bincount(values[:, 0].astype(int), minlength=len(task.labels)).tolist()}
