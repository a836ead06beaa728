"""Pictures of a training: its curves. One style, no global state."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, Formatter

INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
BLUE, ORANGE, GREY = "#1f6fb2", "#d9660a", "#9aa5b1"
STYLE: dict[Any, Any] = {
    "font.family": ["DejaVu Sans"],
    "font.size": 10,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.titlesize": 12,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "legend.frameon": False,
}


class PlotError(ValueError):
    """Nothing to draw."""


def training_curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """A training run in panels, as a PNG 1,650 pixels wide: loss against tokens and against time, and what else the
    lines have of learning rate, gradient norm, tokens a second and MFU (share of the machine's peak), against tokens.

    Args:
        metrics: lines of a metrics.jsonl: `kind` ("train" or "eval"), `step`, `tokens`, `loss`, `time`; of train lines
            also `lr`, `grad_norm`, `tokens_per_second`, `mfu`.

    Raises:
        PlotError: no line has a loss.
    """
    train = [line for line in metrics if line.get("kind") == "train" and "loss" in line]
    held_out = [line for line in metrics if line.get("kind") == "eval" and "loss" in line]
    if not train and not held_out:
        raise PlotError(f"{len(metrics)} lines of metrics, none of kind train or eval with a loss")
    tokens, time = _tokens_axis(train or held_out), _time_axis([*train, *held_out])
    panels = [panel for panel in PANELS if any(panel.key in line for line in train)]
    rows = 1 + math.ceil(len(panels) / 2)
    with _figure(path, (11, 1 + 3 * rows)) as figure:
        grid = figure.subplots(rows, 2, squeeze=False)
        for axes, axis in zip(grid[0], (tokens, time), strict=True):
            _draw_losses(axes, train, held_out, axis)
        for axes, panel in zip(grid[1:].flat, panels, strict=False):
            _draw_panel(axes, [line for line in train if panel.key in line], panel, tokens)
        for axes in list(grid[1:].flat)[len(panels) :]:
            axes.set_visible(False)


@dataclass(frozen=True)
class Axis:
    """What a panel's x axis counts: a label, and where a line of metrics lies on it."""

    label: str
    place: Callable[[Mapping[str, Any]], float]
    ticks: str | Formatter


@dataclass(frozen=True)
class Panel:
    key: str
    title: str
    smooth: bool


PANELS = (
    Panel("lr", "Learning rate", False),
    Panel("grad_norm", "Gradient norm", True),
    Panel("tokens_per_second", "Tokens a second", True),
    Panel("mfu", "MFU", True),
)


def _tokens_axis(lines: Sequence[Mapping[str, Any]]) -> Axis:
    """Tokens where the lines carry a running count of them, else steps."""
    tokens = [line.get("tokens", -1) for line in lines]
    rising = all(a < b for a, b in zip([-1, *tokens], tokens, strict=False))
    key, label = ("tokens", "tokens seen") if rising else ("step", "step")
    return Axis(label, lambda line: float(line[key]), EngFormatter(sep=""))


def _time_axis(lines: Sequence[Mapping[str, Any]]) -> Axis:
    """Minutes of a clock on the wall since the first line; pauses between attempts count."""
    begun = min(line.get("time", 0.0) for line in lines)
    return Axis("minutes since the first line", lambda line: (line.get("time", 0.0) - begun) / 60, "{x:g}")


def _draw_losses(
    axes: Axes, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]], axis: Axis
) -> None:
    if train:
        x, losses = [axis.place(line) for line in train], [line["loss"] for line in train]
        axes.plot(x, losses, color=BLUE, alpha=0.25, linewidth=1)
        axes.plot(x, _smoothed(losses), color=BLUE, linewidth=2, label="training (smoothed)")
    if held_out:
        x, losses = [axis.place(line) for line in held_out], [line["loss"] for line in held_out]
        axes.plot(x, losses, "o-", color=ORANGE, linewidth=2, markersize=4, label="held-out")
        for i in {0, len(losses) - 1}:
            axes.annotate(f"{losses[i]:.3f}", (x[i], losses[i]), (0, 8), textcoords="offset points", ha="center")
    axes.margins(x=0.05, y=0.12)
    axes.set_title("Loss")
    axes.set_xlabel(axis.label)
    axes.xaxis.set_major_formatter(axis.ticks)
    axes.legend(loc="upper right")


def _draw_panel(axes: Axes, lines: Sequence[Mapping[str, Any]], panel: Panel, axis: Axis) -> None:
    x, values = [axis.place(line) for line in lines], [float(line[panel.key]) for line in lines]
    if panel.smooth:
        axes.plot(x, values, color=GREY, alpha=0.4, linewidth=1)
    axes.plot(x, _smoothed(values) if panel.smooth else values, color=BLUE, linewidth=1.5)
    axes.set_ylim(bottom=0)
    axes.set_title(panel.title)
    axes.set_xlabel(axis.label)
    axes.xaxis.set_major_formatter(axis.ticks)
    axes.yaxis.set_major_formatter("{x:.0%}" if panel.key == "mfu" else "{x:g}")


def _smoothed(values: Sequence[float]) -> list[float]:
    """Mean of a window of 5% of the run around each value: unlike an exponential average, it does not lag behind."""
    reach = max(1, len(values) // 40)
    windows = [values[max(0, i - reach) : i + reach + 1] for i in range(len(values))]
    return [sum(window) / len(window) for window in windows]


@contextmanager
def _figure(path: Path, inches: tuple[float, float]) -> Iterator[Figure]:
    """A figure in this module's style, written to `path` as a PNG of 150 pixels an inch when the block ends."""
    with rc_context(STYLE):
        figure = Figure(figsize=inches, dpi=150, layout="constrained", facecolor="white")
        FigureCanvasAgg(figure)
        yield figure
        figure.savefig(path, format="png", metadata={"Software": None})
