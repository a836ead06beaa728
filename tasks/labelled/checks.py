"""Checks of the sides themselves: balance, conflicts, leaks, groups, lengths, languages."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from math import pi, sqrt
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bert_core.config import ChoiceTask, EmbeddingTask, PairTask, SequenceTask, SpanTask, Task, TokenTask
from tasks.config.data import DataConfig
from tasks.labelled.duplicates import CONFLICT, REPEAT, Found
from tasks.labelled.languages import languages
from tasks.labelled.ledger import Ledger, shown
from tasks.labelled.report import Finding, LabelRow, Lengths, Severity
from tasks.labelled.schema import label_counts

RARE = 10
"""Training examples below which a class is hardly learned, and its figures hardly mean anything."""
IMBALANCE = 10.0
"""Largest class by smallest, from which it is told."""
SHIFT = 0.1
"""Total variation distance between the labels of two sides, above what chance makes of a sample of that size."""


def label_rows(task: Task, sides: Mapping[str, pa.Table]) -> tuple[LabelRow, ...]:
    """In the order of the labels' ids. Choices: by the place of the right one. Spans: with and without an answer."""
    counts = {side: _counts(task, table) for side, table in sides.items()}
    names = list(getattr(task, "labels", ())) or sorted({label for each in counts.values() for label in each})
    total = max(1, counts["train"].total())
    return tuple(
        LabelRow(
            label=label,
            counts={side: counts[side][label] for side in counts},
            share=counts["train"][label] / total,
        )
        for label in names
    )


def character_lengths(task: Task, sides: Mapping[str, pa.Table]) -> tuple[Lengths, ...]:
    return tuple(lengths(side, "characters", _characters(task, table)) for side, table in sides.items())


def lengths(side: str, unit: str, values: np.ndarray[Any, Any], limit: int | None = None) -> Lengths:
    """
    Args:
        values: (N,): of each example; N > 0.
    """
    median, p95, p99 = np.percentile(values, (50, 95, 99)).tolist()
    over = None if limit is None else int((values > limit).sum())
    return Lengths.model_validate(
        {"side": side, "unit": unit, "median": median, "p95": p95, "p99": p99, "longest": values.max(), "over": over}
    )


def findings(
    config: DataConfig, task: Task, sides: Mapping[str, pa.Table], found: Found, whole: pa.Table, ledger: Ledger
) -> list[Finding]:
    """
    Args:
        found: the duplicates of `whole`, which holds the examples of all sides before anything was dropped for them.
    """
    return [
        *_dropped(ledger, found),
        *_duplicates(config, found, whole),
        *_balance(task, sides),
        *_groups(config, sides),
        *_lengths(task, sides),
        *languages(task, sides),
    ]


def _dropped(ledger: Ledger, found: Found) -> Iterator[Finding]:
    seen = sum(each.seen for each in ledger.accounts.values())
    for reason, count in ledger.dropped().most_common():
        if reason in found.counts:
            continue  # told below, with what it is like
        severity: Severity = "warning" if count > seen / 20 else "info"
        yield Finding(
            check="dropped",
            severity=severity,
            message=f"{count:,} of {seen:,} records dropped: {reason}",
            counts={reason: count},
            examples=tuple(ledger.examples(reason)),
        )
    for what, count in ledger.repaired().most_common():
        yield Finding(check="repaired", severity="info", message=f"{count:,} times: {what}", counts={what: count})


def _duplicates(config: DataConfig, found: Found, whole: pa.Table) -> Iterator[Finding]:
    for reason, count in sorted(found.counts.items()):
        pairs = [whole.take(list(pair)).to_pylist() for pair in found.examples[reason]]
        check, policy, severity, advice = _told(config, reason)
        done = "dropped" if policy == "drop" else "kept"
        yield Finding(
            check=check,
            severity=severity,
            message=f"{count:,} examples: {reason}; {done}{advice}",
            counts={reason: count},
            examples=tuple(f"{_short(one)} ~ {_short(other)}" for one, other in pairs),
        )


def _told(config: DataConfig, reason: str) -> tuple[str, str, Severity, str]:
    """The check's name, the recipe's policy, how bad it is, and what to do."""
    if reason == REPEAT:
        return "repeats", config.repeats, "info", ""
    if reason == CONFLICT:
        advice = ": no model can be right on all of them; look at them, or set data.conflicts = 'drop'"
        return "conflicting-labels", config.conflicts, "warning", advice if config.conflicts == "keep" else ""
    if config.duplicates == "drop":
        return "duplicates-across-sides", "drop", "info", ""
    return "duplicates-across-sides", "keep", "warning", ": figures are too good by what was learned by heart"


def _balance(task: Task, sides: Mapping[str, pa.Table]) -> Iterator[Finding]:
    counts = {side: _counts(task, table) for side, table in sides.items()}
    train = counts["train"]
    if not train:
        return
    names = list(getattr(task, "labels", ())) or sorted(train)
    if isinstance(task, TokenTask):
        names = [name for name in names if name[:2] != "I-"]
    least, most = min(names, key=train.__getitem__), max(names, key=train.__getitem__)
    ratio = train[most] / max(1, train[least])
    if ratio >= IMBALANCE and not (isinstance(task, TokenTask) and task.scheme == "bio"):
        yield Finding(
            check="class-balance",
            severity="warning",
            message=f"{most!r} is {ratio:,.0f} times as frequent as {least!r}: look at F1 by class, not at accuracy; "
            f"class_weights = 'balanced' or focal_gamma may help",
            counts={most: train[most], least: train[least]},
        )
    if rare := [name for name in names if train[name] < RARE]:
        yield Finding(
            check="rare-classes",
            severity="warning",
            message=f"{len(rare)} of {len(names)} have fewer than {RARE} training examples: {_listed(rare)}",
            counts={name: train[name] for name in rare[:20]},
        )
    for side in (each for each in sides if each != "train"):
        if absent := [name for name in names if not counts[side][name]]:
            yield Finding(
                check="absent-classes",
                severity="warning",
                message=f"{side} has no example of {_listed(absent)}: their figures there mean nothing",
                counts={name: train[name] for name in absent[:20]},
            )
        size = max(1, counts[side].total())
        noise = (
            sum(sqrt(2 * share * (1 - share) / (pi * size)) for share in (train[n] / train.total() for n in names)) / 2
        )
        distance = sum(abs(train[name] / train.total() - counts[side][name] / size) for name in names) / 2
        if distance > SHIFT + noise:
            yield Finding(
                check="label-shift",
                severity="warning",
                message=f"labels of {side} are distributed otherwise than those of train: {distance:.0%} of them "
                f"would have to change",
                counts={"total variation distance": round(distance, 4)},
            )


def _groups(config: DataConfig, sides: Mapping[str, pa.Table]) -> Iterator[Finding]:
    for name in config.group:
        values = {side: set(table[name].drop_null().to_pylist()) for side, table in sides.items()}
        for side in (each for each in sides if each != "train"):
            if both := sorted(map(str, values["train"] & values[side])):
                yield Finding(
                    check="groups-across-sides",
                    severity="warning",
                    message=f"{len(both):,} values of {name} are in train and in {side}: {_listed(both)}",
                    counts={name: len(both)},
                )


def _lengths(task: Task, sides: Mapping[str, pa.Table]) -> Iterator[Finding]:
    if isinstance(task, SpanTask):
        answers = [each["text"] for row in sides["train"]["answers"].to_pylist() for each in row]
        single = sum(len(answer.split()) == 1 for answer in answers)
        if answers:
            yield Finding(
                check="answer-lengths",
                severity="info",
                message=f"{single / len(answers):.0%} of the training answers are one word; the longest has "
                f"{max(len(answer.split()) for answer in answers):,} words",
                counts={"answers": len(answers), "one word": single},
            )
    if isinstance(task, TokenTask):
        single = sum(len(tokens) == 1 for tokens in sides["train"]["tokens"].to_pylist())
        if single > sides["train"].num_rows / 10:
            yield Finding(
                check="one-token-sentences",
                severity="warning",
                message=f"{single:,} of {sides['train'].num_rows:,} training sentences are one token: are blank lines "
                f"where they should be?",
                counts={"one token": single},
            )


def targets(task: Task, table: pa.Table) -> list[str]:
    """What is to be predicted, as strings that are equal where it is."""
    column = {"token": "tags", "span": "answers", "seq2seq": "target", "causal": "target"}.get(task.type, "label")
    values = table[column].to_pylist()
    if isinstance(task, SequenceTask) and task.kind == "multi":
        values = [sorted(each) for each in values]
    return [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False) for each in values]


def can_contradict(task: Task) -> bool:
    """Whether two targets of one text cannot both be right. Answers, translations and positive pairs can."""
    return isinstance(task, SequenceTask | TokenTask | ChoiceTask)


def _counts(task: Task, table: pa.Table) -> Counter[str]:
    if isinstance(task, ChoiceTask):
        return Counter(f"choice {label}" for label in table["label"].to_pylist())
    if isinstance(task, SpanTask):
        has = pc.greater(pc.list_value_length(table["answers"]), 0).to_pylist()
        return Counter("answer" if each else "no answer" for each in has)
    return label_counts(task, table)


def _characters(task: Task, table: pa.Table) -> np.ndarray[Any, Any]:
    if isinstance(task, TokenTask):
        return np.array([sum(map(len, tokens)) + len(tokens) - 1 for tokens in table["tokens"].to_pylist()])
    names = ["question", "context"] if isinstance(task, SpanTask) else ["text"]
    names += ["text_b"] if isinstance(task, PairTask | EmbeddingTask) else []
    names += ["target"] if task.type in ("seq2seq", "causal") else []
    return np.sum([pc.utf8_length(table[name]).to_numpy() for name in names], axis=0)


def _short(row: dict[str, Any]) -> str:
    target = row.get("label", row.get("tags", ""))
    label = f" [{target}]" if isinstance(target, str) and target else ""
    return f"{row['id']} {shown(row)[:80]!r}{label}"


def _listed(names: Sequence[str], most: int = 10) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
