"""IBM model 1: which word translates which, from pairs of sentences alone (Brown et al., 1993)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

_NOBODY = "\x00"  # the source word of targets that translate none
ITERATIONS = 8
_LONGEST = 60


@dataclass(frozen=True)
class Lexicon:
    """The most probable target of each source word."""

    best: dict[str, tuple[str, float]]
    """Source word -> (target word, its probability given the source); ties go to the target seen first."""
    iterations: int
    pairs_read: int
    stopped_early: bool

    @staticmethod
    def fit(
        sources: Sequence[Sequence[str]],
        targets: Sequence[Sequence[str]],
        *,
        max_pairs: int,
        iterations: int = ITERATIONS,
        spent: Callable[[], bool] = lambda: False,
    ) -> Lexicon:
        """Expectation maximisation from equal probabilities; of each sentence the first 60 words are read.

        Args:
            max_pairs: of words, summed over the pairs of sentences: those after that are not read.
            spent: asked after each iteration; if true, the ones left are not made.
        """
        source_ids: dict[str, int] = {_NOBODY: 0}
        target_ids: dict[str, int] = {}
        left: list[np.ndarray] = []
        right: list[np.ndarray] = []
        group: list[np.ndarray] = []
        words, read, size = 0, 0, 0
        for source, target in zip(sources, targets, strict=True):
            f = [0, *(source_ids.setdefault(word, len(source_ids)) for word in source[:_LONGEST])]
            e = [target_ids.setdefault(word, len(target_ids)) for word in target[:_LONGEST]]
            size += len(f) * len(e)
            if read and size > max_pairs:
                break
            read += 1
            left.append(np.tile(np.array(f, dtype=np.int64), len(e)))
            right.append(np.repeat(np.array(e, dtype=np.int64), len(f)))
            group.append(np.repeat(np.arange(words, words + len(e)), len(f)))
            words += len(e)
        f_ids, e_ids, places = np.concatenate(left), np.concatenate(right), np.concatenate(group)
        keys, cell = np.unique(f_ids * max(1, len(target_ids)) + e_ids, return_inverse=True)
        probability = np.ones(len(keys))
        rows = keys // max(1, len(target_ids))
        made = 0
        while made < iterations:
            made += 1
            weight = probability[cell]
            weight /= np.bincount(places, weights=weight)[places]  # each target word is shared out among its sources
            counts = np.bincount(cell, weights=weight, minlength=len(keys))
            probability = counts / np.bincount(rows, weights=counts)[rows]
            if spent():
                break
        best = _best(list(source_ids), list(target_ids), keys, probability)
        return Lexicon(best, made, read, made < iterations)


def _best(
    sources: list[str], targets: list[str], keys: np.ndarray, probability: np.ndarray
) -> dict[str, tuple[str, float]]:
    rows, columns = np.divmod(keys, max(1, len(targets)))
    order = np.lexsort((columns, -probability, rows))
    first = order[np.unique(rows[order], return_index=True)[1]]
    return {
        sources[rows[i]]: (targets[columns[i]], float(probability[i])) for i in first if sources[rows[i]] != _NOBODY
    }
