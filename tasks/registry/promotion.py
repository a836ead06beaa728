"""Move @champion, and say afterwards who was champion when, and why.

The alias is the truth, and the log its account. A move writes its intent, moves the aliases, writes its outcome;
setting @champion is the one step that counts. Whoever comes next settles what a killed process left: if @champion was
moved, the rest of the move is done; if not, the move is abandoned and the aliases are as if it had never begun.

After a rollback @previous is the version that was rolled back from, so that a second rollback takes the first one back.
"""

from __future__ import annotations

import getpass
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from tasks.registry import log
from tasks.registry.log import Entry
from tasks.registry.server import RegistryError, RegistryUnreachable
from tasks.registry.versions import Aliases, aliases, get, set_alias

Step = Callable[[str], None]


def promote(
    model_name: str,
    version: str,
    *,
    why: str,
    who: str | None = None,
    evidence: dict[str, Any] | None = None,
    on_step: Step = lambda name: None,
    timeout_s: float = log.LOCK_TIMEOUT_S,
) -> Entry:
    """Make `version` the champion; the old one becomes @previous, and @candidate goes if it was this version.

    Promoting the champion changes nothing and writes nothing: the entry's phase is then `unchanged`.

    Args:
        evidence: JSON that the decision rests on, for example `Verdict.evidence()`.
        on_step: called with the name of each step once it is done.
        timeout_s: how long to wait for another promotion of this model.

    Raises:
        RegistryError: no such version; the lock stays taken; the log is broken; the server does not answer.
    """
    who = who or whoami()
    with log.exclusive(model_name, who, timeout_s=timeout_s):
        now = _settle(model_name)
        get(model_name, version)
        if now.champion == version:
            return _unchanged(model_name, version, who, why)
        return _move(model_name, "promote", version, now, who, why, evidence or {}, on_step)


def rollback(
    model_name: str,
    *,
    why: str,
    who: str | None = None,
    on_step: Step = lambda name: None,
    timeout_s: float = log.LOCK_TIMEOUT_S,
) -> Entry:
    """Make @previous the champion again; the two swap places.

    Raises:
        RegistryError: as `promote`, or there is no @previous to go back to.
    """
    who = who or whoami()
    with log.exclusive(model_name, who, timeout_s=timeout_s):
        now = _settle(model_name)
        if now.previous is None or now.previous == now.champion:
            champion = f"version {now.champion} is its champion" if now.champion else "it has no champion"
            raise RegistryError(
                f"{model_name}: nothing to roll back to: {champion}, and no version has the alias @previous"
            )
        get(model_name, now.previous)
        return _move(model_name, "rollback", now.previous, now, who, why, {}, on_step)


def record_refusal(
    model_name: str,
    version: str,
    *,
    why: str,
    who: str | None = None,
    evidence: dict[str, Any] | None = None,
    timeout_s: float = log.LOCK_TIMEOUT_S,
) -> Entry:
    """Write down that the gate refused `version`, once: a rerun that refuses it for the same reason gets that entry."""
    who = who or whoami()
    with log.exclusive(model_name, who, timeout_s=timeout_s):
        now = _settle(model_name)
        known = [e for e in log.read(model_name).entries if e.version == version and e.why == why]
        if known and known[-1].action == "refuse" and known[-1].previous == now.champion:
            return known[-1]
        return log.append(
            model_name, who=who, action="refuse", phase="done", version=version, previous=now.champion, why=why,
            evidence=evidence or {},
        )  # fmt: skip


@dataclass(frozen=True)
class Reign:
    """A version's time as champion."""

    version: str | None
    """None: the alias was taken away."""
    since: datetime
    until: datetime | None
    entry: Entry

    def covers(self, at: datetime) -> bool:
        return self.since <= at and (self.until is None or at < self.until)


@dataclass(frozen=True)
class History:
    model: str
    reigns: tuple[Reign, ...]
    """Oldest first."""
    refusals: tuple[Entry, ...]
    notes: tuple[str, ...] = field(default=())
    """Where log and registry do not (yet) say the same, in words."""


def history(model_name: str, at: datetime | None = None) -> History:
    """Who was champion when, and why; only the reign that covers `at` if that is given. It reads, and changes nothing.

    Raises:
        LogError: the log was changed by hand.
    """
    record = log.read(model_name)
    notes = []
    if record.torn:
        notes.append(f"the log's last {len(record.torn)} bytes are a torn line; the next promotion cuts them off")
    entries = list(record.entries)
    try:
        now = aliases(model_name, timeout_s=10)
    except RegistryUnreachable as error:
        notes.append(f"from the log alone: {error}")
    else:
        entries, more = _as_it_is(record, now)
        notes += more
    reigns = _reigns(entries)
    refusals = tuple(entry for entry in entries if entry.action == "refuse")
    if at is not None:
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        reigns = [reign for reign in reigns if reign.covers(at)]
        refusals = ()
    return History(model_name, tuple(reigns), refusals, tuple(notes))


def whoami() -> str:
    return f"{getpass.getuser()}@{socket.gethostname()}"


def _move(
    model: str, action: str, version: str, now: Aliases, who: str, why: str, evidence: dict[str, Any], on_step: Step
) -> Entry:
    intent = log.append(
        model, who=who, action=action, phase="intent", version=version, previous=now.champion,
        former_previous=now.previous, why=why, evidence=evidence,
    )  # fmt: skip
    on_step("intent written")
    set_alias(model, "previous", now.champion)
    on_step("previous moved")
    set_alias(model, "champion", version)
    on_step("champion moved")
    if now.candidate == version:
        set_alias(model, "candidate", None)
    on_step("candidate dropped")
    return _conclude(intent, "done")


def _settle(model: str) -> Aliases:
    """Finish or undo what a killed process left, write down what others did; return the aliases as they then are."""
    now = aliases(model)
    intent = log.read(model).pending
    if intent is not None and now.champion == intent.version:
        set_alias(model, "previous", intent.previous)
        if now.candidate == intent.version:
            set_alias(model, "candidate", None)
        _conclude(intent, "done")
    elif intent is not None:
        set_alias(model, "previous", intent.former_previous)
        _conclude(intent, "abandoned")
    known = log.read(model).champion
    if known != now.champion:
        log.append(
            model, who="unknown", action="observe", phase="done", version=now.champion, previous=known,
            why="the alias @champion was moved by other means than this log",
        )  # fmt: skip
    return aliases(model)


def _conclude(intent: Entry, phase: str) -> Entry:
    kept = intent.model_dump(include={"who", "action", "version", "previous", "former_previous", "why", "evidence"})
    return log.append(intent.model, phase=phase, **kept)


def _unchanged(model: str, version: str, who: str, why: str) -> Entry:
    return Entry(
        seq=0, at=datetime.now(UTC).isoformat(timespec="milliseconds"), who=who, action="promote", phase="unchanged",
        model=model, version=version, previous=version, why=why, prev_sha256=log.GENESIS,
    )  # fmt: skip


def _as_it_is(record: log.Log, now: Aliases) -> tuple[list[Entry], list[str]]:
    """The log's entries with what the aliases add to them, and notes that say what was added."""
    entries, notes, known = list(record.entries), [], record.champion
    intent = record.pending
    if intent is not None and now.champion == intent.version:
        entries.append(intent.model_copy(update={"phase": "done"}))
        known = intent.version
        notes.append(f"version {intent.version}: its {intent.action} took effect, and its outcome is not written yet")
    elif intent is not None:
        notes.append(f"version {intent.version}: its {intent.action} of {intent.at} was begun and has not taken effect")
    if known != now.champion:
        notes.append(
            f"the registry's @champion is {_named(now.champion)}, and the log's is {_named(known)}: "
            "it was moved by other means, or the log's end was cut off"
        )
    return entries, notes


def _reigns(entries: list[Entry]) -> list[Reign]:
    starts: list[tuple[datetime, Entry]] = []
    intent: Entry | None = None
    for entry in entries:
        if entry.phase == "intent":
            intent = entry
        elif entry.changed:  # the alias moved right after its intent, however late the outcome was written
            moved = intent if intent is not None and entry.action == intent.action else entry
            starts.append((datetime.fromisoformat(moved.at), entry))
        intent = intent if entry.phase == "intent" else None
    ends = [*(since for since, _ in starts[1:]), None]
    return [Reign(entry.version, since, until, entry) for (since, entry), until in zip(starts, ends, strict=False)]


def _named(version: str | None) -> str:
    return f"version {version}" if version else "nobody"
