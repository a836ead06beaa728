"""In which way entities go wrong: their boundary, their type, or at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pyarrow as pa

from bert_core.metrics.entities import OUTSIDE, entities
from bert_core.metrics.scripts import words_of
from tasks.evidence.schema import TagErrors

Entity = tuple[str, int, int]
CONFUSED = 15


def tag_errors(gold: pa.Table, runs: Sequence[pa.Table], shown: int = CONFUSED) -> TagErrors:
    """Each true entity counts once: right, of the wrong type, with the wrong boundary, or missed; what was said where
    nothing is, is invented. `runs` are in the order of `gold`."""
    kinds: Counter[str] = Counter()
    confused: Counter[tuple[str, str, str]] = Counter()
    tokens = gold["tokens"].to_pylist()
    true = [entities(tags) for tags in gold["tags"].to_pylist()]
    for run in runs:
        for held, ours, words in zip(true, run["tags"].to_pylist(), tokens, strict=True):
            _compare(held, entities(ours), words, kinds, confused)
    r = len(runs)
    return TagErrors(
        right=kinds["right"] / r,
        boundary=kinds["boundary"] / r,
        type=kinds["type"] / r,
        missed=kinds["missed"] / r,
        invented=kinds["invented"] / r,
        confused=tuple((*key, count / r) for key, count in confused.most_common(shown)),
    )


def _compare(
    true: list[Entity],
    said: list[Entity],
    words: list[str],
    kinds: Counter[str],
    confused: Counter[tuple[str, str, str]],
) -> None:
    used: set[Entity] = set()
    for one in true:
        near = [other for other in said if other[1] <= one[2] and one[1] <= other[2]]
        used.update(near)
        # the exact place tells more than an overlap, and the right type more than another one
        best = min(near, key=lambda other: (other[1:] != one[1:], other[0] != one[0]), default=None)
        if best == one:
            kinds["right"] += 1
            continue
        kind = "missed" if best is None else "type" if best[0] != one[0] else "boundary"
        kinds[kind] += 1
        if kind != "boundary":
            confused[_words(words, one), one[0], best[0] if best else OUTSIDE] += 1
    for other in said:
        if other not in used:
            kinds["invented"] += 1
            confused[_words(words, other), OUTSIDE, other[0]] += 1


def _words(words: list[str], entity: Entity) -> str:
    gap = "" if words_of(words) == "characters" else " "
    return gap.join(words[entity[1] : entity[2] + 1])
