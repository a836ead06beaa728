"""The leading metric on each slice, and whether it is worse there than elsewhere."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from bert_core.intervals import Floats
from bert_core.metrics import holm
from bert_core.metrics.metric import Ints
from tasks.evidence.draw import Draw, Runs, lead
from tasks.evidence.schema import CANDIDATE, SliceFigures
from tasks.evidence.slices import chosen

INSIDE, OUTSIDE = 1, 2


def slice_figures(
    scored: Runs, slices: Mapping[str, list[str]], primary: str, draw: Draw
) -> tuple[tuple[SliceFigures, ...], dict[str, str]]:
    """Each slice of `slices` (column -> the slice of each example) against the rest, and what was left out with the
    reason. The candidate's runs are drawn alike for both, the examples independently."""
    cuts, left_out = chosen(slices)
    able = {name: [run.only(primary) for run in runs] for name, runs in scored.items() if primary in runs[0].metrics}
    sign = 1 if able[CANDIDATE][0].metrics[primary].higher_is_better else -1
    found: list[SliceFigures] = []
    for column, value, rows in cuts:
        one = _figures(able, column, value, rows, primary, draw)
        if one is None:
            left_out[f"{column}={value}"] = f"{primary} is not defined there"
        else:
            found.append(one)
    corrected = holm({one.name: one.p for one in found})
    level = 1 - draw.confidence

    def marked(one: SliceFigures) -> SliceFigures:
        p = corrected[one.name]
        return one.model_copy(update={"p": p, "is_worse": p < level and sign * one.difference.estimate < 0})

    return tuple(marked(one) for one in found), left_out


def _figures(able: Runs, column: str, value: str, rows: Ints, primary: str, draw: Draw) -> SliceFigures | None:
    rest = np.setdiff1d(np.arange(able[CANDIDATE][0].size), rows)
    inside = draw.of({name: [run.take(rows) for run in runs] for name, runs in able.items()}, INSIDE)
    outside = draw.of({CANDIDATE: [run.take(rest) for run in able[CANDIDATE]]}, OUTSIDE)
    if primary not in inside.metrics(CANDIDATE) or primary not in outside.metrics(CANDIDATE):
        return None
    drawn = inside.drawn[CANDIDATE][primary] - outside.drawn[CANDIDATE][primary]
    own, other = inside.interval(CANDIDATE, primary), outside.interval(CANDIDATE, primary)
    others = [name for name in able if name != CANDIDATE and primary in inside.metrics(name)]
    return SliceFigures(
        column=column,
        value=value,
        examples=len(rows),
        interval=own,
        difference=inside.spread(own.estimate - other.estimate, drawn),
        p=_chance(own.estimate - other.estimate, drawn),
        is_worse=False,
        leads={name: lead(inside, name, primary) for name in others},
    )


def _chance(difference: float, drawn: Floats) -> float:
    """Two-sided, by the normal law with the bootstrap's spread: counting samples beyond 0 gives no p below 1 / S, and
    the correction for many slices multiplies it."""
    spread = float(np.nanstd(drawn))
    return math.erfc(abs(difference) / spread / math.sqrt(2)) if spread > 0 else float(difference == 0)
