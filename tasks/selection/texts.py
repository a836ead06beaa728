"""Texts without labels: files to a canonical table, and what of it is new."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bert_core.config import PairTask, SequenceTask
from tasks.augment.examples import fields_of
from tasks.augment.leakage import TextIndex, normalised_all
from tasks.config.data import DataConfig
from tasks.labelled.formats import find_sides, read_rows
from tasks.labelled.ledger import LabelledDataError, Ledger
from tasks.labelled.reading import FileRows, canonical_table

REPEAT, KNOWN, HELD_OUT = "repeated text", "labelled already", "equals or nearly equals a validation or test text"


@dataclass(frozen=True)
class Unlabelled:
    """Always `seen == table.num_rows + dropped.total()`."""

    table: pa.Table
    """id, text, of pairs text_b, and origin (file:row)."""
    seen: int
    dropped: Counter[str]


def read_texts(config: DataConfig, task: SequenceTask, home: Path) -> Unlabelled:
    """The texts of the files that `config.train` names; a column of labels may be missing, and is not looked at.

    Raises:
        CorpusError: no such file.
        LabelledDataError: a file cannot be read or lacks a column, or no text is left; says why.
    """
    ledger, label = Ledger(), config.column("label")
    texts = [config.column(name) for name in (("text", "text_b") if isinstance(task, PairTask) else ("text",))]
    files = []
    for file in find_sides(config, home)["train"]:
        rows = list(read_rows(config, file, home))
        found = dict.fromkeys(name for row in rows for name in row.values)
        if found and (missing := [name for name in texts if name not in found]):
            raise LabelledDataError(
                f"{file}: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, found))}. Say in "
                f"`columns` what ours are called there"
            )
        for row in rows:
            row.values[label] = "none"
        files.append(FileRows(file, rows))
    table = canonical_table(config, type(task)(), None, files, ledger).drop_columns(["label"])
    return Unlabelled(table, sum(account.seen for account in ledger.accounts.values()), ledger.dropped())


def without_known(
    task: SequenceTask, table: pa.Table, *, labelled: pa.Table, held_out: Iterable[pa.Table] = (), near: float = 1.0
) -> tuple[pa.Table, Counter[str]]:
    """The texts that come for the first time and are not in `labelled`, nor equal or nearly equal to a text of
    `held_out`; and how many were dropped, by reason."""
    known = {normalised_all(fields_of(task, row)): KNOWN for row in labelled.to_pylist()}
    protected = TextIndex((fields_of(task, row) for side in held_out for row in side.to_pylist()), near)
    kept: list[int] = []
    dropped: Counter[str] = Counter()
    for number, row in enumerate(table.to_pylist()):
        fields = fields_of(task, row)
        key = normalised_all(fields)
        reason = known.get(key) or (HELD_OUT if protected.find(fields) else None)
        if reason:
            dropped[reason] += 1
        else:
            kept.append(number)
            known[key] = REPEAT
    return table.take(pa.array(kept, pa.int64())), dropped
