"""May this corpus be trusted? Each check has a figure and says what would need attention."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tasks.text.look.model import CorpusLook, StageLook
from tasks.text.look.wording import language, number, plural, share
from tasks.text.web.urls import EXCLUDED, NOT_INCLUDED

Mark = Literal["pass", "attention", "unknown"]

BY_RECIPE = (EXCLUDED, NOT_INCLUDED)
MAX_FAILED_PAGES = 0.05
MAX_DUPLICATES = 0.5
MAX_REASON = 0.5
MAX_HOST = 0.5
MAX_UNKNOWN_TOKENS = 0.01
MAX_UNKNOWN_LANGUAGE = 0.05


@dataclass(frozen=True)
class Check:
    mark: Mark
    title: str
    figure: str
    """What was found, in a line."""
    rule: str
    """When it asks for attention."""
    details: tuple[str, ...] = ()
    place: str = ""
    """The section of the page that shows more."""


def checks(look: CorpusLook) -> tuple[Check, ...]:
    """All checks, in the order in which a person asks."""
    return (
        _accounted(look),
        _handed_on(look),
        _lineage(look),
        _fetched(look),
        _reasons(look),
        _duplicates(look),
        _hosts(look),
        _languages(look),
        _personal_data(look),
        _leaks(look),
        _sides(look),
        _vocabulary(look),
    )


def _mark(good: bool) -> Mark:
    return "pass" if good else "attention"


def _accounted(look: CorpusLook) -> Check:
    """kept + dropped = seen in every stage, in its manifest and in its files."""
    rule = "attention if a record is not accounted for, or files hold other numbers than manifests"
    counted = [stage for stage in look.stages if stage.seen is not None and stage.kept is not None]
    wrong = [line for stage in counted for line in _unbalanced(stage)]
    if not counted:
        return Check("unknown", "Accounting", "no stage says what it saw", rule)
    figure = f"kept + dropped = seen in {'all' if not wrong else 'not all'} of {plural(len(counted), 'stage')}"
    return Check(_mark(not wrong), "Accounting", figure, rule, tuple(wrong), "stages")


def _unbalanced(stage: StageLook) -> list[str]:
    lines = []
    if stage.seen != (stage.kept or 0) + stage.dropped:
        lines.append(f"{stage.title}: {number(stage.seen)} seen, {number(stage.kept)} kept, {stage.dropped:,} dropped")
    if stage.counted_kept is not None and stage.counted_kept != stage.written:
        lines.append(f"{stage.title}: says {number(stage.written)} kept, its files hold {stage.counted_kept:,}")
    if stage.counted_dropped is not None and stage.counted_dropped != _listed(stage):
        lines.append(f"{stage.title}: says {_listed(stage):,} dropped, its rejects list {stage.counted_dropped:,}")
    return lines


def _listed(stage: StageLook) -> int:
    """A crawl lists what it skipped or could not fetch; a redirection is the way to another page."""
    return stage.dropped - stage.rows.get("redirected", 0)


def _handed_on(look: CorpusLook) -> Check:
    """What one stage kept is what the next one saw."""
    rule = "attention if a stage saw another number of documents than the one before kept"
    chain = [stage for stage in look.stages if stage.stage not in ("scrape", "collect") and stage.seen is not None]
    pairs = list(pairwise(chain))
    wrong = [
        f"{before.title} kept {number(before.written)}, {after.title} saw {number(after.seen)}"
        for before, after in pairs
        if before.written != after.seen
    ]
    if not pairs:
        return Check("unknown", "Hand-over", "fewer than two stages to compare", rule)
    figure = " → ".join([f"{number(chain[0].seen)} records", *(number(s.written) for s in chain if s.kept is not None)])
    return Check(_mark(not wrong), "Hand-over", figure, rule, tuple(wrong), "waterfall")


def _lineage(look: CorpusLook) -> Check:
    """Every stage was built from the artifact that is shown before it."""
    rule = "attention if a stage was built from another version of a stage than the one shown"
    shown = {(stage.stage, stage.content) for stage in look.stages}
    stages = {stage.stage for stage in look.stages}
    links = [(stage, name, content) for stage in look.stages for name, content in stage.inputs if name in stages]
    # A stage may also take its own artifact of the night before, which is not shown.
    wrong = [
        f"{stage.title} was built from {name} {content[:12]}, which is not the one shown"
        for stage, name, content in links
        if name != stage.stage and (name, content) not in shown
    ]
    if not links:
        return Check("unknown", "Lineage", "no stage names another one as its input", rule, place="lineage")
    figure = f"content hashes of {plural(len(look.stages), 'stage')} chain up" if not wrong else "the chain is broken"
    return Check(_mark(not wrong), "Lineage", figure, rule, tuple(wrong), "lineage")


def _fetched(look: CorpusLook) -> Check:
    rule = f"attention above {MAX_FAILED_PAGES:.0%} of addresses skipped or failed in a source"
    shown = [stage for stage in look.stages if stage.stage in ("scrape", "collect")]
    sources = [stage for stage in shown if stage.seen]
    if shown and not sources:  # what is in files is read by extract, which accounts for it
        units = sum(stage.rows.get("units", 0) for stage in shown)
        return Check(
            "pass", "Sources", f"{plural(len(shown), 'source')} in {plural(units, 'piece')}", rule, place="stages"
        )
    if not sources:
        return Check("unknown", "Sources", "no source is shown", rule)
    wished = [sum(each.documents for each in stage.reasons if each.reason in BY_RECIPE) for stage in sources]
    lost = [
        (_listed(stage) - left_out, (stage.seen or 0) - left_out, stage.title)
        for stage, left_out in zip(sources, wished, strict=True)
    ]
    wrong = [f"{title}: {n:,} of {seen:,} ({share(n, seen)})" for n, seen, title in lost if n > MAX_FAILED_PAGES * seen]
    gone, seen = sum(n for n, _, _ in lost), sum(n for _, n, _ in lost)
    figure = f"{gone:,} of {seen:,} records skipped or failed ({share(gone, seen)}) in {plural(len(lost), 'source')}"
    figure += f"; {sum(wished):,} left out, as the recipe asks" if any(wished) else ""
    return Check(_mark(not wrong), "Sources", figure, rule, tuple(wrong), "stages")


def _reasons(look: CorpusLook) -> Check:
    rule = f"attention if one reason takes more than {MAX_REASON:.0%} of what a stage saw"
    found = [
        (reason.documents / stage.seen, f"{reason.reason} in {stage.title}")
        for stage in look.stages
        if stage.seen and stage.stage not in ("scrape", "collect")
        for reason in stage.reasons
    ]
    if not found:
        return Check("pass", "Rules", "nothing was dropped", rule, place="dropped")
    worst = max(found)
    wrong = tuple(f"{title}: {share(part, 1)}" for part, title in found if part > MAX_REASON)
    figure = f"the largest: {worst[1]}, {share(worst[0], 1)} of what it saw"
    return Check(_mark(not wrong), "Rules", figure, rule, wrong, "dropped")


def _duplicates(look: CorpusLook) -> Check:
    rule = f"attention above {MAX_DUPLICATES:.0%}, or without a dedup stage"
    stage = look.stage("dedup")
    if stage is None or not stage.seen:
        return Check("attention", "Duplicates", "not deduplicated", rule)
    good = stage.dropped <= MAX_DUPLICATES * stage.seen
    figure = f"{stage.dropped:,} of {stage.seen:,} documents were duplicates ({share(stage.dropped, stage.seen)})"
    return Check(_mark(good), "Duplicates", figure, rule, place="duplicates")


def _hosts(look: CorpusLook) -> Check:
    rule = f"attention if one host holds more than {MAX_HOST:.0%} of the characters"
    if look.hosts is None or not look.characters:
        return Check("unknown", "Hosts", "no documents", rule)
    largest = max(look.hosts.entries, key=lambda entry: (entry.characters or 0, entry.name))
    held = (largest.characters or 0) / look.characters
    figure = f"{largest.name} holds {share(held, 1)} of the characters"
    return Check(_mark(held <= MAX_HOST), "Hosts", figure, rule, place="hosts")


def _languages(look: CorpusLook) -> Check:
    rule = f"attention above {MAX_UNKNOWN_LANGUAGE:.0%} of documents without a language"
    if look.languages is None:
        return Check("unknown", "Languages", "no documents", rule)
    unknown = sum(entry.documents for entry in look.languages.entries if entry.name in ("", "und", "unknown"))
    named = [entry for entry in look.languages.entries if entry.name not in ("", "und", "unknown")]
    parts = [f"{language(each.name)} {share(each.documents, look.documents)}" for each in named[:4]]
    parts += [f"{len(named) - 4} more"] if len(named) > 4 else []
    parts += [f"not known {share(unknown, look.documents)}"] if unknown else []
    good = unknown <= MAX_UNKNOWN_LANGUAGE * look.documents
    return Check(_mark(good), "Languages", ", ".join(parts), rule, place="languages")


def _personal_data(look: CorpusLook) -> Check:
    rule = "attention if no stage looked for personal data"
    if look.redacted is None:
        return Check("attention", "Personal data", "no stage says that it looked for any", rule)
    found = ", ".join(f"{kind} {n:,}" for kind, n in look.redacted.items() if n) or "none found"
    found += f"; not looked for: {', '.join(look.not_redacted)}" if look.not_redacted else ""
    return Check("pass", "Personal data", found, rule, place="edits")


def _leaks(look: CorpusLook) -> Check:
    rule = "attention if nothing was compared, or documents that overlap stayed"
    stage = look.stage("decontaminate")
    if stage is None or look.leaks is None:
        return Check("attention", "Evaluation data", "not compared with any evaluation set", rule)
    sets = f" with {plural(len(look.leaks.by_set), 'evaluation set')}" if look.leaks.by_set else ""
    figure = f"{plural(look.leaks.found, 'overlap')}{sets}; {plural(stage.dropped, 'document')} removed"
    good = not look.leaks.found or stage.dropped > 0
    return Check(_mark(good), "Evaluation data", figure, rule, place="leaks")


def _sides(look: CorpusLook) -> Check:
    rule = "attention if train, validation or test is empty"
    stage = look.stage("split")
    if stage is None:
        return Check("unknown", "Split", "not split yet", rule)
    sides = {side: stage.rows.get(side, 0) for side in ("train", "validation", "test")}
    figure = ", ".join(f"{side} {n:,} ({share(n, sum(sides.values()))})" for side, n in sides.items())
    return Check(_mark(all(sides.values())), "Split", figure, rule, place="vocabulary")


def _vocabulary(look: CorpusLook) -> Check:
    rule = f"attention above {MAX_UNKNOWN_TOKENS:.0%} unknown tokens, in the whole or in a language"
    if look.vocabulary is None or look.vocabulary.whole.unknown_rate is None:
        return Check("unknown", "Vocabulary", "not encoded yet", rule)
    rates: Mapping[str, float] = {
        each.language or "the whole": each.unknown_rate
        for each in (look.vocabulary.whole, *look.vocabulary.languages)
        if each.unknown_rate is not None
    }
    wrong = tuple(f"{name}: {share(rate, 1)} unknown" for name, rate in rates.items() if rate > MAX_UNKNOWN_TOKENS)
    whole = look.vocabulary.whole
    fertility = f", {whole.fertility:.2f} tokens a word" if whole.fertility is not None else ""
    figure = f"{share(whole.unknown_rate or 0.0, 1)} of the tokens are unknown{fertility}"
    return Check(_mark(not wrong), "Vocabulary", figure, rule, wrong, "vocabulary")
