"""Asynchronous successive halving (ASHA: Li et al., 2020, arXiv:1810.05934, section 3.1): who goes on, and who stops.

Decided out of what the trials' folders say, never from memory: after a kill the same trials are compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tasks.finetuning.trial import read_scores

SLACK = 1e-9
"""Steps over all steps may lie below the share that they were rounded up from, by a bit of a float."""


def falls_behind(goodness: float, others: Sequence[float], reduction_factor: float) -> bool:
    """Whether a trial is not among the best 1 / reduction_factor of those that came to its rung before it.

    The first of a rung always goes on: nobody waits for others.
    """
    return bool(others) and goodness < float(np.percentile(others, 100 * (1 - 1 / reduction_factor)))


def rung_of(share: float, rungs: Sequence[float]) -> float | None:
    """The highest rung that a trial has come to at a share of its run."""
    return max((rung for rung in rungs if share + SLACK >= rung), default=None)


def at_rung(folder: Path, rung: float, rungs: Sequence[float]) -> float | None:
    """How good a trial was when it came to a rung; None: it has not, or was not measured there."""
    lines = (line for line in read_scores(folder) if line["share"] < 1 and rung_of(line["share"], rungs) == rung)
    return next((float(line["goodness"]) for line in lines), None)


def others_at(trials: Path, name: str, rung: float, rungs: Sequence[float]) -> list[float]:
    """How good the trials of a search were, apart from the one named, when they came to a rung."""
    found = (at_rung(folder, rung, rungs) for folder in sorted(trials.iterdir()) if folder.name != name)
    return [goodness for goodness in found if goodness is not None]
