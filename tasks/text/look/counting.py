"""What one part of a corpus adds to the look at it: each function is one of a file alone, so any worker can run it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.text.look.bounded import Draw, Lengths, Top, rank_of
from tasks.text.look.files import batches, has_column
from tasks.text.look.model import Sample
from tasks.text.parts import Workers

HEAD_CHARACTERS = 300
KEPT_CHARACTERS = 900
KEPT_SAMPLES, SOURCE_SAMPLES, DROPPED_SAMPLES = 8, 4, 5
HOSTS, SOURCES, LANGUAGES = 4096, 1024, 512
SAMPLED_SOURCES, REASONS = 64, 200
"""Samples are drawn for so many; all are counted."""


@dataclass
class Kept:
    """The documents that are the corpus."""

    documents: int = 0
    characters: int = 0
    lengths: Lengths = field(default_factory=Lengths)
    sources: Top = field(default_factory=lambda: Top(SOURCES))
    hosts: Top = field(default_factory=lambda: Top(HOSTS))
    languages: Top = field(default_factory=lambda: Top(LANGUAGES))
    kinds: Top = field(default_factory=lambda: Top(LANGUAGES))
    sides: Top = field(default_factory=lambda: Top(LANGUAGES))
    samples: Draw[Sample] = field(default_factory=lambda: Draw(KEPT_SAMPLES))
    by_source: dict[str, Draw[Sample]] = field(default_factory=dict)

    def merge(self, other: Kept) -> None:
        self.documents += other.documents
        self.characters += other.characters
        for name in ("lengths", "sources", "hosts", "languages", "kinds", "sides", "samples"):
            getattr(self, name).merge(getattr(other, name))
        for source, draw in other.by_source.items():
            if source in self.by_source or len(self.by_source) < SAMPLED_SOURCES:
                self.by_source.setdefault(source, Draw(SOURCE_SAMPLES)).merge(draw)

    def draws(self, source: str) -> list[Draw[Sample]]:
        """What a document of this source may be drawn for."""
        if source not in self.by_source and len(self.by_source) < SAMPLED_SOURCES:
            self.by_source[source] = Draw(SOURCE_SAMPLES)
        return [self.samples, *([self.by_source[source]] if source in self.by_source else [])]


@dataclass
class Sized:
    documents: int = 0
    characters: int = 0

    def merge(self, other: Sized) -> None:
        self.documents += other.documents
        self.characters += other.characters


@dataclass
class Rejected:
    documents: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    characters: Counter[str] = field(default_factory=Counter)
    """By reason; empty where the rejects do not say."""
    samples: dict[str, Draw[Sample]] = field(default_factory=dict)

    def merge(self, other: Rejected) -> None:
        self.documents += other.documents
        self.by_reason += other.by_reason
        self.characters += other.characters
        for reason, draw in other.samples.items():
            self.samples.setdefault(reason, Draw(DROPPED_SAMPLES)).merge(draw)


@dataclass
class Indexed:
    """Token counts of documents."""

    lengths: Lengths = field(default_factory=Lengths)
    sources: Top = field(default_factory=lambda: Top(SOURCES))
    hosts: Top = field(default_factory=lambda: Top(HOSTS))

    def merge(self, other: Indexed) -> None:
        self.lengths.merge(other.lengths)
        self.sources.merge(other.sources)
        self.hosts.merge(other.hosts)


class Mergeable(Protocol):
    def merge(self, other: Any, /) -> None: ...


Counted = TypeVar("Counted", bound=Mergeable)


def over(workers: Workers, count: Callable[[Path], Counted], files: Sequence[Path], into: Counted) -> Counted:
    """`into` with the counts of all files merged in their order, whatever the order in which workers are done."""
    waiting: dict[int, Counted] = {}
    merged = 0
    for index, counted in workers.map(count, files):
        waiting[index] = counted
        while merged in waiting:
            into.merge(waiting.pop(merged))
            merged += 1
    return into


def count_kept(file: Path) -> Kept:
    found = Kept()
    names = ("url", "source", "language", "kind", "split", "id", "title", "text")
    for batch in batches(file, names):
        sizes = lengths(batch["text"])
        found.documents += batch.num_rows
        found.characters += int(sizes.sum())
        found.lengths.add(sizes)
        short = [batch[name].to_pylist() for name in names[:-1]]
        for row, (values, size) in enumerate(zip(zip(*short, strict=True), sizes.tolist(), strict=True)):
            url, source, language, kind, side, key, title = (value or "" for value in values)
            found.sources.add(source, 1, size)
            found.hosts.add(host(url, source), 1, size)
            found.languages.add(language, 1, size)
            found.kinds.add(kind, 1, size)
            found.sides.add(side, 1, size)
            rank = rank_of(key or url)
            for draw in found.draws(source):
                if draw.wants(rank):
                    text = (batch["text"][row].as_py() or "")[:KEPT_CHARACTERS]
                    draw.put(rank, Sample(url, text, source, title, language=language, characters=size))
    return found


def count_sizes(file: Path) -> Sized:
    found = Sized()
    for batch in batches(file, ("text",)):
        found.documents += batch.num_rows
        found.characters += int(lengths(batch["text"]).sum())
    return found


@dataclass(frozen=True)
class CountRejects:
    """Of a rejects table."""

    reasons: frozenset[str]
    """For which samples are drawn."""

    def __call__(self, file: Path) -> Rejected:
        found = Rejected()
        names = ("id", "url", "source", "reason", "detail", "text")
        sized = has_column(file, "characters")
        for batch in batches(file, (*names, "characters") if sized else names):
            found.documents += batch.num_rows
            for values in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
                key, url, source, reason, detail, text = (value or "" for value in values[:6])
                found.by_reason[reason] += 1
                if sized:
                    found.characters[reason] += values[6] or 0
                if reason in self.reasons:
                    _draw(
                        found, reason, f"{key}\n{url}\n{text}", Sample(url, text[:HEAD_CHARACTERS], source, "", detail)
                    )
        return found


def count_pages(file: Path) -> Rejected:
    """What a crawl skipped or could not fetch; `pages.parquet` lists the fetched pages too."""
    found = Rejected()
    for batch in batches(file, ("url", "outcome", "reason")):
        for url, outcome, reason in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
            if outcome in ("skipped", "failed"):
                found.documents += 1
                found.by_reason[reason or outcome] += 1
                _draw(found, reason or outcome, url or "", Sample(url or "", ""))
    return found


def count_index(file: Path) -> Indexed:
    found = Indexed()
    for batch in batches(file, ("url", "source", "tokens")):
        tokens = np.asarray(batch["tokens"].fill_null(0).to_numpy(zero_copy_only=False), np.int64)
        found.lengths.add(tokens)
        for url, source, count in zip(batch["url"].to_pylist(), batch["source"].to_pylist(), tokens, strict=True):
            found.sources.add(source or "", 1, int(count))
            found.hosts.add(host(url or "", source or ""), 1, int(count))
    return found


def host(url: str, source: str) -> str:
    """The address' host; of what has none, such as the lines of a file, the source in brackets."""
    try:
        netloc = urlsplit(url).netloc if "://" in url else ""
    except ValueError:  # `http://[broken`
        netloc = ""
    return netloc.rpartition("@")[2].lower() or f"({source})"


def lengths(texts: pa.Array) -> NDArray[np.int64]:
    """Characters of each text."""
    return np.asarray(pc.fill_null(pc.utf8_length(texts), 0).to_numpy(zero_copy_only=False), np.int64)


def _draw(found: Rejected, reason: str, key: str, sample: Sample) -> None:
    if reason not in found.samples and len(found.samples) >= REASONS:
        return
    draw = found.samples.setdefault(reason, Draw(DROPPED_SAMPLES))
    if draw.wants(rank := rank_of(key)):
        draw.put(rank, sample)
