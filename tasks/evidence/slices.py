"""The examples cut by length, source, time and the columns that a user names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from itertools import pairwise

import numpy as np
import pyarrow as pa

from bert_core.config import SpanTask, Task
from bert_core.intervals import EvaluationError
from bert_core.metrics.scripts import words_of
from tasks.evidence.examples import PARTS

FEWEST = 20
"""Examples of a slice: an interval of fewer says nothing."""
MOST_VALUES = 12
QUARTERS = ("shortest quarter", "second quarter", "third quarter", "longest quarter")
QUESTION_WORDS = ("what", "who", "whom", "whose", "when", "where", "which", "why", "how")
ANSWER_WORDS = ((1, "1 word"), (3, "2 to 3 words"), (6, "4 to 6 words"))


def slice_columns(
    task: Task, gold: pa.Table, columns: Sequence[str] = (), time_column: str | None = None
) -> dict[str, list[str]]:
    """Column -> the slice of each of N examples; "" is in none.

    Always: length, in quarters, and `source` if there is one; for questions also their first word and the length of the
    answer. Numbers are cut into quarters, times into months, or years where they span more than two.

    Raises:
        EvaluationError: a column that the examples do not have; names those they have.
    """
    wanted = [*dict.fromkeys([*(["source"] if "source" in gold.column_names else []), *columns])]
    for name in [*wanted, *([time_column] if time_column else [])]:
        if name not in gold.column_names:
            raise EvaluationError(f"no column {name!r} to slice by; the examples have: {', '.join(gold.column_names)}")
    found = {"length": quarters(_lengths(task, gold), QUARTERS)}
    if isinstance(task, SpanTask):
        found["question word"] = [_question_word(one) for one in gold["question"].to_pylist()]
        found["answer length"] = [_answer_length(one) for one in gold["answers"].to_pylist()]
    if time_column:
        found[time_column] = periods(gold[time_column].to_pylist(), time_column)
    for name in wanted:
        if name != time_column:
            found[name] = _values(gold[name])
    return found


def chosen(slices: Mapping[str, list[str]]) -> tuple[list[tuple[str, str, np.ndarray]], dict[str, str]]:
    """[(column, value, rows)] of the slices worth a figure, and what was left out with the reason."""
    found: list[tuple[str, str, np.ndarray]] = []
    left_out: dict[str, str] = {}
    for column, held in slices.items():
        values = np.array(held)
        counts = Counter(value for value in held if value)
        known = list(dict.fromkeys(held)) if column == "length" else sorted(counts)
        enough = [value for value in known if counts[value] >= FEWEST]
        most = {value for value, _ in Counter({v: counts[v] for v in enough}).most_common(MOST_VALUES)}
        kept = [value for value in enough if value in most and counts[value] < len(held)]
        if column == "length":
            kept = [name for name in QUARTERS if name in kept]
        found += [(column, value, np.flatnonzero(values == value)) for value in kept]
        if few := [value for value in counts if counts[value] < FEWEST]:
            left_out[column] = f"{len(few)} with fewer than {FEWEST} examples each"
        elif len(enough) > len(most):
            left_out[column] = f"{len(enough) - len(most)} beyond the {MOST_VALUES} most frequent"
        elif len(counts) <= 1:
            left_out[column] = "the same for all examples" if counts else "no example has a value"
    return found, left_out


def quarters(numbers: Sequence[float], names: Sequence[str] | None = None) -> list[str]:
    """The quarter of each number, named or by its bounds; equal numbers share one."""
    values = np.array(numbers, dtype=np.float64)
    known = np.isfinite(values)
    if not known.any():
        return [""] * len(values)
    edges = np.unique(np.quantile(values[known], [0.25, 0.5, 0.75]))
    place = np.searchsorted(edges, values, side="left")
    if names and len(edges) == len(names) - 1:
        return [names[int(i)] if ok else "" for i, ok in zip(place, known, strict=True)]
    bounds = [f"up to {edges[0]:g}", *(f"{a:g} to {b:g}" for a, b in pairwise(edges))]
    labels = [*bounds, f"above {edges[-1]:g}"]
    return [labels[int(i)] if ok else "" for i, ok in zip(place, known, strict=True)]


def periods(values: Sequence[object], column: str) -> list[str]:
    """The month of each time, or its year where the times span more than two; "" for none.

    Raises:
        EvaluationError: something that is no time: not a date, an ISO 8601 string, or seconds since 1970.
    """
    times = [_time(value, column) for value in values]
    known = [one for one in times if one]
    if not known:
        return [""] * len(times)
    pattern = "%Y" if max(known).year - min(known).year > 1 else "%Y-%m"
    return [one.strftime(pattern) if one else "" for one in times]


def _time(value: object, column: str) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, datetime):
            return value.replace(tzinfo=value.tzinfo or UTC)
        if isinstance(value, date):
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        if isinstance(value, int | float):
            return datetime.fromtimestamp(value, UTC)
        found = datetime.fromisoformat(str(value))
        return found.replace(tzinfo=found.tzinfo or UTC)
    except (ValueError, OverflowError, OSError):
        raise EvaluationError(
            f"{column}: {value!r} is no time; legal are dates, ISO 8601 strings, and seconds since 1970"
        ) from None


def _lengths(task: Task, gold: pa.Table) -> list[float]:
    """Words, or characters of Chinese, of all that the model is given."""
    names = [name for name in PARTS[task.type] if name in gold.column_names]
    rows = list(zip(*(gold[name].to_pylist() for name in names), strict=True))
    if task.type == "token":
        return [float(len(row[0])) for row in rows]
    texts = [" ".join(" ".join(one) if isinstance(one, list) else one or "" for one in row) for row in rows]
    by_character = words_of(texts) == "characters"
    return [float(len(text) if by_character else len(text.split())) for text in texts]


def _values(column: pa.ChunkedArray) -> list[str]:
    if pa.types.is_floating(column.type):
        return quarters([np.nan if one is None else one for one in column.to_pylist()])
    if pa.types.is_integer(column.type) and len(column.unique()) > MOST_VALUES:
        return quarters([np.nan if one is None else float(one) for one in column.to_pylist()])
    return ["" if one is None else str(one) for one in column.to_pylist()]


def _question_word(question: str) -> str:
    words = re.findall(r"\w+", question.lower())
    return next((word for word in words if word in QUESTION_WORDS), "other")


def _answer_length(answers: list[dict[str, object]]) -> str:
    if not answers:
        return "no answer"
    text = str(answers[0]["text"])
    count = len(text) if words_of([text]) == "characters" else len(text.split())
    return next((name for most, name in ANSWER_WORDS if count <= most), "more words")
