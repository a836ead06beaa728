"""Who goes to which side of the split: what had a side keeps it, what is tied to it follows, the rest is drawn.

All in arrays, about 140 bytes a document at the peak, its address of 80 characters among them. A hub is what holds
documents together: a cluster or, where pages stay together, a page.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from tasks.config import SplitConfig
from tasks.text.names import Names, Numbers

SIDES = ("train", "validation", "test")
BRIDGE = "near-duplicate across the split"
TORN_GROUP = "group on several sides of the split"
VERDICTS = (*SIDES, BRIDGE, TORN_GROUP)
"""What `assign` says of a document, as an index."""
_BRIDGE, _TORN = VERDICTS.index(BRIDGE), VERDICTS.index(TORN_GROUP)
NO_SIDE = 255
_NAMES_AT_ONCE = 16_384
_PLAIN = re.compile(r"https?://[A-Za-z0-9.:-]+(/(?!/)[!-\"$->@-~]*(?:\?[!-\"$-~]+)?)")
"""Addresses of which the standard library would change nothing: it takes a second for every 100,000."""

Verdicts = NDArray[np.uint8]

_BITS = np.array([1, 2, 4], np.uint8)
"""Of each side. Several sides are a mask of these."""
_ONLY = np.full(8, NO_SIDE, np.uint8)
"""(masks): the side, if it is one."""
_ONLY[_BITS] = np.arange(len(SIDES), dtype=np.uint8)
_SEVERAL = np.array([mask & (mask - 1) > 0 for mask in range(8)])
"""(masks): whether there is more than one side."""


@dataclass(frozen=True)
class Corpus:
    """N documents of tonight, M that were given a side on earlier nights, G of earlier nights that are gone.

    Ids, groups and clusters are numbers of strings, each kind with its own; those of ids are in ascending order.
    """

    ids: Numbers
    groups: Numbers
    clusters: Numbers
    known_ids: Numbers
    known_groups: Numbers
    known_sides: Verdicts
    """(M): indices of SIDES."""
    gone_ids: Numbers
    gone_clusters: Numbers
    id_names: Names
    group_names: Names
    cluster_count: int

    def side_by_id(self) -> Verdicts:
        """(ids): the side of an earlier night, or NO_SIDE."""
        sides = np.full(len(self.id_names), NO_SIDE, np.uint8)
        sides[self.known_ids] = self.known_sides
        return sides


def assign(config: SplitConfig, corpus: Corpus) -> Verdicts:
    """(N): indices of VERDICTS, of every document that stays its side, and of every one that goes the reason.

    1. A document that had a side keeps it. 2. A new one takes the side of its page or its cluster, again and again
    until nothing follows any more; one that belongs to two sides would tie them together, and goes. 3. What is left is
    tied to nothing old: each connected component gets a side by a hash of the seed and its smallest key.

    Where documents could follow to several sides it matters who comes first: it is the smaller id. So the verdicts do
    not depend on the order of the documents.
    """
    verdicts = corpus.side_by_id()[corpus.ids]
    hubs = [corpus.clusters, corpus.groups + np.int32(corpus.cluster_count)] if config.group else [corpus.clusters]
    masks = _remembered(config, corpus)
    _follow(corpus.ids, hubs, masks, verdicts)
    _draw(config, corpus, hubs, verdicts)
    return verdicts


def side_of(config: SplitConfig, key: str) -> str:
    """A side by the shares, a pure function of the seed and the key."""
    digest = hashlib.sha256(f"{config.seed}\n{key}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < config.test_share:
        return "test"
    return "validation" if position < config.test_share + config.validation_share else "train"


def page_key(group: str) -> str:
    """A page's path without its host, so that the same site on another port or domain is split the same way."""
    if plain := _PLAIN.fullmatch(group):
        return plain[1]
    address = urlsplit(group)
    return group if not address.netloc else address._replace(scheme="", netloc="").geturl()


def _remembered(config: SplitConfig, corpus: Corpus) -> NDArray[np.uint8]:
    """(hubs): the sides of earlier nights, as masks."""
    bits = _BITS[corpus.known_sides]
    cluster_of = np.full(len(corpus.id_names), -1, np.int32)
    cluster_of[corpus.gone_ids] = corpus.gone_clusters
    cluster_of[corpus.ids] = corpus.clusters
    clusters = cluster_of[corpus.known_ids]
    masks = np.zeros(corpus.cluster_count + len(corpus.group_names) * config.group, np.uint8)
    _add(masks, clusters[clusters >= 0], bits[clusters >= 0])
    if config.group:
        _add(masks[corpus.cluster_count :], corpus.known_groups, bits)
    return masks


def _add(masks: NDArray[np.uint8], at: Numbers, bits: NDArray[np.uint8]) -> None:
    """masks[at] |= bits, also where `at` repeats."""
    for bit in _BITS:
        masks[at[bits & bit > 0]] |= bit


def _follow(ids: Numbers, hubs: list[Numbers], masks: NDArray[np.uint8], verdicts: Verdicts) -> None:
    """Step 2: fill in the verdicts of new documents that are tied to a side.

    If there is one side in all of a component, everything in it ends up there, whoever comes first. Only documents of
    components with several sides have to be taken one by one; these are few, if any.
    """
    new = np.flatnonzero(verdicts == NO_SIDE)
    mine = [hub[new] for hub in hubs]
    component, count = _components(mine, len(masks))
    reached = np.zeros(count, np.uint8)
    for hub in mine:
        _add(reached, component, masks[hub])
    reached = reached[component]
    verdicts[new] = _ONLY[reached]
    contested = new[_SEVERAL[reached]]
    _follow_in_turn(contested[np.argsort(ids[contested], kind="stable")], hubs, masks, verdicts)


def _follow_in_turn(rows: NDArray[np.int64], hubs: list[Numbers], masks: NDArray[np.uint8], verdicts: Verdicts) -> None:
    """Step 2 for some rows: each that gets a side gives it to its hubs at once, so the next one sees it."""
    sides = bytearray(masks)  # whose items are read and written faster than an array's
    waiting = list(zip(rows.tolist(), *(hub[rows].tolist() for hub in hubs), strict=True))
    while True:
        left = []
        for row, *mine in waiting:
            known = 0
            for hub in mine:
                known |= sides[hub]
            if _SEVERAL[known]:
                # The second hub, where there is one, is the page.
                verdicts[row] = _TORN if len(mine) > 1 and _SEVERAL[sides[mine[1]]] else _BRIDGE
            elif known:
                verdicts[row] = _ONLY[known]
                for hub in mine:
                    sides[hub] |= known
            else:
                left.append((row, *mine))
        if len(left) == len(waiting):
            return
        waiting = left


def _draw(config: SplitConfig, corpus: Corpus, hubs: list[Numbers], verdicts: Verdicts) -> None:
    """Step 3: a side for each component of documents that have none."""
    left = np.flatnonzero(verdicts == NO_SIDE)
    hub_count = corpus.cluster_count + len(corpus.group_names)
    component, count = _components([hub[left] for hub in hubs], hub_count)
    drawn = np.full(count, NO_SIDE, np.uint8)
    for number, run in groupby(_keys(config, corpus, left, component), key=itemgetter(0)):
        drawn[number] = SIDES.index(side_of(config, min(key for _, key in run)))
    verdicts[left] = drawn[component]


def _keys(
    config: SplitConfig, corpus: Corpus, rows: NDArray[np.int64], component: Numbers
) -> Iterator[tuple[int, str]]:
    """(component, key) of rows, component after component: keys of pages, or ids where pages do not matter."""
    if config.group:
        names, component_of = corpus.group_names, np.full(len(corpus.group_names), -1, np.int32)
        component_of[corpus.groups[rows]] = component
        numbers = np.flatnonzero(component_of >= 0).astype(np.int32)  # each page once
        component = component_of[numbers]
    else:
        names, numbers = corpus.id_names, corpus.ids[rows]
    order = np.argsort(component, kind="stable")
    for start in range(0, len(order), _NAMES_AT_ONCE):
        at = order[start : start + _NAMES_AT_ONCE]
        for number, name in zip(component[at].tolist(), names.take(numbers[at]).to_pylist(), strict=True):
            yield number, page_key(name) if config.group else name


def _components(hubs: list[Numbers], hub_count: int) -> tuple[Numbers, int]:
    """(rows): the component of each document of `hubs`, one or two for each; and how many components there may be."""
    if len(hubs) == 1:
        return hubs[0], hub_count
    graph = coo_array((np.ones(len(hubs[0]), bool), tuple(hubs)), shape=(hub_count, hub_count))
    count, component = connected_components(graph, directed=False)
    return component[hubs[0]], count
