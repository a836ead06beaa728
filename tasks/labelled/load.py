"""The one way in: files to checked sides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from bert_core.config import Task
from bert_core.tokenizer import Tokenizer
from tasks.config.data import DataConfig
from tasks.labelled import duplicates
from tasks.labelled.checks import can_contradict, character_lengths, findings, label_rows, targets
from tasks.labelled.formats import find_sides
from tasks.labelled.ledger import SIDES, FileAccount, LabelledDataError, Ledger
from tasks.labelled.reading import FileRows, canonical_table, read_files, with_distinct_ids
from tasks.labelled.report import DataReport, FileRow, Finding
from tasks.labelled.schema import description, settled, with_labels, without_unnamed, without_unseen
from tasks.labelled.similar import likeness
from tasks.labelled.splitting import Split, sample, split
from tasks.labelled.token_checks import token_lengths

BEYOND_SAMPLE = "beyond the sample"


@dataclass(frozen=True)
class LabelledData:
    """Examples of a task, ready to be trained on and judged by."""

    sides: dict[str, pa.Table]
    """train, validation and test, each with `id`, the canonical columns of the task's type, the kept columns of the
    files, and `origin` (file:row)."""
    task: Task
    """With labels, kind, scheme and no_answer filled in."""
    report: DataReport
    rejects: pa.Table
    """One row for each dropped record: id, side, file, row, reason, detail, the beginning of its text."""
    accounts: dict[str, FileAccount]
    """By file: seen = kept + dropped."""


def load_dataset(
    config: DataConfig,
    task: Task,
    *,
    home: Path,
    seed: int,
    tokenizer: Tokenizer | None = None,
    max_tokens: int = 512,
) -> LabelledData:
    """Read, resolve the labels, split what is not split, take away what leaks, and check. The same every time.

    Args:
        home: what the paths of the config are relative to.
        seed: of the split and of samples.
        tokenizer: adds the checks of lengths in tokens (against `max_tokens`) and of unknown words.

    Raises:
        CorpusError: a file is not there.
        LabelledDataError: a file cannot be read or lacks a column, no example is left, a side is empty, labels are
            unseen in training, or there is one class only; each says where, what was found, and what to do.
    """
    ledger = Ledger()
    files = {side: read_files(config, task, names, home) for side, names in find_sides(config, home).items()}
    task, inferred = settled(config, task, files["train"])
    missing = [side for side in ("validation", "test") if side not in files]
    tables = _sides_as_given(config, task, files, missing, ledger)
    whole = pa.concat_tables(tables.values(), promote_options="permissive")
    sides = [side for side, table in tables.items() for _ in range(table.num_rows)]
    alike = likeness(config, task, whole)
    notes: list[Finding] = []
    if missing:
        rows = tables["train"].num_rows  # which come first in `whole`
        result = split(config, task, tables["train"], alike.first(rows), missing, seed)
        sides[:rows] = result.sides
        notes.append(_split_off(missing, result, rows))
    found = duplicates.find(
        config, sides, whole["id"].to_pylist(), targets(task, whole), alike, contradict=can_contradict(task)
    )
    parts = _parted(whole, sides, found.verdicts, ledger)
    task, more = with_labels(task, parts["train"])
    parts = {
        side: table if side == "train" else without_unseen(config, task, side, table, ledger)
        for side, table in parts.items()
    }
    parts = _sampled(config, parts, seed, ledger)
    lengths = character_lengths(task, parts)
    notes += findings(config, task, parts, found, whole, ledger)
    if tokenizer is not None:
        in_tokens, wrong = token_lengths(task, parts, tokenizer, max_tokens)
        lengths, notes = (*lengths, *in_tokens), [*notes, *wrong]
    report = DataReport(
        task=task,
        description=description(task),
        inferred=(*inferred, *more),
        sides={side: table.num_rows for side, table in parts.items()},
        labels=label_rows(task, parts),
        lengths=lengths,
        files=tuple(_file_row(account) for account in ledger.accounts.values()),
        findings=tuple(notes),
    )
    _check_balance(ledger, parts)
    return LabelledData(parts, task, report, ledger.rejects(), ledger.accounts)


def _sides_as_given(
    config: DataConfig, task: Task, files: Mapping[str, list[FileRows]], missing: Sequence[str], ledger: Ledger
) -> dict[str, pa.Table]:
    """The tables of the files in the form of the task; what will be split is named as no side yet."""
    tables = {}
    for side in files:
        name = None if side == "train" and missing else side
        table = canonical_table(config, task, name, files[side], ledger)
        tables[side] = without_unnamed(config, task, name, table, ledger)
    tables = with_distinct_ids(tables)
    _check_groups(config, tables["train"])
    return tables


def _split_off(missing: Sequence[str], result: Split, rows: int) -> Finding:
    return Finding(
        check="split",
        severity="warning" if result.largest > rows / 4 else "info",
        message=f"{' and '.join(missing)} split off: {result.components:,} components, the largest of "
        f"{result.largest:,} examples; {result.moved} moved so that each side has each label",
        counts={"components": result.components, "largest": result.largest, "moved": result.moved},
    )


def _check_groups(config: DataConfig, table: pa.Table) -> None:
    if unknown := [name for name in config.group if name not in table.schema.names]:
        raise LabelledDataError(f"data.group = {unknown}: no such column; there are {', '.join(table.schema.names)}")


def _parted(
    whole: pa.Table, sides: Sequence[str], verdicts: duplicates.Verdicts, ledger: Ledger
) -> dict[str, pa.Table]:
    found = {}
    for side in SIDES:
        rows = [row for row, each in enumerate(sides) if each == side]
        found[side] = ledger.keep(whole.take(rows), [verdicts[row] for row in rows], side)
        if not found[side].num_rows:
            raise LabelledDataError(
                f"{side}: none of {len(rows):,} examples is left once duplicates are dropped. "
                f"{ledger.explained(ledger.accounts)}; data.duplicates = 'keep' only reports them"
            )
    return found


def _sampled(config: DataConfig, sides: Mapping[str, pa.Table], seed: int, ledger: Ledger) -> dict[str, pa.Table]:
    most = {"train": config.max_train, "validation": config.max_validation, "test": config.max_test}
    found = {}
    for side, table in sides.items():
        size = most[side]
        if size is not None and table.num_rows > size:
            chosen = set(sample(table["id"].to_pylist(), size, seed))
            verdict = (BEYOND_SAMPLE, f"max_{side} = {size}")
            table = ledger.keep(table, [None if row in chosen else verdict for row in range(table.num_rows)], side)
        found[side] = table
    return found


def _file_row(account: FileAccount) -> FileRow:
    return FileRow(
        file=account.file,
        seen=account.seen,
        kept=account.kept,
        dropped=dict(account.dropped.most_common()),
        repaired=dict(account.repaired.most_common()),
    )


def _check_balance(ledger: Ledger, sides: Mapping[str, pa.Table]) -> None:
    kept, counted = sum(table.num_rows for table in sides.values()), sum(a.kept for a in ledger.accounts.values())
    assert kept == counted, f"{kept} examples are kept, and {counted} were not dropped"
