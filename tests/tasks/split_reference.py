"""How sides are given, one document after the other in dictionaries; and the stage's answer in the same shape."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa

from tasks.artifacts import ArtifactRef
from tasks.config import SplitConfig
from tasks.text.dedup import GONE, GONE_SCHEMA
from tasks.text.documents import DOCUMENTS, rows_table, write_table
from tasks.text.parts import Part, part_files
from tasks.text.sides import BRIDGE, SIDES, TORN_GROUP, VERDICTS, assign, side_of
from tasks.text.split import SIDES_FILE, SIDES_SCHEMA, read_corpus

Hub = tuple[str, str]
"""("group", a page) or ("cluster", its id)."""
Answer = tuple[dict[str, str], dict[str, str]]
"""The side of every document that stays, and the reason for every one that goes, by id."""


@dataclass(frozen=True)
class Document:
    id: str
    group: str
    cluster: str


@dataclass(frozen=True)
class Memory:
    """Sides and groups of earlier nights, by id."""

    sides: Mapping[str, str] = field(default_factory=dict)
    groups: Mapping[str, str] = field(default_factory=dict)


def decide(
    config: SplitConfig,
    folder: Path,
    parts: Sequence[Sequence[Document]],
    gone: Mapping[str, str] | None = None,
    memory: Memory | None = None,
) -> Answer:
    """What the stage says of documents in parts.

    Args:
        gone: cluster by id of documents of earlier nights that are no longer there.
    """
    names = ("id", "group", "cluster")
    schema = pa.schema([(name, pa.string()) for name in names])
    for number, part in enumerate(parts):
        rows = [(each.id, each.group, each.cluster) for each in part]
        write_table(Part(folder, number).file(DOCUMENTS), rows_table(rows, schema))
    write_table(
        folder / GONE, rows_table([(key, "", "", cluster) for key, cluster in (gone or {}).items()], GONE_SCHEMA)
    )
    if memory is not None:
        remembered = [(key, memory.groups[key], side) for key, side in memory.sides.items()]
        write_table(folder / SIDES_FILE, rows_table(remembered, SIDES_SCHEMA))
    ref = ArtifactRef(stage="split", name="test", key="", content="", path=str(folder))
    corpus = read_corpus(part_files(folder / DOCUMENTS), ref, ref if memory is not None else None)
    verdicts = [VERDICTS[verdict] for verdict in assign(config, corpus).tolist()]
    found = list(zip((each.id for part in parts for each in part), verdicts, strict=True))
    return {key: said for key, said in found if said in SIDES}, {key: said for key, said in found if said not in SIDES}


def reference(config: SplitConfig, documents: Sequence[Document], gone: Mapping[str, str], memory: Memory) -> Answer:
    """The same by the definition; the first of the documents come first."""
    hub_sides = _remembered(config, documents, gone, memory)
    sides = {each.id: memory.sides[each.id] for each in documents if each.id in memory.sides}
    dropped: dict[str, str] = {}
    waiting = [each for each in documents if each.id not in sides]
    while True:
        left = []
        for each in waiting:
            hubs = hubs_of(config, each)
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


def hubs_of(config: SplitConfig, document: Document) -> list[Hub]:
    cluster = ("cluster", document.cluster)
    return [("group", document.group), cluster] if config.group else [cluster]


def key_of(config: SplitConfig, document: Document) -> str:
    if not config.group:
        return document.id
    address = urlsplit(document.group)
    return document.group if not address.netloc else address._replace(scheme="", netloc="").geturl()


def _remembered(
    config: SplitConfig, documents: Sequence[Document], gone: Mapping[str, str], memory: Memory
) -> defaultdict[Hub, set[str]]:
    hub_sides: defaultdict[Hub, set[str]] = defaultdict(set)
    clusters = {**gone, **{each.id: each.cluster for each in documents}}
    for key, side in memory.sides.items():
        if key in clusters:
            hub_sides["cluster", clusters[key]].add(side)
        if config.group:
            hub_sides["group", memory.groups[key]].add(side)
    return hub_sides


def _fresh(config: SplitConfig, documents: Sequence[Document]) -> dict[str, str]:
    """Components grow by the smallest key that a neighbour has, until none grows any more."""
    smallest = {each.id: key_of(config, each) for each in documents}
    while True:
        of_hub: dict[Hub, str] = {}
        for each in documents:
            for hub in hubs_of(config, each):
                of_hub[hub] = min(of_hub.get(hub, smallest[each.id]), smallest[each.id])
        after = {each.id: min(of_hub[hub] for hub in hubs_of(config, each)) for each in documents}
        if after == smallest:
            return {each.id: side_of(config, smallest[each.id]) for each in documents}
        smallest = after
