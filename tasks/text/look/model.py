"""What a look at a corpus finds: plain data, whatever the corpus' size. No text of a record is longer than its head."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Sample:
    """A document or a record, shortened."""

    url: str
    text: str
    source: str = ""
    title: str = ""
    detail: str = ""
    language: str = ""
    characters: int | None = None
    """Of the whole text."""


@dataclass(frozen=True)
class Reason:
    """Why a stage dropped documents."""

    reason: str
    documents: int
    characters: int | None = None
    """None: the rejects do not say."""
    samples: tuple[Sample, ...] = ()


@dataclass(frozen=True)
class StageLook:
    """A stage's account of itself (its manifest), and what was counted in its files."""

    title: str
    stage: str
    name: str
    content: str
    key: str
    code: str
    created_at: float
    seconds: float
    peak_memory_bytes: int | None
    size_bytes: int
    config: Mapping[str, Any]
    inputs: tuple[tuple[str, str], ...]
    """(stage, content hash) of what it was built from."""
    seen: int | None
    kept: int | None
    rows: Mapping[str, int]
    facts: Mapping[str, Any]
    reasons: tuple[Reason, ...]
    """The most frequent first."""
    counted_kept: int | None = None
    """Documents in its files. None: it has none."""
    counted_dropped: int | None = None
    """Rejects in its files."""
    characters: int | None = None
    """Of the documents that it kept."""

    @property
    def dropped(self) -> int:
        return sum(reason.documents for reason in self.reasons)

    @property
    def written(self) -> int | None:
        """What its files hold: what it kept, and what a source's weight says to take more than once."""
        return None if self.kept is None else self.kept + self.repeated

    @property
    def repeated(self) -> int:
        return self.rows.get("repeated by weight", 0)


@dataclass(frozen=True)
class Bar:
    """Lengths from `low` up to, not with, `high`; `high` is None in the last."""

    low: int
    high: int | None
    documents: int
    amount: int
    """What they hold together."""


@dataclass(frozen=True)
class LengthLook:
    bars: tuple[Bar, ...]
    quantiles: Mapping[float, int]
    """About: from a histogram with 20 bins in a decade."""
    documents: int
    amount: int
    empty: int


@dataclass(frozen=True)
class Entry:
    name: str
    documents: int
    characters: int | None
    tokens: int | None = None


@dataclass(frozen=True)
class Ranking:
    """The most frequent of something."""

    entries: tuple[Entry, ...]
    distinct: int | None
    """How many there are; None: more than were counted."""
    missed: int = 0
    """Documents by which a figure may be too low, since rare names were forgotten on the way."""


@dataclass(frozen=True)
class Member:
    url: str
    reason: str
    similarity: float | None


@dataclass(frozen=True)
class Cluster:
    """A document that was kept and stands in for others."""

    url: str
    """"" = not known; then `id` is."""
    id: str
    dropped: int
    by_reason: Mapping[str, int]
    members: tuple[Member, ...]


@dataclass(frozen=True)
class Leak:
    """A document that overlaps with what a model is evaluated on."""

    url: str
    evaluation_set: str
    row: str
    overlap: str
    text: str
    share: float | None


@dataclass(frozen=True)
class LeakLook:
    found: int
    by_set: tuple[tuple[str, int], ...]
    samples: tuple[Leak, ...]


@dataclass(frozen=True)
class LanguageTokens:
    """How the vocabulary fits a language."""

    language: str
    fertility: float | None
    """Tokens a word."""
    unknown_rate: float | None
    """Share of tokens that are the unknown token."""
    characters_per_token: float | None = None
    documents: int | None = None
    tokens: int | None = None


@dataclass(frozen=True)
class Vocabulary:
    size: int | None
    fingerprint: str
    whole: LanguageTokens
    languages: tuple[LanguageTokens, ...]
    tokens: Mapping[str, int]
    """By side of the split."""

    @property
    def total(self) -> int:
        return sum(self.tokens.values())


@dataclass(frozen=True)
class CorpusLook:
    """All that the page shows."""

    stages: tuple[StageLook, ...]
    """In the order of the pipeline."""
    final: str = ""
    """The title of the stage whose documents are the corpus; "" = no documents yet."""
    documents: int = 0
    characters: int = 0
    lengths: LengthLook | None = None
    tokens_per_document: LengthLook | None = None
    sources: Ranking | None = None
    hosts: Ranking | None = None
    languages: Ranking | None = None
    kinds: Ranking | None = None
    sides: Ranking | None = None
    samples: tuple[Sample, ...] = field(default=(), repr=False)
    samples_by_source: tuple[tuple[str, tuple[Sample, ...]], ...] = field(default=(), repr=False)
    """Of the sources with the most documents."""
    clusters: tuple[Cluster, ...] = field(default=(), repr=False)
    similarities: tuple[int, ...] = ()
    """Near duplicates by similarity, in 20 equal bins from 0 to 1."""
    leaks: LeakLook | None = None
    vocabulary: Vocabulary | None = None
    redacted: Mapping[str, int] | None = None
    """Pieces of personal data by kind; None: no stage looked for any."""
    not_redacted: tuple[str, ...] = ()
    """Kinds that nobody looked for."""
    lines_removed: Mapping[str, int] = field(default_factory=dict)
    """Lines taken out of documents that stayed, by rule."""

    def stage(self, name: str) -> StageLook | None:
        return next((stage for stage in self.stages if stage.stage == name), None)

    @property
    def tokens(self) -> int | None:
        """In the shards; None: not encoded."""
        return self.vocabulary.total if self.vocabulary and self.vocabulary.tokens else None

    @property
    def characters_per_token(self) -> float | None:
        """Of the documents that were encoded."""
        return self.characters / self.tokens if self.tokens and self.characters else None
