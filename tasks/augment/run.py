"""The training side and changed copies of its examples, none of which is a validation or test example in disguise."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from bert_core.config import SequenceTask, Task
from tasks.augment.drafts import AugmentError, Draft, Drafter, Substitute, Translate
from tasks.augment.examples import Row, fields_of, required
from tasks.augment.guard import LabelGuard
from tasks.augment.leakage import TextIndex, normalised_all
from tasks.augment.operations import Rules
from tasks.augment.report import AugmentReport, BeforeAfter, counted
from tasks.augment.thesaurus import Thesaurus, open_thesaurus
from tasks.augment.units import words_of
from tasks.config.augment import AugmentConfig

SHOWN = 10
UNGUARDED = ("characters", "swap", "entities")
"""Methods that say nothing else: a reader still knows a mistyped word, which a model of words does not."""
_COPY = "{id}#aug{number}"


@dataclass(frozen=True)
class Augmented:
    """The result: `table` is the training side as it was, then the copies, and two more columns.

    `augmented_from` is the id of the example that a copy was made of, `augmented_by` the method; both null for the
    examples themselves. A copy's id is `<id>#aug1`, `<id>#aug2`, ...; its other columns are those of its example.
    """

    table: pa.Table
    report: AugmentReport


@dataclass(frozen=True)
class _Copy:
    row: int
    values: Row
    method: str


def augment(
    config: AugmentConfig,
    task: Task,
    train: pa.Table,
    *,
    forbidden: Iterable[pa.Table],
    seed: int,
    substitute: Substitute | None = None,
    translate: tuple[Translate, Translate] | None = None,
    thesaurus: Thesaurus | None = None,
    home: Path = Path(),
) -> Augmented:
    """Labels are kept: negations stay, tags follow their tokens, a span's context and a choice's options are untouched.

    Equal arguments give equal results; what becomes of an example does not depend on the order of the others.

    Args:
        train: canonical table of the training side.
        forbidden: canonical tables of the validation and test sides: no copy equals or nearly equals one of theirs.
        substitute: for method mlm: replaces some words of texts, as `bert_core.mlm_substitution.MlmSubstitution` does.
        translate: for method back_translation: to the other language, and from it.
        thesaurus: instead of the one that `config` names.
        home: what relative paths in `config` are relative to.

    Raises:
        AugmentError: a column is missing, `train` holds copies already, or a method cannot be had.
        ThesaurusError: the thesaurus cannot be read.
    """
    _check(task, train)
    rows = train.to_pylist()
    if thesaurus is None and config.thesaurus is not None:
        texts = [text for row in rows for text in fields_of(task, row)]
        thesaurus = open_thesaurus(config.thesaurus, texts, seed, config.language, home)
    protected = frozenset(word.lower() for word in config.protected)
    rules = Rules(config.language, config.keep_negations, protected, config.min_words, _lower_case(task, rows))
    drafter = Drafter(task, rows, rules, seed, thesaurus, substitute, translate)
    judge = _Judge(config, task, rows, forbidden)
    for number, method in enumerate(config.methods):
        for copy in range(method.copies):
            judge.take(method.type, drafter.drafts(method, number, copy))
    copies = judge.within_share(config.max_share, seed)
    return Augmented(_table(train, rows, copies), judge.report(copies, seed))


class _Judge:
    """Takes drafts, keeps those that may stay, and counts why the others may not."""

    def __init__(self, config: AugmentConfig, task: Task, rows: Sequence[Row], forbidden: Iterable[pa.Table]) -> None:
        self._task, self._rows, self._limit = task, rows, config.label_guard
        held_out = (fields_of(task, row) for table in forbidden for row in table.to_pylist())
        self._held_out = TextIndex(held_out, config.near)
        self._seen = {normalised_all(fields_of(task, row)) for row in rows}
        self._guard = _guard(task, rows) if config.label_guard is not None else None
        self._copies: list[_Copy] = []
        self._dropped: dict[str, Counter[str]] = {method.type: Counter() for method in config.methods}

    def take(self, method: str, drafts: Sequence[Draft]) -> None:
        copies = [(draft, self._rows[draft.row] | dict(draft.values)) for draft in drafts]
        doubtful = self._doubtful(copies) if method not in UNGUARDED else [False] * len(copies)
        for (draft, values), is_doubtful in zip(copies, doubtful, strict=True):
            reason = draft.reason or self._fault(draft, values) or ("label_in_doubt" if is_doubtful else "")
            if reason:
                self._dropped[method][reason] += 1
            else:
                self._seen.add(normalised_all(fields_of(self._task, values)))
                self._copies.append(_Copy(draft.row, values, method))

    def within_share(self, share: float, seed: int) -> list[_Copy]:
        """The copies in the order of their examples, some at random left out if they are too many."""
        most = int(share / (1 - share) * len(self._rows) + 1e-9)
        kept = list(range(len(self._copies)))
        if len(self._copies) > most:
            chosen = np.random.default_rng([seed, len(self._copies)]).choice(len(kept), most, replace=False)
            for i in sorted(set(kept) - set(chosen.tolist())):
                self._dropped[self._copies[i].method]["over_share"] += 1
            kept = sorted(chosen.tolist())
        return sorted((self._copies[i] for i in kept), key=lambda copy: copy.row)

    def report(self, copies: Sequence[_Copy], seed: int) -> AugmentReport:
        kept = Counter(copy.method for copy in copies)
        methods = list(self._dropped)
        shown = [
            each
            for method in methods
            for each in [c for c in copies if c.method == method][: -(-SHOWN // len(methods))]
        ]
        examples = tuple(
            BeforeAfter(
                id=self._rows[copy.row]["id"],
                method=copy.method,
                before=self._changed_text(copy, self._rows[copy.row]),
                after=self._changed_text(copy, copy.values),
            )
            for copy in shown[:SHOWN]
        )
        return AugmentReport(
            originals=len(self._rows),
            kept={method: kept[method] for method in methods},
            dropped=counted(self._dropped),
            examples=examples,
            seed=seed,
        )

    def _changed_text(self, copy: _Copy, row: Row) -> str:
        """The texts in which the copy and its example differ, as `row` has them."""
        pairs = zip(fields_of(self._task, self._rows[copy.row]), fields_of(self._task, copy.values), strict=True)
        return " | ".join(
            text for text, (old, new) in zip(fields_of(self._task, row), pairs, strict=True) if old != new
        )

    def _fault(self, draft: Draft, values: Row) -> str:
        before, after = fields_of(self._task, self._rows[draft.row]), fields_of(self._task, values)
        if before == after:
            return "unchanged"
        key = normalised_all(after)
        if any(old.strip() and not new for old, new in zip(before, key, strict=True)):
            return "empty"
        if key in self._seen:
            return "duplicate"
        found = self._held_out.find(after)
        return {"equal": "equals_held_out", "near": "near_held_out"}[found] if found else ""

    def _doubtful(self, copies: Sequence[tuple[Draft, Row]]) -> list[bool]:
        if self._guard is None or self._limit is None:
            return [False] * len(copies)
        before = [self._rows[draft.row] for draft, _ in copies]
        texts = [row["text"] for row in before], [values["text"] for _, values in copies]
        return [fall > self._limit for fall in self._guard.fall(*texts, [row["label"] for row in before])]


def _guard(task: Task, rows: Sequence[Row]) -> LabelGuard | None:
    """For sequence tasks with one class: of a pair's words alone, nothing follows."""
    labels = [row["label"] for row in rows] if isinstance(task, SequenceTask) and task.type == "sequence" else []
    if not labels or getattr(task, "kind", "") != "single" or None in labels or len(set(labels)) < 2:
        return None
    texts = [row["text"] for row in rows]
    return LabelGuard(texts, labels) if any(normalised_all(texts)) else None


def _lower_case(task: Task, rows: Sequence[Row]) -> frozenset[str]:
    words = (word for row in rows for text in fields_of(task, row) for word in words_of(text))
    return frozenset(word for word in words if word.islower())


def _check(task: Task, train: pa.Table) -> None:
    missing = [name for name in required(task) if name not in train.column_names]
    if missing:
        raise AugmentError(f"a {task.type} table needs columns {missing}; it has {train.column_names}")
    if "augmented_from" in train.column_names:
        raise AugmentError(
            "the training side holds changed copies already (column augmented_from): start from the original"
        )


def _table(train: pa.Table, rows: Sequence[Row], copies: Sequence[_Copy]) -> pa.Table:
    numbers: Counter[int] = Counter()
    new: list[dict[str, Any]] = []
    taken = {row["id"] for row in rows}
    for copy in copies:
        numbers[copy.row] += 1
        id = _COPY.format(id=rows[copy.row]["id"], number=numbers[copy.row])
        if id in taken:
            raise AugmentError(f"the id {id!r} of a copy is an example's already: rename that example")
        new.append(copy.values | {"id": id})
    schema = train.schema
    table = pa.concat_tables([train, pa.Table.from_pylist(new, schema=schema)]) if new else train
    sources = [None] * len(rows) + [rows[copy.row]["id"] for copy in copies]
    methods = [None] * len(rows) + [copy.method for copy in copies]
    table = table.append_column("augmented_from", pa.array(sources, pa.string()))
    return table.append_column("augmented_by", pa.array(methods, pa.string()))
