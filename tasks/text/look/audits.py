"""The audit tables: which document stood in for which, and what overlaps with an evaluation set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tasks.text.look.bounded import Draw, Top, rank_of
from tasks.text.look.counting import HEAD_CHARACTERS
from tasks.text.look.files import batches
from tasks.text.look.model import Cluster, Leak, LeakLook, Member

CLUSTERS_SHOWN, MEMBERS_SHOWN = 12, 8
CANDIDATES = 4096
"""Kept documents that are counted at once. Whatever stands in for more than 1 in 4,096 duplicates is among them."""
SIMILARITY_BINS = 20
SETS, LEAK_SAMPLES = 1024, 12


@dataclass
class _Found:
    dropped: int = 0
    url: str = ""
    by_reason: Counter[str] = field(default_factory=Counter)
    members: Draw[Member] = field(default_factory=lambda: Draw(MEMBERS_SHOWN))


def clusters(files: Sequence[Path]) -> tuple[tuple[Cluster, ...], tuple[int, ...]]:
    """The documents that stand in for the most others, and the near duplicates by similarity.

    Reads twice: first for what is worth counting, then to count that exactly; memory holds no more than that.

    Args:
        files: of dropped documents, with `duplicate_of` (an id), and `kept_url`, `reason`, `similarity` where known.
    """
    standing = Top(CANDIDATES)
    similarities = np.zeros(SIMILARITY_BINS, np.int64)
    for file in files:
        for batch in batches(file, ("duplicate_of", "similarity")):
            for kept, similarity in zip(*(batch[name].to_pylist() for name in batch.schema.names), strict=True):
                if kept:
                    standing.add(kept, 1, 0)
                if similarity is not None and similarity < 1:
                    similarities[int(max(similarity, 0.0) * SIMILARITY_BINS)] += 1
    # More than are shown: a count of the first pass may be too low.
    found = {key: _Found() for key, _, _ in standing.first(4 * CLUSTERS_SHOWN)}
    for file in files:
        _count(file, found)
    ordered = sorted(found.items(), key=lambda entry: (-entry[1].dropped, entry[0]))
    shown = tuple(
        Cluster(one.url, key, one.dropped, dict(sorted(one.by_reason.items())), _by_similarity(one.members.drawn()))
        for key, one in ordered[:CLUSTERS_SHOWN]
    )
    return shown, tuple(similarities.tolist()) if similarities.any() else ()


def leaks(files: Sequence[Path], names: Sequence[str]) -> LeakLook:
    """What overlaps with evaluation sets: how much with which, and a sample of it.

    Args:
        names: of the evaluation sets that documents were compared with.
    """
    found, sets, samples = 0, Top(SETS, dict.fromkeys(names, (0, 0))), Draw[Leak](LEAK_SAMPLES)
    columns = ("url", "evaluation_set", "evaluation_row", "overlap", "ngram", "share")
    for file in files:
        for batch in batches(file, columns):
            for url, name, row, overlap, text, share in zip(*(column.to_pylist() for column in batch), strict=True):
                found += 1
                sets.add(name or "", 1, 0)
                if samples.wants(rank := rank_of(f"{url}\n{name}\n{row}\n{text}")):
                    head = (text or "")[:HEAD_CHARACTERS]
                    samples.put(rank, Leak(url or "", name or "", str(row), overlap or "", head, share))
    return LeakLook(found, tuple((name, count) for name, count, _ in sets.first(SETS)), samples.drawn())


def _count(file: Path, found: dict[str, _Found]) -> None:
    for batch in batches(file, ("duplicate_of", "kept_url", "url", "reason", "similarity")):
        for kept, kept_url, url, reason, similarity in zip(*(column.to_pylist() for column in batch), strict=True):
            if (one := found.get(kept)) is None:
                continue
            one.dropped += 1
            one.url = one.url or kept_url or ""
            one.by_reason[reason or ""] += 1
            if one.members.wants(rank := rank_of(f"{url}\n{similarity}")):
                one.members.put(rank, Member(url or "", reason or "", similarity))


def _by_similarity(members: Sequence[Member]) -> tuple[Member, ...]:
    return tuple(sorted(members, key=lambda member: (-(member.similarity or 0.0), member.url)))
