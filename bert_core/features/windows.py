"""Questions and long contexts: overlapping windows, and where the answer lies in each (SQuAD, arXiv:1606.05250)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import SpanTask
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError
from bert_core.tokenizer import Encoding, Tokenizer


@dataclass(frozen=True)
class Window:
    """The part of a context that one sequence holds."""

    first: int
    """Token of the context."""
    tokens: int
    b_start: int
    """Where it begins in the sequence."""


def encode_windows(task: SpanTask, table: pa.Table, tokenizer: Tokenizer, between: int, max_tokens: int) -> Features:
    """[CLS] question [SEP] window [SEP] for each window of the context, `task.stride` tokens of which are shared.

    Targets are the first and the last token of the first gold answer that lies wholly in the window, else those of
    [CLS]: 0 and 0. A question takes at most half of a sequence.
    """
    builder = FeaturesBuilder(2)
    names = table["id"].to_pylist()
    answers: list[Any] = table["answers"].to_pylist() if "answers" in table.column_names else [None] * len(names)
    for row, (question, context) in enumerate(contexts(table, tokenizer)):
        name = names[row]
        if not len(context.ids) or not len(question.ids):
            raise FeaturesError(f"example {name}: there is nothing in its question or context to read")
        builder.example(name)
        gold = None if answers[row] is None else _token_spans(name, context, answers[row])
        asked = question.ids[: (max_tokens - 3) // 2]
        builder.count("cut_questions", int(len(asked) < len(question.ids)))
        head = np.concatenate([[tokenizer.cls_id], asked, [tokenizer.sep_id] * between])
        for window in windows(len(context.ids), len(head), max_tokens, task.stride):
            part = context.ids[window.first : window.first + window.tokens]
            tokens = np.concatenate([head, part, [tokenizer.sep_id]]).astype(np.int32)
            targets = () if gold is None else _inside(gold, window)
            builder.sequence(tokens, b_start=window.b_start, targets=targets)
    return builder.build()


def contexts(table: pa.Table, tokenizer: Tokenizer) -> Iterator[tuple[Encoding, Encoding]]:
    """Question and context of each row; equal contexts that follow each other are encoded once."""
    last, encoded = None, None
    for question, context in zip(table["question"].to_pylist(), table["context"].to_pylist(), strict=True):
        if encoded is None or context != last:
            last, (encoded,) = context, tokenizer.encode_batch([context])
        yield tokenizer.encode_batch([question])[0], encoded


def windows(tokens: int, head: int, max_tokens: int, stride: int) -> list[Window]:
    """Of a context of so many tokens behind a `head` of special tokens and question; the last reaches its end."""
    room = max_tokens - head - 1
    if stride >= room:
        raise FeaturesError(
            f"stride {stride}: a window has room for {room} tokens of context (row length {max_tokens}, question and "
            f"special tokens {head + 1}); give task.stride less than that, or longer rows"
        )
    firsts = range(0, max(1, tokens - stride), room - stride)
    return [Window(first, min(room, tokens - first), head) for first in firsts]


def _token_spans(name: str, context: Encoding, answers: list[dict[str, object]]) -> list[tuple[int, int]]:
    """First and last token of each answer."""
    spans = []
    for answer in answers:
        text, start = str(answer["text"]), int(str(answer["start"]))
        first = int(np.searchsorted(context.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(context.offsets[:, 0], start + len(text), side="left")) - 1
        if not text or first > last:
            raise FeaturesError(f"example {name}: answer {text!r} at {start} has no token of the context")
        spans.append((first, last))
    return spans


def _inside(gold: list[tuple[int, int]], window: Window) -> tuple[float, float]:
    for first, last in gold:
        if window.first <= first and last < window.first + window.tokens:
            return float(first - window.first + window.b_start), float(last - window.first + window.b_start)
    return 0.0, 0.0


def window_positions(window: Window) -> NDArray[np.int64]:
    """The places of a window's tokens in its sequence."""
    return window.b_start + np.arange(window.tokens)
