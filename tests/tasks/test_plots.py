"""Pictures are files that a viewer opens, of the size they say, with something on them; no window system is touched."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.image import imread

from tasks.text.plots import PlotError, training_curves


def metrics(steps: int = 300) -> list[dict[str, float | int | str]]:
    """Lines as a pretraining run writes them: a noisy decay, measured on held-out text every 50 steps."""
    rng = np.random.default_rng(1)
    lines: list[dict[str, float | int | str]] = []
    for step in range(0, steps + 1, 5):
        loss = 2.6 + 5.4 * math.exp(-step / 60)
        if step:
            lr = 5e-4 * min(step / 30, (steps - step) / (steps - 30))
            speed = {"tokens_per_second": rng.normal(4_800, 150), "mfu": rng.normal(0.74, 0.02)}
            seen = {"loss": loss + rng.normal(0, 0.12), "lr": lr, "grad_norm": rng.lognormal(0, 0.2), **speed}
            lines.append({"kind": "train", **at(step), **seen})
        if step % 50 == 0:
            lines.append({"kind": "eval", **at(step), "loss": loss + 0.08})
        lines.append({"kind": "checkpoint", **at(step)})
    return lines


def at(step: int) -> dict[str, float | int | str]:
    return {"step": step, "tokens": step * 2_900, "time": 1_790_000_000 + 0.6 * step}


def ink(path: Path) -> tuple[tuple[int, int], float]:
    """(height, width) in pixels, and the share of pixels that are not white."""
    pixels = imread(path)[:, :, :3]
    return pixels.shape[:2], float((pixels.min(axis=2) < 0.9).mean())


def test_training_curves_are_drawn(tmp_path: Path) -> None:
    training_curves(metrics(), tmp_path / "curves.png")
    shape, share = ink(tmp_path / "curves.png")
    assert shape == (1_500, 1_650)
    assert 0.01 < share < 0.3


@pytest.mark.parametrize("kind", ["train", "eval"])
def test_training_curves_of_a_run_with_one_kind_of_line_are_drawn(kind: str, tmp_path: Path) -> None:
    training_curves([line for line in metrics() if line["kind"] == kind], tmp_path / "curves.png")
    assert ink(tmp_path / "curves.png")[1] > 0.005


def test_what_was_not_measured_gets_no_panel(tmp_path: Path) -> None:
    short = [
        {key: line[key] for key in ("kind", "step", "tokens", "time", "loss", "lr") if key in line}
        for line in metrics()
    ]
    training_curves(short, tmp_path / "curves.png")
    assert ink(tmp_path / "curves.png")[0] == (1_050, 1_650)


def test_a_killed_run_of_one_step_is_drawn(tmp_path: Path) -> None:
    training_curves([{"kind": "train", "step": 1, "tokens": 4_000, "loss": 8.1, "lr": 1e-5}], tmp_path / "curves.png")
    assert ink(tmp_path / "curves.png")[1] > 0.002


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("one.png", "two.png"):
        training_curves(metrics(), tmp_path / name)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_no_global_state_of_matplotlib_is_used(tmp_path: Path) -> None:
    settings, loaded = dict(rcParams), "matplotlib.pyplot" in sys.modules
    training_curves(metrics(), tmp_path / "curves.png")
    assert dict(rcParams) == settings
    assert ("matplotlib.pyplot" in sys.modules) == loaded


def test_nothing_to_draw_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlotError, match="1 lines of metrics, none of kind train or eval"):
        training_curves([{"kind": "checkpoint", "step": 1}], tmp_path / "curves.png")
    assert not list(tmp_path.iterdir())
