"""Pictures of a run: loss curves, confusion matrix, models side by side. One style; no global state of matplotlib."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from bert_core.evaluate import EvalReport
from tasks.text.report.wording import model_title, ordered_models

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


def loss_curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Training and held-out loss against tokens seen, with the learning rate below, as a PNG of 1,200 x 825 pixels.

    Args:
        metrics: lines of a metrics.jsonl: `kind` ("train" or "eval"), `step`, `tokens`, `loss`; `lr` of train lines.

    Raises:
        PlotError: no line has a loss.
    """
    train = [line for line in metrics if line.get("kind") == "train" and "loss" in line]
    held_out = [line for line in metrics if line.get("kind") == "eval" and "loss" in line]
    if not train and not held_out:
        raise PlotError(f"{len(metrics)} lines of metrics, none of kind train or eval with a loss")
    with _figure(path, (8, 5.5)) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[4, 1])
        _draw_losses(upper, train, held_out)
        lower.plot(_x(train, train), [line.get("lr", 0.0) for line in train], color=GREY, linewidth=1.5)
        lower.set_ylabel("learning rate")
        lower.set_ylim(bottom=0)
        lower.set_xlabel(f"{_unit(train)} seen" if _unit(train) == "tokens" else "optimizer steps")
        lower.xaxis.set_major_formatter(EngFormatter(sep=""))
        lower.yaxis.set_major_formatter("{x:g}")
        figure.align_ylabels()


def confusion_matrix(report: EvalReport, path: Path, *, title: str = "True and predicted class") -> None:
    """Counts, and shares of each true class, as a PNG; the darker a cell, the larger its share."""
    size = len(report.classes)
    with _figure(path, (3.2 + 1.1 * size, 2.4 + 0.9 * size)) as figure:
        axes = figure.subplots()
        shares = [[cell / max(1, sum(row)) for cell in row] for row in report.confusion]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for i, row in enumerate(report.confusion):
            for j, cell in enumerate(row):
                color = "white" if shares[i][j] > 0.55 else INK
                axes.text(j, i, f"{cell:,}\n{shares[i][j]:.0%}", ha="center", va="center", color=color, fontsize=12)
        axes.set_xticks(range(size), report.classes)
        axes.set_yticks(range(size), report.classes)
        axes.tick_params(length=0, labelcolor=INK)
        axes.grid(False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(f"{title}\n", fontsize=12)
        axes.text(
            0, 1.03, f"{report.examples:,} documents, accuracy {report.accuracy}", transform=axes.transAxes, color=FAINT
        )


def model_comparison(reports: Mapping[str, EvalReport], path: Path, *, candidate: str = "bert") -> None:
    """Accuracy of each model with its interval, the candidate highlighted, as a PNG.

    Raises:
        PlotError: no reports.
    """
    if not reports:
        raise PlotError("no models to compare")
    names = ordered_models(reports)[::-1]  # the first on top
    with _figure(path, (8, 1.5 + 0.45 * len(names))) as figure:
        axes = figure.subplots()
        for place, name in enumerate(names):
            accuracy, color = reports[name].accuracy, BLUE if name == candidate else GREY
            axes.plot([accuracy.low, accuracy.high], [place, place], color=color, linewidth=4, solid_capstyle="round")
            axes.plot(accuracy.estimate, place, "o", color=color, markersize=9, markeredgecolor="white")
            axes.annotate(
                f"{accuracy.estimate:.3f}", (accuracy.high, place), (8, 0), textcoords="offset points", va="center"
            )
        axes.set_yticks(range(len(names)), [model_title(name) for name in names])
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.margins(x=0.12)
        axes.tick_params(axis="y", length=0, labelcolor=INK)
        axes.grid(False, axis="y")
        axes.spines["left"].set_visible(False)
        one = reports[names[0]]
        axes.set_title("Accuracy on the test side")
        axes.set_xlabel(f"accuracy on {one.examples:,} documents, with {one.confidence:.0%} bootstrap intervals")


def _draw_losses(axes: Axes, train: Sequence[Mapping[str, Any]], held_out: Sequence[Mapping[str, Any]]) -> None:
    if train:
        losses = [line["loss"] for line in train]
        axes.plot(_x(train, train), losses, color=BLUE, alpha=0.25, linewidth=1)
        axes.plot(_x(train, train), _smoothed(losses), color=BLUE, linewidth=2, label="training (smoothed)")
    if held_out:
        x, losses = _x(held_out, train), [line["loss"] for line in held_out]
        axes.plot(x, losses, "o-", color=ORANGE, linewidth=2, markersize=5, label="held-out")
        for i in {0, len(losses) - 1}:
            axes.annotate(f"{losses[i]:.3f}", (x[i], losses[i]), (0, 8), textcoords="offset points", ha="center")
    axes.margins(x=0.05, y=0.12)
    axes.set_ylabel("loss")
    axes.set_title("Loss")
    axes.legend(loc="upper right")


def _unit(train: Sequence[Mapping[str, Any]]) -> str:
    """What the x axis counts: tokens where the lines carry a running count of them, else steps."""
    tokens = [line.get("tokens", -1) for line in train]
    return "tokens" if all(a < b for a, b in zip([0, *tokens], tokens, strict=False)) else "step"


def _x(lines: Sequence[Mapping[str, Any]], train: Sequence[Mapping[str, Any]]) -> list[float]:
    return [float(line[_unit(train)]) for line in lines]


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
