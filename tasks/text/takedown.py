"""The list of what must not be in a corpus, because somebody asked: addresses, patterns of addresses, documents."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import FileLock

from bert_core.files import write_atomically
from tasks.text.documents import CorpusError
from tasks.text.web.urls import normalise_url

TARGETS = ("url", "pattern", "id")
_FIELDS = (*TARGETS, "why", "who", "at")
_LOCK_TIMEOUT_S = 60


@dataclass(frozen=True)
class Takedown:
    """A list that was read. A list of 100,000 addresses is asked as fast as one of ten."""

    urls: frozenset[str] = frozenset()
    """Normalised."""
    ids: frozenset[str] = frozenset()
    patterns: tuple[re.Pattern[str], ...] = ()
    _any: re.Pattern[str] | None = field(default=None, compare=False, repr=False)

    @staticmethod
    def load(path: Path) -> Takedown:
        """Read JSON lines of {"url" | "pattern" | "id": ..., "why": ..., "who": ..., "at": ...}; no file, no entries.

        A pattern is a regular expression that may match anywhere in an address (`re.search`).

        Raises:
            CorpusError: a line is no such object; names the file, the line and what is legal. A list that cannot be
                read in full stops the run: to leave a wish out silently would be worse.
        """
        found: dict[str, list[str]] = {target: [] for target in TARGETS}
        for where, entry in _entries(path):
            target, value = _target(entry, where)
            found[target].append(value)
        either = "|".join(f"(?:{pattern})" for pattern in found["pattern"])
        return Takedown(
            urls=frozenset(found["url"]),
            ids=frozenset(found["id"]),
            patterns=tuple(map(re.compile, found["pattern"])),
            _any=_compiled(either),
        )

    def refusal(self, url: str, id: str = "") -> str:
        """Why a document must go: "takedown: url", "takedown: id" or "takedown: pattern"; "" = it may stay."""
        if id and id in self.ids:
            return "takedown: id"
        if self.urls and (url in self.urls or _normal(url) in self.urls):
            return "takedown: url"
        if self._any is not None:
            return "takedown: pattern" if self._any.search(url) else ""
        return "takedown: pattern" if any(pattern.search(url) for pattern in self.patterns) else ""


def append(path: Path, entry: Mapping[str, str]) -> None:
    """Add an entry, unless the list has the very same one. After a crash the list is the old one or the new one.

    Two processes may append at once; each waits for the other, up to 60 s.

    Raises:
        CorpusError: the entry is not what `Takedown.load` reads.
        filelock.Timeout: another process holds the list.
    """
    _target(entry, "takedown entry")
    line = json.dumps(dict(entry), sort_keys=True, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock"), timeout=_LOCK_TIMEOUT_S):
        lines = path.read_text("utf-8").splitlines() if path.exists() else []
        if line not in lines:
            write_atomically(path, "".join(f"{each}\n" for each in [*lines, line]).encode())


def _entries(path: Path) -> Iterator[tuple[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        try:
            yield where, json.loads(line)
        except ValueError as error:  # broken JSON, or no UTF-8
            raise CorpusError(f"{where}: no JSON object ({error}): {line[:80]!r}") from None


def _target(entry: Any, where: str) -> tuple[str, str]:
    """Which of the three an entry names, and its value, an address in its normal form."""
    if not isinstance(entry, Mapping) or not all(isinstance(value, str) for value in entry.values()):
        raise CorpusError(f"{where}: an object of texts is needed, not {str(entry)[:80]}")
    if unknown := sorted(set(entry) - set(_FIELDS)):
        raise CorpusError(f"{where}: unknown fields {unknown}; legal are {list(_FIELDS)}")
    targets = [target for target in TARGETS if entry.get(target)]
    if len(targets) != 1:
        raise CorpusError(f"{where}: exactly one of {list(TARGETS)} is needed; it has {targets or 'none'}")
    (target,) = targets
    value = entry[target]
    if target == "url":
        return target, _normal(value)
    if target == "pattern":
        try:
            re.compile(value)
        except re.error as error:
            raise CorpusError(f"{where}: {value!r} is no regular expression: {error}") from None
    return target, value


def _normal(url: str) -> str:
    """The address as a crawl knows it; what is no web address (`package!path`, `path:line`) as it stands."""
    return normalise_url(url) or url


def _compiled(either: str) -> re.Pattern[str] | None:
    """All patterns in one, which is faster than one after the other; None where they cannot be joined."""
    try:
        return re.compile(either) if either else None
    except re.error:  # two patterns that name the same group, or a global flag in the middle
        return None
