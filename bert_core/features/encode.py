"""Canonical tables to features, task by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

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
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError, with_statistics
from bert_core.features.tags import encode_tags
from bert_core.features.windows import encode_windows
from bert_core.tokenizer import Tokenizer

MAX_CHARACTERS = 100_000
"""Of one text: what follows could not fit into any model here, and tokenizing it would only cost time."""
AT_A_TIME = 2_048


@dataclass(frozen=True)
class Specials:
    """How texts become a model's sequences."""

    cls_id: int
    sep_id: int
    between: int
    """Separators between two texts: one; two in RoBERTa's files."""
    max_tokens: int
    """Of a sequence, special ones included."""

    @classmethod
    def of(cls, tokenizer: Tokenizer, max_tokens: int) -> Specials:
        template = tokenizer.backend.num_special_tokens_to_add(True)
        return cls(tokenizer.cls_id, tokenizer.sep_id, max(1, template - 2), max_tokens)

    def single(self, ids: NDArray[np.int32], builder: FeaturesBuilder) -> NDArray[np.int32]:
        """[CLS] a [SEP]; what does not fit is cut off the end, and counted."""
        kept = ids[: self.max_tokens - 2]
        builder.lose(len(ids) - len(kept))
        return np.concatenate([[self.cls_id], kept, [self.sep_id]]).astype(np.int32)

    def pair(
        self, a: NDArray[np.int32], b: NDArray[np.int32], builder: FeaturesBuilder
    ) -> tuple[NDArray[np.int32], int]:
        """[CLS] a [SEP] b [SEP] and where b starts; the longer text is cut until both fit."""
        room = self.max_tokens - 2 - self.between
        half = room // 2
        keep_a = min(len(a), max(half, room - len(b)))
        keep_b = min(len(b), room - keep_a)
        builder.lose(len(a) + len(b) - keep_a - keep_b)
        head = np.concatenate([[self.cls_id], a[:keep_a], [self.sep_id] * self.between])
        return np.concatenate([head, b[:keep_b], [self.sep_id]]).astype(np.int32), len(head)


def encode(task: Task, table: pa.Table, tokenizer: Tokenizer, max_tokens: int) -> Features:
    """The features of a canonical table. Targets are read where their columns are there, else unknown.

    Args:
        task: resolved: its labels are filled in.
        max_tokens: of a sequence, special ones included.

    Raises:
        FeaturesError: a column is missing, a label is not the task's, or a text has nothing in it to read.
    """
    if not table.num_rows:
        raise FeaturesError("no examples: there is nothing to encode")
    specials = Specials.of(tokenizer, max_tokens)
    match task:
        case PairTask():
            features = _pairs(task, table, tokenizer, specials)
        case SequenceTask():
            features = _texts(task, table, tokenizer, specials)
        case TokenTask():
            features = encode_tags(task, table, tokenizer, max_tokens)
        case SpanTask():
            features = encode_windows(task, table, tokenizer, specials.between, max_tokens)
        case ChoiceTask():
            features = _choices(table, tokenizer, specials)
        case EmbeddingTask():
            features = _side_by_side(table, tokenizer, specials)
        case Seq2SeqTask() | CausalTask():
            features = _generated(task, table, tokenizer, specials)
    return with_statistics(features, _statistics(task, features))


def text_column(table: pa.Table, name: str) -> list[str]:
    """The texts of a column.

    Raises:
        FeaturesError: there is no such column, or a row of it is not a text.
    """
    if name not in table.column_names:
        raise FeaturesError(f"no column {name!r} among {table.column_names}: the task reads it")
    texts = table[name].to_pylist()
    for row, text in enumerate(texts):
        if not isinstance(text, str):
            raise FeaturesError(f"row {row}: {name} is {text!r}: expected a text")
    return texts


def tokenized(texts: Sequence[str], tokenizer: Tokenizer) -> list[NDArray[np.int32]]:
    """The ids of each text, without special tokens."""
    found: list[NDArray[np.int32]] = []
    for at in range(0, len(texts), AT_A_TIME):
        found += [each.ids for each in tokenizer.encode_batch([t[:MAX_CHARACTERS] for t in texts[at : at + AT_A_TIME]])]
    return found


def target_reader(task: SequenceTask, table: pa.Table) -> tuple[int, Callable[[int], Sequence[float]]]:
    """How many targets a sequence has, and those of a row."""
    width = len(task.labels) if task.kind == "multi" else 1
    if "label" not in table.column_names:
        return width, lambda row: ()
    values = table["label"].to_pylist()
    order = {label: number for number, label in enumerate(task.labels)}

    def read(row: int) -> Sequence[float]:
        value = values[row]
        if value is None:
            return ()
        if task.kind == "regression":
            return [float(value)]
        given = value if task.kind == "multi" else [value]
        if unknown := [label for label in given if label not in order]:
            raise FeaturesError(f"row {row}: label {unknown[0]!r} is not one of {list(order)}")
        if task.kind == "single":
            return [float(order[value])]
        return [float(label in given) for label in order]

    return width, read


def _texts(task: SequenceTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    width, targets = target_reader(task, table)
    builder = FeaturesBuilder(width)
    texts = text_column(table, "text")
    for row, (name, ids) in enumerate(zip(ids_of(table), tokenized(texts, tokenizer), strict=True)):
        _demand(len(ids), name, "text", texts[row])
        builder.example(name)
        builder.sequence(specials.single(ids, builder), targets=targets(row))
    return builder.build()


def _pairs(task: SequenceTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    width, targets = target_reader(task, table)
    builder = FeaturesBuilder(width)
    texts = [text_column(table, name) for name in ("text", "text_b")]
    a, b = (tokenized(each, tokenizer) for each in texts)
    for row, name in enumerate(ids_of(table)):
        _demand(len(a[row]) + len(b[row]), name, "text", texts[0][row])
        builder.example(name)
        ids, b_start = specials.pair(a[row], b[row], builder)
        builder.sequence(ids, b_start=b_start, targets=targets(row))
    return builder.build()


def _choices(table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    builder = FeaturesBuilder(1)
    stems = tokenized(text_column(table, "text"), tokenizer)
    right: list[Any] = table["label"].to_pylist() if "label" in table.column_names else [None] * table.num_rows
    for row, (name, choices) in enumerate(zip(ids_of(table), table["choices"].to_pylist(), strict=True)):
        if not choices:
            raise FeaturesError(f"example {name}: it has no choices")
        if right[row] is not None and not 0 <= right[row] < len(choices):
            raise FeaturesError(f"example {name}: label {right[row]} is not one of its {len(choices)} choices, from 0")
        builder.example(name)
        for number, ids in enumerate(tokenized(choices, tokenizer)):
            sequence, b_start = specials.pair(stems[row], ids, builder)
            targets = () if right[row] is None else [float(number == right[row])]
            builder.sequence(sequence, b_start=b_start, targets=targets)
    return builder.build()


def _side_by_side(table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    names = [name for name in ("text", "text_b", "negative") if name in table.column_names]
    scores: list[Any] = table["label"].to_pylist() if "label" in table.column_names else [None] * table.num_rows
    texts = [text_column(table, name) for name in names]
    tokens = [tokenized(each, tokenizer) for each in texts]
    builder = FeaturesBuilder(1)
    for row, name in enumerate(ids_of(table)):
        builder.example(name)
        for column, text, each in zip(names, texts, tokens, strict=True):
            _demand(len(each[row]), name, column, text[row])
            builder.sequence(
                specials.single(each[row], builder), targets=() if scores[row] is None else [float(scores[row])]
            )
    return builder.build()


def _generated(task: Seq2SeqTask | CausalTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    """seq2seq: source and target, a sequence each. causal: both in one, whose tokens after the prompt are predicted."""
    builder = FeaturesBuilder(1)
    texts = text_column(table, "text")
    sources = tokenized(texts, tokenizer)
    is_known = "target" in table.column_names
    targets = tokenized(text_column(table, "target"), tokenizer) if is_known else [np.zeros(0, np.int32)] * len(sources)
    for name, text, source, target in zip(ids_of(table), texts, sources, targets, strict=True):
        builder.example(name)
        if isinstance(task, Seq2SeqTask):
            _demand(len(source), name, "text", text)
            builder.sequence(specials.single(source, builder))
            ids = _shortened(target, task.max_target_tokens - 2, builder)
            builder.sequence(np.concatenate([[specials.cls_id], ids, [specials.sep_id]]).astype(np.int32))
            continue
        _demand(len(target) + len(source), name, "target", text)
        for start in range(0, max(1, len(target)), specials.max_tokens - 2) if not len(source) else [0]:
            head = np.concatenate([[specials.cls_id], source[-(specials.max_tokens // 2) :]])
            rest = target[start : start + specials.max_tokens - 2] if not len(source) else target
            body = _shortened(rest, specials.max_tokens - 1 - len(head), builder)
            tokens = np.concatenate([head, body, [specials.sep_id]]).astype(np.int32)
            places = np.arange(len(head) - 1, len(tokens) - 1)
            builder.sequence(tokens, positions=np.stack([places, tokens[places + 1]], axis=1).astype(np.int32))
    return builder.build()


def _shortened(ids: NDArray[np.int32], most: int, builder: FeaturesBuilder) -> NDArray[np.int32]:
    builder.count("cut_targets", int(len(ids) > most))
    return ids[:most]


def ids_of(table: pa.Table) -> list[str]:
    """The examples' ids; their row numbers where there is no such column."""
    return table["id"].to_pylist() if "id" in table.column_names else [str(row) for row in range(table.num_rows)]


def _demand(tokens: int, name: str, what: str, text: str) -> None:
    if not tokens:
        raise FeaturesError(f"example {name}: {what} is {text[:40]!r}: there is nothing in it to read")


def _statistics(task: Task, features: Features) -> dict[str, Any]:
    values = features.targets[~np.isnan(features.targets[:, 0])] if features.targets.size else features.targets
    if isinstance(task, TokenTask):
        known = features.position_labels[features.position_labels >= 0]
        return {"class_counts": np.bincount(known, minlength=len(task.labels)).tolist()}
    if not isinstance(task, SequenceTask) or not len(values):
        return {}
    if task.kind == "regression":
        return {"mean": float(values.mean()), "deviation": float(values.std())}
    if task.kind == "multi":
        return {"class_counts": values.sum(axis=0).astype(int).tolist()}
    return {"class_counts": np.bincount(values[:, 0].astype(int), minlength=len(task.labels)).tolist()}
