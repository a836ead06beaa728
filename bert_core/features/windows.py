"""Questions and long contexts: overlapping windows, and where the answer lies in each (SQuAD, arXiv:1606.05250)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bert_core.config import SpanTask
from bert_core.features.columns import ids_of, targets_of, texts_of
from bert_core.features.store import Features, FeaturesBuilder, FeaturesError
from bert_core.features.texts import Specials, tokenized
from bert_core.tokenizer import Encoding, Tokenizer

AT_A_TIME = 64
"""Contexts, each of which may be a book."""


@dataclass(frozen=True)
class Window:
    """The part of a context that one sequence holds."""

    first: int
    """Token of the context."""
    tokens: int
    b_start: int
    """Where it begins in the sequence."""


def encode_windows(task: SpanTask, table: pa.Table, tokenizer: Tokenizer, specials: Specials) -> Features:
    """[CLS] question [SEP] window [SEP] for each window of the context, `task.stride` tokens of which are shared.

    Targets are the first and the last token of the first gold answer that lies wholly in the window, else those of
    [CLS]: 0 and 0. A question takes at most half of a sequence.
    """
    builder = FeaturesBuilder(2)
    questions, answers = tokenized(texts_of(table, "question"), tokenizer), targets_of(table, "answers")
    most = (specials.max_tokens - 3) // 2
    for row, (name, context) in enumerate(zip(ids_of(table), contexts(table, tokenizer), strict=True)):
        if not len(context.ids) or not len(questions[row]):
            raise FeaturesError(f"example {name}: there is nothing in its question or context to read")
        builder.example(name)
        gold = (
            None if answers[row] is None else _token_spans(name, table["context"][row].as_py(), context, answers[row])
        )
        builder.count("cut_questions", int(len(questions[row]) > most))
        head = np.array([specials.cls_id, *questions[row][:most], *[specials.sep_id] * specials.between])
        is_found = False
        for window in windows(len(context.ids), len(head), specials.max_tokens, task.stride):
            part = context.ids[window.first : window.first + window.tokens]
            tokens = np.concatenate([head, part, [specials.sep_id]], dtype=np.int32)
            targets = () if gold is None else _inside(gold, window)
            is_found |= targets != (0.0, 0.0)
            builder.sequence(tokens, b_start=window.b_start, targets=targets)
        builder.count("answers_longer_than_windows", int(bool(gold) and not is_found))
    return builder.build()


def contexts(table: pa.Table, tokenizer: Tokenizer) -> Iterator[Encoding]:
    """The context of each row; equal ones that follow each other are encoded once."""
    texts = texts_of(table, "context")
    for at in range(0, len(texts), AT_A_TIME):
        part = texts[at : at + AT_A_TIME]
        distinct = list(dict.fromkeys(part))
        encoded = dict(zip(distinct, tokenizer.encode_batch(distinct), strict=True))
        yield from (encoded[text] for text in part)


def windows(tokens: int, head: int, max_tokens: int, stride: int) -> list[Window]:
    """Of a context of so many tokens behind a `head` of special tokens and question; the last reaches its end.

    They share `stride` tokens, but no more than three quarters of a window: behind a long question windows are short,
    and would begin at every token.
    """
    room = max_tokens - head - 1
    shared = min(stride, room * 3 // 4)
    firsts = range(0, max(1, tokens - shared), room - shared)
    return [Window(first, min(room, tokens - first), head) for first in firsts]


def _token_spans(name: str, text: str, context: Encoding, answers: list[dict[str, Any]]) -> list[tuple[int, int]]:
    """First and last token of each answer."""
    spans = []
    for answer in answers:
        said, start = answer["text"], answer["start"]
        there = text[start : start + len(said)]
        if there != said:
            raise FeaturesError(
                f"example {name}: answer {said!r} at {start}, where the context has {there!r}: starts count characters"
            )
        first = int(np.searchsorted(context.offsets[:, 1], start, side="right"))
        last = int(np.searchsorted(context.offsets[:, 0], start + len(said), side="left")) - 1
        if not said or first > last:
            raise FeaturesError(f"example {name}: answer {said!r} at {start} has no token of the context")
        spans.append((first, last))
    return spans


def _inside(gold: list[tuple[int, int]], window: Window) -> tuple[float, float]:
    for first, last in gold:
        if window.first <= first and last < window.first + window.tokens:
            return float(first - window.first + window.b_start), float(last - window.first + window.b_start)
    return 0.0, 0.0
