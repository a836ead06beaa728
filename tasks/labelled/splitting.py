"""Sides for examples that have none: by cluster and group, by a hash, so that nothing old moves when data grows."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bert_core.config import SequenceTask, Task
from tasks.config.data import DataConfig
from tasks.labelled.ledger import LabelledDataError
from tasks.labelled.similar import Likeness


@dataclass(frozen=True)
class Split:
    """N examples in C components: what must stay together."""

    sides: list[str]
    """(N,)"""
    components: int
    largest: int
    """Examples of the largest component."""
    moved: int
    """Components that were given to a side which had none of a label."""


def split(
    config: DataConfig, task: Task, table: pa.Table, likeness: Likeness, sides: Sequence[str], seed: int
) -> Split:
    """A side for each example: one of `sides` (validation, test: those that are missing) or train.

    Examples with equal or similar first parts, and those that share a value of a group column, are one component, and
    go to one side: that which a hash of the seed and the component's name says. The name is its smallest group, where
    there are groups, otherwise the smallest hash of its examples' content. So the side of an example depends on nothing
    but its own component and the seed: not on the order or number of the others, nor on labels, and more data
    moves only what it ties together.

    Shares are those of the config in expectation, for each label alike. One exception, so that every label can be
    learned and measured: a side that has none of a label (or no example at all) is given the component with it that
    came nearest to that side, from a side that keeps another. Once there are more, it may go back.

    Raises:
        LabelledDataError: a side is empty: too few components.
    """
    component, count = _components(config, table, likeness)
    places = _places(config, table, likeness, component, count, seed)
    starts = {"test": 0.0, "validation": config.test_share}
    shares = {"test": config.test_share, "validation": config.validation_share}
    of_component = ["train"] * count
    for side in sides:
        for number in np.flatnonzero((places >= starts[side]) & (places < starts[side] + shares[side])).tolist():
            of_component[number] = side
    moved = _complete(of_component, component, places, _strata(task, table), {side: starts[side] for side in sides})
    found = [of_component[number] for number in component.tolist()]
    sizes = np.bincount(component, minlength=count)
    if empty := [side for side in ("train", *sides) if side not in set(found)]:
        raise LabelledDataError(
            f"no example is left for {', '.join(empty)}: {len(found)} examples hang together in {count} components "
            f"(by data.group, and by likeness from data.cluster_threshold on), the largest of {sizes.max()}. Give "
            f"files for {', '.join(sides)}, group by another column, or raise data.cluster_threshold"
        )
    return Split(found, count, int(sizes.max()), moved)


def position(seed: int, name: str) -> float:
    """In [0, 1): a pure function of the seed and the name."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{name}".encode()).digest()[:8], "big") / 2**64


def sample(ids: Sequence[str], size: int, seed: int) -> list[int]:
    """Row numbers of a sample, in order. A smaller sample is part of a larger one of the same seed."""
    ranked = sorted(range(len(ids)), key=lambda row: (position(seed, f"sample\n{ids[row]}"), ids[row]))
    return sorted(ranked[:size])


def _components(config: DataConfig, table: pa.Table, likeness: Likeness) -> tuple[NDArray[np.int64], int]:
    """(N,): the component of each example."""
    if config.cluster_threshold is None:
        numbers = {key: number for number, key in enumerate(dict.fromkeys(likeness.keys))}
        nodes, ties = np.array([numbers[key] for key in likeness.keys], np.int64), []
    else:
        part = likeness.parts[0]
        near = part.similarity >= config.cluster_threshold
        nodes, ties = part.nodes, [(part.one[near], part.other[near])]
    hubs = int(nodes.max()) + 1
    for name in config.group:
        values = [None if value is None else str(value) for value in table[name].to_pylist()]
        stated = {row: value for row, value in enumerate(values) if value is not None}
        numbered = {value: hubs + number for number, value in enumerate(dict.fromkeys(stated.values()))}
        ties.append((nodes[list(stated)], np.array([numbered[value] for value in stated.values()], np.int64)))
        hubs += len(numbered)
    one = np.concatenate([np.empty(0, np.int64), *(tie[0] for tie in ties)])
    other = np.concatenate([np.empty(0, np.int64), *(tie[1] for tie in ties)])
    graph = coo_array((np.ones(len(one), bool), (one, other)), shape=(hubs, hubs))
    _, component = connected_components(graph, directed=False)
    distinct, numbers_of = np.unique(component[nodes], return_inverse=True)
    return numbers_of.astype(np.int64), len(distinct)


def _places(
    config: DataConfig, table: pa.Table, likeness: Likeness, component: NDArray[np.int64], count: int, seed: int
) -> NDArray[np.float64]:
    """(C,): where each component falls."""
    names: list[str | None] = [None] * count
    groups = [table[name].to_pylist() for name in config.group]
    for row, number in enumerate(component.tolist()):
        stated = [f"group\n{index}\n{values[row]}" for index, values in enumerate(groups) if values[row] is not None]
        # groups sort before contents: a component that has a group is named by it
        mine = min(stated) if stated else f"text\n{likeness.contents[row]}"
        before = names[number]
        names[number] = mine if before is None else min(before, mine)
    return np.array([position(seed, str(name)) for name in names])


def _strata(task: Task, table: pa.Table) -> list[str]:
    """(N,): what every side should have some of."""
    if isinstance(task, SequenceTask) and task.kind == "single":
        return [str(label) for label in table["label"].to_pylist()]
    return [""] * table.num_rows


def _complete(
    sides: list[str],
    component: NDArray[np.int64],
    places: NDArray[np.float64],
    strata: Sequence[str],
    wanted: Mapping[str, float],
) -> int:
    """Give each wanted side a component with each stratum, in place; how many were moved."""
    having: dict[str, set[int]] = defaultdict(set)
    strata_of: dict[int, set[str]] = defaultdict(set)
    for number, stratum in zip(component.tolist(), strata, strict=True):
        having[stratum].add(number)
        strata_of[number].add(stratum)
    left = Counter((sides[number], each) for number, found in strata_of.items() for each in found)
    moved = 0
    for stratum in sorted(having):
        for side, start in wanted.items():
            if left[side, stratum]:
                continue
            spare = [
                (sides[number] != "train", (places[number] - start) % 1.0, number)
                for number in having[stratum]
                if all(left[sides[number], each] > 1 for each in strata_of[number])
            ]
            if not spare:
                continue
            chosen = min(spare)[2]
            left.subtract((sides[chosen], each) for each in strata_of[chosen])
            left.update((side, each) for each in strata_of[chosen])
            sides[chosen] = side
            moved += 1
    return moved
