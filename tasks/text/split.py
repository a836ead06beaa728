"""Stage split: train, validation and test, so that nothing in one side has a twin in another; for ever.

Sides are given to groups and clusters, not to documents. A side that was given once is remembered in `sides.parquet`,
also for documents that are gone, so a page that is away for a night comes back to its own side.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import pyarrow as pa

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import SplitConfig
from tasks.text import documents as tables
from tasks.text.components import Components
from tasks.text.dedup import GONE, GONE_SCHEMA
from tasks.text.documents import CorpusError, column

SIDES = ("train", "validation", "test")
SIDES_FILE = "sides.parquet"
SIDES_SCHEMA = pa.schema([("id", pa.string()), ("group", pa.string()), ("split", pa.string())])
REJECT_SCHEMA = pa.schema([(name, pa.string()) for name in ("id", "url", "kind", "reason", "text")])
BRIDGE = "near-duplicate across the split"
TORN_GROUP = "group on several sides of the split"

Hub = tuple[str, str]
"""What holds documents together: ("group", a page) or ("cluster", its id)."""


@dataclass(frozen=True)
class Document:
    id: str
    group: str
    cluster: str


@dataclass(frozen=True)
class Memory:
    """Sides of earlier nights."""

    sides: dict[str, str]
    """Document id -> side."""
    groups: dict[str, str]
    """Document id -> group."""


def split(
    config: SplitConfig, documents: ArtifactRef, previous: ArtifactRef | None, labels: Sequence[str], out: Draft
) -> None:
    """Write documents.parquet (with `split`), rejects.parquet and sides.parquet.

    Args:
        documents: a dedup artifact.
        previous: the split artifact of the night before, if any: its documents, pages and clusters keep their sides.
        labels: every side must hold each of them.

    Raises:
        CorpusError: a side is empty or lacks a label; names them and the counts.
    """
    table = tables.read_documents(documents)
    found = [Document(*row) for row in zip(*(column(table, name) for name in ("id", "group", "cluster")), strict=True)]
    gone = tables.read_table(documents / GONE, GONE_SCHEMA)
    memory = _memory(previous)
    sides, dropped = assign(config, found, dict(zip(column(gone, "id"), column(gone, "cluster"), strict=True)), memory)
    _write(table, sides, dropped, memory, out)
    _check(tables.read_table(out.path / tables.DOCUMENTS), labels)


def assign(
    config: SplitConfig, documents: Sequence[Document], gone: dict[str, str], memory: Memory
) -> tuple[dict[str, str], dict[str, str]]:
    """The side of every document that stays, and the reason for every one that goes, by id.

    1. A document that had a side keeps it. 2. A new one takes the side of its page or its cluster, again and again
    until nothing follows any more; one that belongs to two sides would tie them together, and goes. 3. What is left is
    tied to nothing old: each connected component gets a side by a hash of the seed and its smallest key.

    Args:
        gone: cluster by id of documents of earlier nights that are no longer there.
    """
    hub_sides = _remembered(config, documents, gone, memory)
    sides = {each.id: memory.sides[each.id] for each in documents if each.id in memory.sides}
    dropped: dict[str, str] = {}
    waiting = [each for each in documents if each.id not in sides]
    while True:
        left = []
        for each in waiting:
            hubs = _hubs(config, each)
            known = set().union(*(hub_sides[hub] for hub in hubs))
            if len(known) > 1:
                dropped[each.id] = TORN_GROUP if len(hub_sides["group", each.group]) > 1 else BRIDGE
            elif known:
                sides[each.id] = min(known)
                for hub in hubs:
                    hub_sides[hub] |= known
            else:
                left.append(each)
        if len(left) == len(waiting):
            break
        waiting = left
    return sides | _fresh(config, left), dropped


def side_of(config: SplitConfig, key: str) -> str:
    """A side by the shares, a pure function of the seed and the key."""
    digest = hashlib.sha256(f"{config.seed}\n{key}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < config.test_share:
        return "test"
    return "validation" if position < config.test_share + config.validation_share else "train"


def _fresh(config: SplitConfig, documents: Sequence[Document]) -> dict[str, str]:
    components: Components[Hub] = Components()
    for each in documents:
        hubs = _hubs(config, each)
        for hub in hubs:
            components.join(hubs[0], hub)
    keys: dict[Hub, str] = {}
    for each in documents:
        root = components.find(_hubs(config, each)[0])
        keys[root] = min(keys.get(root, _key(config, each)), _key(config, each))
    return {each.id: side_of(config, keys[components.find(_hubs(config, each)[0])]) for each in documents}


def _hubs(config: SplitConfig, document: Document) -> list[Hub]:
    cluster = ("cluster", document.cluster)
    return [("group", document.group), cluster] if config.group else [cluster]


def _key(config: SplitConfig, document: Document) -> str:
    """A page's path without its host, so that the same site on another port or domain is split the same way."""
    if not config.group:
        return document.id
    address = urlsplit(document.group)
    return document.group if not address.netloc else address._replace(scheme="", netloc="").geturl()


def _memory(previous: ArtifactRef | None) -> Memory:
    if previous is None:
        return Memory({}, {})
    table = tables.read_table(previous / SIDES_FILE, SIDES_SCHEMA)
    ids, groups, sides = (column(table, name) for name in SIDES_SCHEMA.names)
    return Memory(dict(zip(ids, sides, strict=True)), dict(zip(ids, groups, strict=True)))


def _remembered(
    config: SplitConfig, documents: Sequence[Document], gone: dict[str, str], memory: Memory
) -> defaultdict[Hub, set[str]]:
    hub_sides: defaultdict[Hub, set[str]] = defaultdict(set)
    clusters = gone | {each.id: each.cluster for each in documents}
    for key, side in memory.sides.items():
        if key in clusters:
            hub_sides["cluster", clusters[key]].add(side)
        if config.group:
            hub_sides["group", memory.groups[key]].add(side)
    return hub_sides


def _write(table: pa.Table, sides: dict[str, str], dropped: dict[str, str], memory: Memory, out: Draft) -> None:
    ids = column(table, "id")
    kept = table.take(pa.array([row for row, key in enumerate(ids) if key in sides], pa.int64()))
    column_ = pa.array([sides[key] for key in column(kept, "id")], pa.string())
    kept = kept.append_column("split", column_)
    tables.write_table(out.path / tables.DOCUMENTS, kept)
    rejects = [
        (row["id"], row["url"], row["kind"], dropped[row["id"]], row["text"][: tables.HEAD_CHARACTERS])
        for row in table.select(["id", "url", "kind", "text"]).to_pylist()
        if row["id"] in dropped
    ]
    tables.write_table(out.path / tables.REJECTS, tables.rows_table(rejects, REJECT_SCHEMA))
    groups = memory.groups | dict(zip(column(kept, "id"), column(kept, "group"), strict=True))
    every = sorted((memory.sides | sides).items())
    remembered = tables.rows_table([(key, groups[key], side) for key, side in every], SIDES_SCHEMA)
    tables.write_table(out.path / SIDES_FILE, remembered)
    for reason in dropped.values():
        out.drop(reason)
    out.rows |= {"seen": table.num_rows, "kept": kept.num_rows, "remembered": len(every)}
    out.rows |= _counts(kept)
    tables.check_balance(out)


def _counts(table: pa.Table) -> dict[str, int]:
    """Documents by side, and by side and label."""
    sides, labels = column(table, "split"), column(table, "label")
    counts: Counter[str] = Counter(sides) + Counter(
        f"{s}/{label}" for s, label in zip(sides, labels, strict=True) if label
    )
    return dict.fromkeys(SIDES, 0) | dict(sorted(counts.items()))


def _check(table: pa.Table, labels: Sequence[str]) -> None:
    counts = _counts(table)
    shown = ", ".join(f"{name} {count}" for name, count in counts.items())
    advice = "crawl more documents, raise split.test_share / split.validation_share or take another split.seed"
    for side in SIDES:
        if not counts[side]:
            raise CorpusError(f"the {side} side of the split is empty ({shown}); {advice}")
        for label in labels:
            if not counts.get(f"{side}/{label}"):
                raise CorpusError(
                    f"the {side} side of the split has no document labelled {label!r} ({shown}); {advice}"
                )
