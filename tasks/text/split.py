"""Stage split: train, validation and test, so that nothing in one side has a twin in another; for ever.

Sides are given to groups and clusters, not to documents. A side that was given once is remembered in `sides.parquet`,
also for documents that are gone, so a page that is away for a night comes back to its own side.

The training side is mixed here too: a source's weight says how often each of its documents is read.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq

from tasks.artifacts import ArtifactRef, Draft
from tasks.config import SplitConfig
from tasks.text import documents as tables
from tasks.text.components import Components
from tasks.text.dedup import GONE, GONE_SCHEMA
from tasks.text.documents import CorpusError, column
from tasks.text.parts import Part, Progress, Receipt, Workers, build_parts

SIDES = ("train", "validation", "test")
SIDES_FILE = "sides.parquet"
SIDES_SCHEMA = pa.schema([("id", pa.string()), ("group", pa.string()), ("split", pa.string())])
BRIDGE = "near-duplicate across the split"
TORN_GROUP = "group on several sides of the split"
UNMIXED = "left out by its source's weight"

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
    config: SplitConfig,
    documents: ArtifactRef,
    gone: ArtifactRef,
    previous: ArtifactRef | None,
    labels: Sequence[str],
    weights: Mapping[str, float],
    out: Draft,
    workers: Workers,
    progress: Progress,
) -> None:
    """Write documents (with `split`) and rejects part by part, and sides.parquet.

    Args:
        documents: an artifact with clusters.
        gone: the dedup artifact, with the clusters of what was there on earlier nights.
        previous: the split artifact of the night before, if any: its documents, pages and clusters keep their sides.
        labels: every side must hold each of them.
        weights: by source; 0.5 takes every second document for training, chosen by its id, and 2 takes each twice.

    Raises:
        CorpusError: a side is empty or lacks a label; names them and the counts.
    """
    files = tables.document_files(documents)
    found = [_sides_of(file) for file in files]
    ghosts = tables.read_table(gone / GONE, GONE_SCHEMA)
    memory = _memory(previous)
    clusters = dict(zip(column(ghosts, "id"), column(ghosts, "cluster"), strict=True))
    sides, dropped = assign(config, [each for part in found for each in part], clusters, memory)
    _remember(out, found, sides, memory)
    items = [
        (str(file), [sides.get(each.id, dropped.get(each.id, "")) for each in part])
        for file, part in zip(files, found, strict=True)
    ]
    keys = [hashlib.sha256(repr(verdicts).encode()).hexdigest() for _, verdicts in items]
    make = _WritePart(config.seed, tuple(sorted(weights.items())))
    build_parts(items, keys, make, out, workers, progress, folders=(tables.DOCUMENTS, tables.REJECTS))
    tables.check_balance(out)
    out.rows = {**dict.fromkeys(SIDES, 0), **dict(sorted(out.rows.items()))}
    _check(out.rows, labels)


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


def _sides_of(file: Path) -> list[Document]:
    table = pq.read_table(file, columns=["id", "group", "cluster"])
    return [Document(*row) for row in zip(*(column(table, name) for name in table.column_names), strict=True)]


def _remember(out: Draft, found: Sequence[Sequence[Document]], sides: dict[str, str], memory: Memory) -> None:
    groups = memory.groups | {each.id: each.group for part in found for each in part}
    every = sorted((memory.sides | sides).items())
    remembered = tables.rows_table([(key, groups[key], side) for key, side in every], SIDES_SCHEMA)
    tables.write_table(out.path / SIDES_FILE, remembered)
    out.rows["remembered"] = len(every)


@dataclass(frozen=True)
class _WritePart:
    seed: int
    weights: tuple[tuple[str, float], ...]

    def __call__(self, item: tuple[str, Sequence[str]], part: Part) -> Receipt:
        """`item`: a file of documents, and for each of its rows the side, or the reason why it goes."""
        file, verdicts = item
        receipt, weights = Receipt(), dict(self.weights)
        schema = pq.read_schema(file).append(pa.field("split", pa.string())).remove_metadata()
        with (
            part.writing(tables.DOCUMENTS) as kept,
            part.writing(tables.REJECTS) as dropped,
            tables.TableWriter(kept, schema) as documents,
            tables.TableWriter(dropped, tables.REJECT_SCHEMA) as rejects,
        ):
            for row, verdict in zip(tables.iter_documents([Path(file)]), verdicts, strict=True):
                reason = "" if verdict in SIDES else verdict
                weight = weights.get(row["source"], 1.0) if verdict == "train" else 1.0
                copies = 0 if reason else copies_of(self.seed, row["id"], weight)
                if not copies:
                    rejects.add(tables.reject(row, reason or UNMIXED))
                    receipt.dropped[reason or UNMIXED] += 1
                for _ in range(copies):
                    documents.add((*row.values(), verdict))
                _count(receipt.rows, row, verdict, copies)
        return receipt


def copies_of(seed: int, key: str, weight: float) -> int:
    """How often a document is taken: the weight's whole part, and once more with the probability of the rest."""
    digest = hashlib.sha256(f"mix {seed}\n{key}".encode()).digest()
    return int(weight) + (int.from_bytes(digest[:8], "big") / 2**64 < weight % 1)


def _count(rows: Counter[str], row: Mapping[str, Any], side: str, copies: int) -> None:
    rows["seen"] += 1
    if copies:
        rows["kept"] += 1
        rows[side] += 1
        rows["repeated by weight"] += copies - 1
        if row["label"]:
            rows[f"{side}/{row['label']}"] += 1


def _check(counts: Mapping[str, int], labels: Sequence[str]) -> None:
    shown = ", ".join(f"{name} {count}" for name, count in counts.items() if name.split("/")[0] in SIDES)
    advice = "crawl more documents, raise split.test_share / split.validation_share or take another split.seed"
    for side in SIDES:
        if not counts.get(side):
            raise CorpusError(f"the {side} side of the split is empty ({shown}); {advice}")
        for label in labels:
            if not counts.get(f"{side}/{label}"):
                raise CorpusError(
                    f"the {side} side of the split has no document labelled {label!r} ({shown}); {advice}"
                )
