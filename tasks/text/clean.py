"""Stage clean: raw documents to documents, part by part; every one is kept, or dropped with its reason."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from tasks.artifacts import ArtifactRef, Draft, code_hash, home
from tasks.config import CleanConfig
from tasks.text import documents as tables
from tasks.text.documents import CorpusError
from tasks.text.language import identify_all, identify_in
from tasks.text.normalise import normalise_lines
from tasks.text.parts import Part, Progress, Receipt, Workers, build_parts, part_files
from tasks.text.privacy import redact
from tasks.text.quality import Judge
from tasks.text.quality.boilerplate import Boilerplate, merged
from tasks.text.reading import LINES, site_of
from tasks.text.sentences import sentence_starts
from tasks.text.takedown import Takedown

BOILERPLATE = "boilerplate.npy"
BATCH_CHARACTERS = 4_000_000
MOST_CHARACTERS = 32_000_000


@dataclass
class Candidate:
    """A document on its way; `reason` says why it goes, "" so far not."""

    row: Mapping[str, Any]
    text: str
    levels: Sequence[int]
    reason: str
    language: str = ""
    sentences: list[int] = field(default_factory=lambda: [0])
    redacted: Counter[str] = field(default_factory=Counter)

    @property
    def id(self) -> str:
        return tables.document_id(self.row["kind"], self.row["group"], self.text)


def clean(
    config: CleanConfig,
    raw: ArtifactRef,
    takedown: Path | None,
    out: Draft,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write documents and rejects, a part for each part of an extract artifact.

    Args:
        takedown: the list of what must not be in the corpus, if there is one.

    Raises:
        CorpusError: nothing was kept; the message has the counts by reason.
    """
    lines = merged(part_files(raw / LINES), config.boilerplate_pages)
    lines.save(out.path / BOILERPLATE)
    files = [str(file) for file in tables.document_files(raw)]
    make = CleanPart(config, str(out.path / BOILERPLATE), str(takedown) if takedown else None)
    keys = [_key(file) for file in files]
    folders = (tables.DOCUMENTS, tables.REJECTS)
    receipts = build_parts(files, keys, make, out, workers, progress, folders=folders)
    tables.check_balance(out)
    out.facts["redacted"] = dict(sum((Counter(each.facts["redacted"]) for each in receipts), Counter()))
    out.facts["languages"] = dict(sum((Counter(each.facts["languages"]) for each in receipts), Counter()))
    out.facts["lines_removed"] = dict(sum((Counter(each.facts["lines_removed"]) for each in receipts), Counter()))
    if not out.rows["kept"]:
        raise CorpusError(_nothing_kept(out, config))


@dataclass(frozen=True)
class CleanPart:
    """Makes a part of a file of raw documents. Pickles; what is costly to have is made where it is used."""

    config: CleanConfig
    boilerplate: str
    takedown: str | None

    def __call__(self, file: str, part: Part) -> Receipt:
        receipt = Receipt(facts={"redacted": Counter(), "languages": Counter(), "lines_removed": Counter()})
        with (
            part.writing(tables.DOCUMENTS) as documents,
            part.writing(tables.REJECTS) as rejects,
            tables.TableWriter(documents, tables.DOCUMENT_SCHEMA) as into_documents,
            tables.TableWriter(rejects, tables.REJECT_SCHEMA) as into_rejects,
        ):
            for rows in _batches(tables.iter_documents([Path(file)])):
                for each in self._cleaned(rows, receipt.facts["lines_removed"]):
                    _count(receipt, each)
                    if each.reason:
                        into_rejects.add(tables.reject({**each.row, "text": each.text}, each.reason))
                    else:
                        into_documents.add(_row(each))
        return receipt

    def _cleaned(self, rows: Sequence[Mapping[str, Any]], removed: Counter[str]) -> list[Candidate]:
        found = [self._prepared(row, removed) for row in rows]
        self._identify(found)
        for each in found:
            self._judge(each, removed)
        _drop_repeats(found)
        if self.config.sentences:
            _find_sentences([each for each in found if not each.reason])
        return found

    def _prepared(self, row: Mapping[str, Any], removed: Counter[str]) -> Candidate:
        """Spelling, label, boilerplate. A page's main text loses its boilerplate lines; a record is never edited."""
        text, levels = normalise_lines(row["text"], row["levels"], self.config.normalise)
        each = Candidate(row, text, levels, _bad_label(row["label"], self.config.labels))
        each.reason = self._takedown.refusal(row["url"], "") or each.reason
        if text and not each.reason:
            own, own_levels = self._boilerplate.own(text, levels, site_of(row["url"], row["source"]))
            if not own:
                each.reason = "boilerplate"
            elif row["is_main_text"]:
                removed["boilerplate"] += len(levels) - len(own_levels)
                each.text, each.levels = own, own_levels
        return each

    def _identify(self, candidates: Sequence[Candidate]) -> None:
        texts: dict[str, list[str]] = defaultdict(list)
        for each in candidates:
            if not each.reason:
                texts[each.row["context"]].append(each.text)
        contexts = {context: identify_all(found) for context, found in texts.items()}
        for each in candidates:
            if not each.reason:
                each.language, score = identify_in(each.text, contexts[each.row["context"]])
                each.reason = self._wrong_language(each.language, score)

    def _wrong_language(self, language: str, score: float) -> str:
        if self.config.languages and language not in self.config.languages:
            return "wrong language"
        return "uncertain language" if score < self.config.min_language_score else ""

    def _judge(self, each: Candidate, removed: Counter[str]) -> None:
        if each.reason:
            return
        verdict = self._quality.judge(each.text, each.levels, each.language, is_main_text=each.row["is_main_text"])
        removed.update(verdict.removed)
        each.reason = verdict.reason
        if each.reason:
            return
        text, found = redact(verdict.text, self.config.privacy, each.language)
        each.text, each.levels, each.redacted = text, verdict.levels, Counter[str](found)
        if (
            found and not self.config.privacy.replacement.strip()
        ):  # that leaves loose blanks, and lines without anything
            each.text, each.levels = normalise_lines(text, verdict.levels, self.config.normalise)
        each.reason = self._takedown.refusal("", each.id) if each.text else "nothing but personal data"

    @cached_property
    def _quality(self) -> Judge:
        return Judge(self.config.quality, home())

    @cached_property
    def _takedown(self) -> Takedown:
        return Takedown.load(Path(self.takedown)) if self.takedown else Takedown()

    @cached_property
    def _boilerplate(self) -> Boilerplate:
        return Boilerplate.load(Path(self.boilerplate))


def _batches(rows: Iterator[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Rows that are cleaned together. A page's rows stay together; so does a file's, up to `MOST_CHARACTERS`."""
    batch: list[Mapping[str, Any]] = []
    characters = 0
    for row in rows:
        full = characters >= BATCH_CHARACTERS and row["context"] != batch[-1]["context"]
        if full or characters >= MOST_CHARACTERS:
            yield batch
            batch, characters = [], 0
        batch.append(row)
        characters += len(row["text"])
    if batch:
        yield batch


def _count(receipt: Receipt, each: Candidate) -> None:
    receipt.rows["seen"] += 1
    if each.reason:
        receipt.dropped[each.reason] += 1
        return
    receipt.rows["kept"] += 1
    receipt.rows[f"kept {each.row['kind']}"] += 1
    receipt.facts["languages"][each.language] += 1
    receipt.facts["redacted"].update(each.redacted)


def _bad_label(label: str | None, labels: Sequence[str]) -> str:
    """A label that the recipe reads and the page lacks (""), or one that the recipe does not list."""
    if label == "":
        return "no label"
    return "unknown label" if label is not None and labels and label not in labels else ""


def _drop_repeats(candidates: Sequence[Candidate]) -> None:
    """A second document of one page with the same kind and text would have the first one's id."""
    first: dict[tuple[str, str, str], Candidate] = {}
    for each in candidates:
        if not each.reason:
            winner = first.setdefault((each.row["kind"], each.row["group"], each.text), each)
            if winner is not each:
                other = ", other label" if winner.row["label"] != each.row["label"] else ""
                each.reason = f"repeated on its page{other}"


def _find_sentences(candidates: Sequence[Candidate]) -> None:
    by_language: dict[str, list[Candidate]] = defaultdict(list)
    for each in candidates:
        by_language[each.language].append(each)
    for language, found in by_language.items():
        for each, starts in zip(found, sentence_starts([one.text for one in found], language), strict=True):
            each.sentences = starts


def _row(each: Candidate) -> tuple[object, ...]:
    row = each.row
    meta = row["meta"]
    if each.redacted:
        meta = json.dumps(json.loads(meta) | {"redacted": dict(sorted(each.redacted.items()))}, sort_keys=True)
    return (
        each.id,
        row["url"],
        row["source"],
        row["fetched_at"],
        row["date"],
        each.language,
        row["title"],
        each.text,
        list(each.levels),
        row["kind"],
        row["label"],
        row["group"],
        each.sentences,
        meta,
    )


def _key(file: str) -> str:
    return hashlib.sha256(f"{code_hash(__name__)}\n{file}".encode()).hexdigest()


def _nothing_kept(out: Draft, config: CleanConfig) -> str:
    if not out.rows["seen"]:
        return "the corpus is empty: the sources gave no text; see what extract dropped, and check the sources"
    return (
        f"the corpus is empty: all {out.rows['seen']} candidates were dropped ({tables.reasons(out)}); "
        f"check clean.languages = {list(config.languages)}, clean.labels = {list(config.labels)}, the selectors in "
        "extract.records and the thresholds in clean.quality"
    )
