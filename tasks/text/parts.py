"""Stages that work part by part: any worker, any order, killed anywhere, and the same bytes in the end.

A part is what one item of work writes: some files named after its number, and last a receipt. A stage that is started
again finds the receipts and does what is left. A part that an earlier artifact of the same stage already has, from an
equal item, is linked from there and not made again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bert_core.files import write_json
from tasks.artifacts import ArtifactRef, Draft

RECEIPTS = "receipts"
PARTS = "parts.json"

Progress = Callable[[int, int], None]
"""Told (done, total) as work goes on."""
Item = TypeVar("Item")
Result = TypeVar("Result")


class Workers(Protocol):
    """Runs a function over items, somewhere."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        """(index of the item, result) as they are done, in any order. Function and items pickle.

        Raises:
            whatever the function raised first; what is under way is cancelled.
        """
        ...


class Serial:
    """One after the other in this process: for tests, and for what is too small to be worth more."""

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[tuple[int, Result]]:
        yield from ((index, function(item)) for index, item in enumerate(items))


@dataclass
class Receipt:
    """What a part says of itself. JSON."""

    rows: Counter[str] = field(default_factory=Counter)
    """Row counts, summed over the parts into the manifest's; `seen` and `kept` among them."""
    dropped: Counter[str] = field(default_factory=Counter)
    """Drop counts by reason."""
    facts: dict[str, Any] = field(default_factory=dict)
    """What the stage itself wants to know of a part; not in the manifest."""


@dataclass(frozen=True)
class Part:
    """Where a part is written."""

    folder: Path
    """Of the stage's draft."""
    number: int

    def file(self, name: str, suffix: str = ".parquet") -> Path:
        """`<folder>/<name>/part-00000.parquet`; its folder is made."""
        path = self.folder / name / f"part-{self.number:05d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    @contextmanager
    def writing(self, name: str, suffix: str = ".parquet") -> Iterator[Path]:
        """A temporary path beside `file(name, suffix)`, which takes its place when the block ends without an error.

        Never written in place: the file may be a link that an earlier artifact shares, and a worker that was given up
        for lost may still write the same part.
        """
        path = self.file(name, suffix)
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class _Work:
    make: Callable[[Any, Part], Receipt]
    folder: Path
    keys: tuple[str, ...]

    def __call__(self, numbered: tuple[int, Any]) -> Receipt:
        number, item = numbered
        receipt = self.make(item, Part(self.folder, number))
        write_json(
            _receipt_path(self.folder, number),
            {"key": self.keys[number], "rows": receipt.rows, "dropped": receipt.dropped, "facts": receipt.facts},
        )
        return receipt


def build_parts(
    items: Sequence[Any],
    keys: Sequence[str],
    make: Callable[[Any, Part], Receipt],
    out: Draft,
    workers: Workers,
    progress: Progress,
    *,
    folders: Sequence[str],
    previous: ArtifactRef | None = None,
) -> list[Receipt]:
    """Make a part of every item; returns their receipts in the items' order and adds their counts to `out`.

    Args:
        items: what `make` gets, with the part that it has to write; both pickle.
        keys: what decides an item's part (content, config, code); an equal key means an equal part.
        make: a function of the item alone. May run twice for one item; the later run overwrites the same files.
        folders: what `make` writes into, for linking.
        previous: an earlier artifact of this stage, to take equal parts from.
    """
    (out.path / RECEIPTS).mkdir(parents=True, exist_ok=True)
    receipts = _found(out.path, keys)
    reused = _link(previous, keys, receipts, out.path, folders)
    out.volatile.add(PARTS)
    waiting = [(number, item) for number, item in enumerate(items) if number not in receipts]
    progress(len(receipts), len(items))
    for index, receipt in workers.map(_Work(make, out.path, tuple(keys)), waiting):
        receipts[waiting[index][0]] = receipt
        progress(len(receipts), len(items))
    ordered = [receipts[number] for number in range(len(items))]
    _discard_strangers(out.path, folders, len(items))
    out.rows |= {"seen": 0, "kept": 0} | out.rows
    for receipt in ordered:
        for name, count in receipt.rows.items():
            out.rows[name] = out.rows.get(name, 0) + count
        for reason, count in receipt.dropped.items():
            out.drop(reason, count)
    if previous is not None:
        out.facts["parts_reused"] = reused
    write_json(out.path / PARTS, [vars(receipt) | {"key": key} for receipt, key in zip(ordered, keys, strict=True)])
    shutil.rmtree(out.path / RECEIPTS)
    return ordered


def part_files(folder: Path) -> list[Path]:
    """The files of all parts, in their order."""
    return sorted(folder.glob("part-*"))


def _receipt_path(folder: Path, number: int) -> Path:
    return folder / RECEIPTS / f"part-{number:05d}.json"


def _receipt(entry: dict[str, Any]) -> Receipt:
    return Receipt(Counter(entry["rows"]), Counter(entry["dropped"]), entry["facts"])


def _found(folder: Path, keys: Sequence[str]) -> dict[int, Receipt]:
    """Parts that an earlier, killed attempt finished."""
    found = {}
    for number, key in enumerate(keys):
        path = _receipt_path(folder, number)
        if path.exists() and (entry := json.loads(path.read_text("utf-8")))["key"] == key:
            found[number] = _receipt(entry)
    return found


def _link(
    previous: ArtifactRef | None, keys: Sequence[str], done: dict[int, Receipt], folder: Path, folders: Sequence[str]
) -> int:
    """Take over parts with equal keys as hard links (copies, where the file system has none)."""
    if previous is None or not (previous / PARTS).exists():
        return 0
    entries = json.loads((previous / PARTS).read_text("utf-8"))
    known = {entry["key"]: number for number, entry in enumerate(entries)}
    count = 0
    for number, key in enumerate(keys):
        if number in done or key not in known:
            continue
        for name in folders:
            for source in (previous / name).glob(f"part-{known[key]:05d}.*"):
                target = Part(folder, number).file(name, "".join(source.suffixes))
                target.unlink(missing_ok=True)
                try:
                    os.link(source, target)
                except OSError:
                    shutil.copyfile(source, target)
        done[number] = _receipt(entries[known[key]])
        count += 1
    return count


def _discard_strangers(folder: Path, folders: Sequence[str], count: int) -> None:
    """Parts of an attempt over more items, and torn temporary files."""
    for name in folders:
        for path in (folder / name).glob("*"):
            stem = path.name.split(".")[0]
            if not (stem.startswith("part-") and stem[5:].isdigit() and int(stem[5:]) < count):
                path.unlink()
