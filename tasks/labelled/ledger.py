"""What became of every example: kept, or dropped with its reason. Nothing disappears silently."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from tasks.text.documents import CorpusError

SIDES = ("train", "validation", "test")
HEAD_CHARACTERS = 200
REJECTS_SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # null: dropped before it had one
        ("side", pa.string()),  # null: dropped before it was split off
        ("file", pa.string()),
        ("row", pa.int64()),  # of a table from 1, of text files the line
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("text", pa.string()),  # its beginning
    ]
)


class LabelledDataError(CorpusError):
    """Files that are no labelled data for the task; the message names file, row, value, what is legal, what to do."""


@dataclass
class FileAccount:
    """One file. Always `seen == kept + sum(dropped.values())`."""

    file: str
    seen: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    repaired: Counter[str] = field(default_factory=Counter)

    @property
    def kept(self) -> int:
        return self.seen - self.dropped.total()


@dataclass
class Ledger:
    """Counts of every file, and the rejects."""

    accounts: dict[str, FileAccount] = field(default_factory=dict)
    _rejects: list[tuple[str | None, str | None, str, int, str, str, str]] = field(default_factory=list)
    _examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def account(self, file: str) -> FileAccount:
        return self.accounts.setdefault(file, FileAccount(file))

    def drop(
        self,
        file: str,
        row: int,
        reason: str,
        detail: str,
        text: str,
        *,
        id: str | None = None,
        side: str | None = None,
    ) -> None:
        """Count it, and keep the beginning of its text."""
        self.account(file).dropped[reason] += 1
        self._rejects.append((id, side, file, row, reason, _printable(detail), _printable(text)))
        if len(self._examples[reason]) < 3:
            self._examples[reason].append(f"{file}:{row}" + (f": {_printable(detail)}" if detail else ""))

    def dropped(self) -> Counter[str]:
        """By reason, over all files."""
        return sum((each.dropped for each in self.accounts.values()), Counter[str]())

    def repaired(self) -> Counter[str]:
        return sum((each.repaired for each in self.accounts.values()), Counter[str]())

    def examples(self, reason: str) -> list[str]:
        """Where the first three were, and what was wrong."""
        return self._examples[reason]

    def explained(self, files: Iterable[str]) -> str:
        """The reasons for which examples of these files were dropped, with counts and the first of each."""
        total = sum((self.accounts[file].dropped for file in files if file in self.accounts), Counter[str]())
        return "; ".join(
            f"{reason}: {count} (first {self.examples(reason)[0]})" for reason, count in total.most_common()
        )

    def rejects(self) -> pa.Table:
        columns = list(zip(*self._rejects, strict=True)) or [()] * len(REJECTS_SCHEMA)
        arrays = [pa.array(values, kind.type) for values, kind in zip(columns, REJECTS_SCHEMA, strict=True)]
        return pa.table(arrays, schema=REJECTS_SCHEMA)

    def keep(
        self,
        table: pa.Table,
        verdicts: Sequence[tuple[str, str] | None],
        side: str | None,
    ) -> pa.Table:
        """The rows without a verdict; the others go, each with its (reason, detail)."""
        gone = [index for index, verdict in enumerate(verdicts) if verdict is not None]
        if not gone:
            return table
        for index, row in zip(gone, table.take(gone).to_pylist(), strict=True):
            verdict = verdicts[index]
            assert verdict is not None
            file, number = row["origin"].rsplit(":", 1)
            self.drop(file, int(number), *verdict, shown(row), id=row["id"], side=side)
        return table.filter(pa.array([verdict is None for verdict in verdicts]))


def shown(row: dict[str, object]) -> str:
    """The beginning of what a reader knows an example by."""
    for name in ("text", "question", "context", "target"):
        if isinstance(value := row.get(name), str) and value.strip():
            return value[:HEAD_CHARACTERS]
    tokens = row.get("tokens")
    return " ".join(map(str, tokens[:HEAD_CHARACTERS])) if isinstance(tokens, list) else ""


def _printable(text: str) -> str:
    return text[:HEAD_CHARACTERS].encode("utf-8", "replace").decode("utf-8")
