"""Files to canonical tables: every record is kept, or dropped with its reason."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from bert_core.config import Task
from tasks.config.data import DataConfig
from tasks.labelled.canonical import Converter, converter, required_columns, schema_of
from tasks.labelled.formats import Row, read_rows
from tasks.labelled.ledger import LabelledDataError, Ledger, shown
from tasks.labelled.values import Reject

SAME_ID = "id that another example has"
ORIGIN = "origin"
"""Column `file:row`: where an example comes from."""
_COMPACT = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class FileRows:
    """A file's records as they are."""

    file: str
    rows: list[Row]

    def column(self, name: str) -> Iterator[Any]:
        """Values, of the rows that have it."""
        return (row.values[name] for row in self.rows if not row.problem and name in row.values)


def read_files(config: DataConfig, task: Task, files: Sequence[str], home: Path) -> list[FileRows]:
    """The records of some files.

    Raises:
        LabelledDataError: a file cannot be read, or lacks a column that the task needs.
    """
    found = []
    for file in files:
        rows = list(read_rows(config, file, home))
        _check_columns(file, rows, [*required_columns(config, task), *config.kept_columns])
        found.append(FileRows(file, rows))
    return found


def canonical_table(
    config: DataConfig, task: Task, side: str | None, files: Sequence[FileRows], ledger: Ledger
) -> pa.Table:
    """`id`, the canonical columns, the kept ones, and `origin`.

    An id is the file's own, where it has a column for it; otherwise a hash of the example (and a number, where the same
    one comes again): it does not depend on where in which file an example stands.

    Raises:
        LabelledDataError: nothing was kept; says why.
    """
    convert = converter(config, task)
    examples: list[dict[str, Any]] = []
    for each in files:
        account = ledger.account(each.file)
        account.seen += len(each.rows)
        for example, repaired in _converted(config, convert, side, each, ledger):
            account.repaired.update(repaired)
            examples.append(example)
    schema = schema_of(task)
    _name(examples, schema.names)
    kept = {name: _column([each[name] for each in examples]) for name in config.kept_columns}
    table = pa.table(
        {
            "id": pa.array([each["id"] for each in examples], pa.string()),
            **{field.name: pa.array([each[field.name] for each in examples], field.type) for field in schema},
            **kept,
            ORIGIN: pa.array([each[ORIGIN] for each in examples], pa.string()),
        }
    )
    table = _without_same_ids(table, side, ledger)
    if not table.num_rows:
        names = [each.file for each in files]
        raise LabelledDataError(
            f"{', '.join(names)}: no example left of {sum(len(each.rows) for each in files)}. "
            f"{ledger.explained(names) or 'The files are empty'}"
        )
    return table


def with_distinct_ids(sides: Mapping[str, pa.Table]) -> dict[str, pa.Table]:
    """The same, with `<side>-` before all ids if two sides have one in common, as where each is numbered from 0."""
    counts = Counter(id for table in sides.values() for id in table["id"].to_pylist())
    if max(counts.values(), default=0) < 2:
        return dict(sides)
    return {
        side: table.set_column(0, "id", pc.binary_join_element_wise(side, table["id"], "-"))
        for side, table in sides.items()
    }


def content_hash(values: Iterable[Any]) -> str:
    """16 hexadecimal digits."""
    return hashlib.sha256(_COMPACT.encode(list(values)).encode()).hexdigest()[:16]


def _converted(
    config: DataConfig, convert: Converter, side: str | None, file: FileRows, ledger: Ledger
) -> Iterator[tuple[dict[str, Any], list[str]]]:
    id_column, kept = config.column("id"), config.kept_columns
    for row in file.rows:
        try:
            if row.problem:
                raise Reject(row.problem, row.detail)
            example, repaired = convert(row.values)
        except Reject as reject:
            ledger.drop(file.file, row.number, reject.reason, reject.detail, _beginning(config, row), side=side)
            continue
        stated = row.values.get(id_column)
        example["id"] = str(stated).strip() if isinstance(stated, str | int) else ""
        example[ORIGIN] = f"{file.file}:{row.number}"
        for name in kept:
            example[name] = row.values.get(name)
        yield example, repaired


def _beginning(config: DataConfig, row: Row) -> str:
    names = ("text", "question", "context", "target", "tokens")
    return shown({name: row.values.get(config.column(name)) for name in names})


def _check_columns(file: str, rows: Sequence[Row], names: Sequence[str]) -> None:
    found: dict[str, None] = {}
    for row in rows:
        if not row.problem and row.values.keys() != found.keys():
            found.update(dict.fromkeys(row.values))
    missing = [name for name in dict.fromkeys(names) if name not in found]
    if rows and found and missing:
        raise LabelledDataError(
            f"{file}: no column {', '.join(map(repr, missing))}; it has {', '.join(map(repr, found))}. Say in "
            f'`columns` what ours are called there, for example columns = {{{missing[0]} = "{next(iter(found))}"}}'
        )


def _name(examples: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    before: Counter[str] = Counter()
    for example in examples:
        if not example["id"]:
            key = content_hash(example[name] for name in names)
            before[key] += 1
            example["id"] = key if before[key] == 1 else f"{key}-{before[key]}"


def _without_same_ids(table: pa.Table, side: str | None, ledger: Ledger) -> pa.Table:
    known: dict[str, str] = {}
    verdicts: list[tuple[str, str] | None] = []
    for id, origin in zip(table["id"].to_pylist(), table[ORIGIN].to_pylist(), strict=True):
        first = known.setdefault(id, origin)
        verdicts.append(None if first == origin else (SAME_ID, f"{id!r} is also the id of {first}"))
    return ledger.keep(table, verdicts, side)


def _column(values: list[Any]) -> pa.Array:
    """Of the one type that all values have; otherwise text."""
    types = {type(value) for value in values if value is not None}
    if len(types) == 1 and types <= {str, int, float, bool}:
        return pa.array(values)
    return pa.array([None if _is_absent(value) else _as_text(value) for value in values], pa.string())


def _is_absent(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
