"""Answers to questions about a context, with their place in it."""

from __future__ import annotations

from typing import Any

import orjson

from tasks.labelled.values import Reject

BROKEN_ANSWERS = "broken answers"
NOT_IN_CONTEXT = "answer not in its context"
MOVED, LEFT_OUT = "answer moved to where it stands", "answer left out beside good ones"

Answer = dict[str, Any]


def answers_of(value: Any, context: str) -> tuple[list[Answer], list[str]]:
    """Answers as {text, start}, each once, and what was repaired.

    An answer that is not at its start (or has none) is moved to the one place where the context has it. One that the
    context has several times, or not at all, is left out where others are good.

    Accepts SQuAD's list of {text, answer_start}, ours of {text, start}, Hugging Face's {text: [...], answer_start:
    [...]}, and any of them as JSON in a string. Empty: there is no answer.
    """
    good: list[Answer] = []
    repaired: list[str] = []
    bad = ""
    for text, start in _stated(value):
        place = _place(text, start, context)
        if place is None:
            bad = bad or f"{text[:60]!r} at {start}; the context has it {context.count(text)} times"
            repaired.append(LEFT_OUT)
            continue
        if place != start:
            repaired.append(MOVED)
        if (answer := {"text": text, "start": place}) not in good:
            good.append(answer)
    if bad and not good:
        raise Reject(NOT_IN_CONTEXT, bad)
    return good, repaired


def _place(text: str, start: int | None, context: str) -> int | None:
    if start is not None and start >= 0 and context.startswith(text, start):
        return start
    return context.index(text) if context.count(text) == 1 else None


def _stated(value: Any) -> list[tuple[str, int | None]]:
    if isinstance(value, str):
        try:
            value = orjson.loads(value) if value.strip() else []
        except orjson.JSONDecodeError:
            raise Reject(BROKEN_ANSWERS, f"{value[:80]!r} is not JSON; columns.answer takes plain text") from None
    if value is None:
        value = []
    if isinstance(value, dict):
        texts, starts = value.get("text"), value.get("answer_start", value.get("start"))
        if isinstance(texts, str):
            value = [value]
        elif not isinstance(texts, list) or not isinstance(starts, list) or len(texts) != len(starts):
            raise Reject(BROKEN_ANSWERS, f"text and answer_start are no lists of one length: {value!r}"[:200])
        else:
            value = [{"text": text, "start": start} for text, start in zip(texts, starts, strict=True)]
    if not isinstance(value, list):
        raise Reject(BROKEN_ANSWERS, f"{type(value).__name__}: {value!r}"[:200])
    return [pair for pair in map(_pair, value) if pair[0]]


def _pair(answer: Any) -> tuple[str, int | None]:
    if isinstance(answer, str):
        return answer, None
    if not isinstance(answer, dict) or not isinstance(answer.get("text"), str):
        raise Reject(BROKEN_ANSWERS, f"an answer has `text` and `answer_start`: {answer!r}"[:200])
    start = answer.get("answer_start", answer.get("start"))
    if isinstance(start, str) and start.strip().lstrip("-").isdigit():
        start = int(start)
    if start is not None and not isinstance(start, int):
        raise Reject(BROKEN_ANSWERS, f"answer_start {start!r} is no whole number")
    return answer["text"], start
