"""Picture of a search: the metric against each of the settings that were tried."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tasks.finetuning.space import shown
from tasks.text.plots import BLUE, GREY, ORANGE, STYLE

COLUMNS = 3
MOST_TICKS = 8


class Point(Protocol):
    """What is drawn of a trial."""

    @property
    def values(self) -> dict[str, Any]: ...
    @property
    def value(self) -> float | None: ...
    @property
    def status(self) -> str: ...


def search_picture(
    trials: Sequence[Point], best: Point, path: Path, *, metric: str, log_keys: Sequence[str] = ()
) -> None:
    """A panel for each key, as a PNG; trials that did not finish are hollow, at their last measurement.

    Args:
        log_keys: whose axis counts orders of magnitude.
    """
    keys = list(best.values)
    across = min(COLUMNS, len(keys))
    down = math.ceil(len(keys) / across)
    with rc_context(STYLE):
        figure = Figure(figsize=(4 * across, 0.6 + 3 * down), dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        grid = figure.subplots(down, across, squeeze=False)
        for axes, key in zip(grid.flat, keys, strict=False):
            _panel(axes, key, trials, best, metric, is_log=key in log_keys)
        for axes in list(grid.flat)[len(keys) :]:
            axes.set_visible(False)
        figure.savefig(path, format="png", metadata={"Software": None})


def _panel(axes: Axes, key: str, trials: Sequence[Point], best: Point, metric: str, *, is_log: bool) -> None:
    drawn = [(trial, trial.value) for trial in trials if trial.value is not None and key in trial.values]
    given = [trial.values[key] for trial, _ in drawn]
    is_number = all(isinstance(value, int | float) and not isinstance(value, bool) for value in given)
    names = [] if is_number else list(dict.fromkeys(shown(value) for value in given))
    for trial, measured in sorted(drawn, key=lambda each: each[0] is best):
        value = trial.values[key]
        x = float(value) if is_number else float(names.index(shown(value)))
        color = ORANGE if trial is best else BLUE if trial.status == "finished" else GREY
        face = "none" if trial.status != "finished" else color
        axes.plot([x], [measured], "o", color=color, markerfacecolor=face, markersize=8 if trial is best else 6)
    if is_number and (is_log or _spans_orders([float(value) for value in given])):
        axes.set_xscale("log")
    elif is_number and len({*given}) <= MOST_TICKS:
        axes.set_xticks(sorted({float(value) for value in given}))
        axes.xaxis.set_major_formatter("{x:g}")
    elif names:
        axes.set_xticks(range(len(names)), [name[:16] for name in names])
    axes.margins(x=0.1, y=0.12)
    axes.set_xlabel(key)
    axes.set_ylabel(metric)


def _spans_orders(values: Sequence[float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) >= 20
