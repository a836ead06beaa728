"""Which examples say nearly the same: pairs of similar texts, by MinHash bands and then exactly, all in memory.

An example has one part or several (question and context, two texts). Two examples are as similar as their least
similar parts: two questions on one long context are not the same example.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import islice, product

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import ChoiceTask, PairTask, SpanTask, Task, TokenTask
from tasks.config.data import DataConfig
from tasks.labelled.reading import content_hash
from tasks.text.dedup.candidates import bucket_pairs
from tasks.text.dedup.sketches import batched
from tasks.text.minhash import agreeing, band_keys, bands, least_agreeing, signatures, sketch
from tasks.text.ngrams import Hashes, characters, distinct, jaccard, ngrams
from tasks.text.normalise import canonical

PERMUTATIONS = 128
BUCKET_LIMIT = 64
SEED = 42
MOST_NEIGHBOURS = 64
"""Of a part, the most similar ones."""
_SHIFT, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)

Key = tuple[int, ...]
"""The node of each part."""


@dataclass(frozen=True)
class Part:
    """One text of each of N examples. A node is a different text, after Unicode, case and blanks are made the same."""

    nodes: NDArray[np.int64]
    """(N,)"""
    one: NDArray[np.int64]
    """(P,): a node of each similar pair; `one < other`."""
    other: NDArray[np.int64]
    """(P,)"""
    similarity: NDArray[np.float64]
    """(P,): Jaccard similarity of their shingles."""

    @cached_property
    def neighbours(self) -> dict[int, list[tuple[int, float]]]:
        """Similar nodes and similarities, the most similar first."""
        found: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for one, other, similarity in zip(
            self.one.tolist(), self.other.tolist(), self.similarity.tolist(), strict=True
        ):
            found[one].append((other, similarity))
            found[other].append((one, similarity))
        return {
            node: sorted(each, key=lambda near: (-near[1], near[0]))[:MOST_NEIGHBOURS] for node, each in found.items()
        }


@dataclass(frozen=True)
class Likeness:
    """N examples by their parts; the first part is what ties examples to one side of a split."""

    parts: tuple[Part, ...]
    contents: list[str]
    """(N,): a hash of the parts, the same for equal examples whatever their label."""
    spellings: list[tuple[str, ...]]
    """(N,): the parts to the letter."""

    @cached_property
    def keys(self) -> list[Key]:
        return list(zip(*(part.nodes.tolist() for part in self.parts), strict=True))

    def first(self, rows: int) -> Likeness:
        """Of the first so many examples, as if there were no others."""
        parts = []
        for part in self.parts:
            nodes = part.nodes[:rows]
            known = part.other <= nodes.max(initial=-1)  # nodes are numbered in the order of the examples
            parts.append(Part(nodes, part.one[known], part.other[known], part.similarity[known]))
        return Likeness(tuple(parts), self.contents[:rows], self.spellings[:rows])

    def near(self, key: Key, threshold: float | None) -> Iterator[tuple[Key, float]]:
        """Keys as similar as the threshold, itself first (1.0)."""
        yield key, 1.0
        if threshold is None:
            return
        choices = [
            [(node, 1.0), *(each for each in part.neighbours.get(node, ()) if each[1] >= threshold)]
            for node, part in zip(key, self.parts, strict=True)
        ]
        for combined in islice(product(*choices), 1, None):  # the first is the key itself
            yield tuple(each[0] for each in combined), min(each[1] for each in combined)


def likeness(config: DataConfig, task: Task, table: pa.Table) -> Likeness:
    """Of all examples of a table. Similarities are known from the lower one of the thresholds on."""
    wanted = [each for each in (config.cluster_threshold, config.near_threshold) if each is not None]
    spelled = parts_of(task, table)
    texts = [[canonical(text) for text in each] for each in spelled]
    parts = tuple(similar_texts(each, min(wanted) if wanted else None, config.shingle) for each in texts)
    contents = [content_hash(each) for each in zip(*texts, strict=True)]
    return Likeness(parts, contents, list(zip(*spelled, strict=True)))


def parts_of(task: Task, table: pa.Table) -> list[list[str]]:
    """The texts that make an example what it is: a list for each part."""
    columns = {name: table[name].to_pylist() for name in table.schema.names if name in _PART_COLUMNS}
    if isinstance(task, TokenTask):
        texts = [[" ".join(tokens) for tokens in columns["tokens"]]]
    elif isinstance(task, SpanTask):
        texts = [columns["context"], columns["question"]]
    elif isinstance(task, ChoiceTask):
        stems = zip(columns["text"], columns["choices"], strict=True)
        texts = [["\n".join([text, *choices]) for text, choices in stems]]
    elif task.type == "causal":
        texts = [["\n".join(both) for both in zip(columns["text"], columns["target"], strict=True)]]
    elif isinstance(task, PairTask) or task.type == "embedding":
        texts = [columns["text"], columns["text_b"]]
    else:
        texts = [columns["text"]]
    return texts


_PART_COLUMNS = ("text", "text_b", "tokens", "question", "context", "choices", "target")


def similar_texts(texts: Sequence[str], threshold: float | None, shingle: int) -> Part:
    """Nodes of canonical texts, and all pairs of nodes as similar as the threshold (None: no pairs)."""
    known: dict[str, int] = {}
    nodes = np.array([known.setdefault(text, len(known)) for text in texts], np.int64)
    empty = np.empty(0, np.int64)
    if threshold is None or len(known) < 2:
        return Part(nodes, empty, empty, np.empty(0))
    count, rows = bands(threshold, PERMUTATIONS)
    keys, signed, shingles = [], [], []
    for run in batched(list(known)):
        sets = ngrams(characters(run), shingle)
        sketches = sketch(sets, count * rows, SEED)
        keys.append(band_keys(sketches, count, rows))
        signed.append(signatures(sketches))
        shingles += [sets[index] for index in range(len(run))]
    codes = _likely(np.concatenate(keys, axis=1), np.concatenate(signed), threshold)
    one, other = (codes >> _SHIFT).astype(np.int64), (codes & _LOW).astype(np.int64)
    similarity = _similarities(one, other, shingles, threshold)
    similar = similarity >= threshold
    return Part(nodes, one[similar], other[similar], similarity[similar])


def _likely(keys: NDArray[np.uint32], signed: NDArray[np.uint8], threshold: float) -> Hashes:
    """Pairs that meet in a bucket of a band and whose sketches agree often enough, as one * 2^32 + other."""
    least = least_agreeing(threshold, signed.shape[1])
    counts: Counter[str] = Counter()
    found = [np.empty(0, np.uint64)]
    for band in range(len(keys)):
        for codes in bucket_pairs(keys[band], keys[(band + 1) % len(keys)], BUCKET_LIMIT, counts):
            one, other = (codes >> _SHIFT).astype(np.int64), (codes & _LOW).astype(np.int64)
            found.append(codes[agreeing(signed[one], signed[other]) >= least])
        found = [distinct(np.concatenate(found))]
    return found[0]


def _similarities(
    one: NDArray[np.int64], other: NDArray[np.int64], shingles: list[Hashes], threshold: float
) -> NDArray[np.float64]:
    sets = {node: distinct(shingles[node]) for node in set(one.tolist()) | set(other.tolist())}
    pairs = zip(one.tolist(), other.tolist(), strict=True)
    return np.array([jaccard(sets[i], sets[j], threshold) for i, j in pairs], np.float64)
