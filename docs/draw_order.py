"""Draws docs/order.png: a real global batch and who gets what of it, and the plan of a run in two phases.

python docs/draw_order.py .foundry/store/encode/film-reviews-…/
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import to_rgb

from bert_core import tokenizer
from bert_core.config import BatchConfig, MlmObjective
from bert_core.data import PretrainingData, RunLength
from bert_core.order import Order

PALETTE = ["#4C78A8", "#F58518", "#54A24B", "#B279A2", "#E45756", "#72B7B2"]
ROWS, LENGTH, STEP = 8, 128, 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("artifact", type=Path, help="folder with train/ (token shards) and tokenizer/")
    artifact = parser.parse_args().artifact
    batch_config = BatchConfig(rows=ROWS, row_length=LENGTH)
    words = tokenizer.load(artifact / "tokenizer")
    data = PretrainingData(artifact / "train", words, MlmObjective(), batch_config, 13, length=RunLength(steps=100))
    figure, (rows, ranks, plan) = plt.subplots(
        1, 3, figsize=(13, 4.2), width_ratios=[6, 1.4, 4], layout="constrained", dpi=150
    )
    draw_batch(rows, data)
    draw_ranks(ranks)
    draw_plan(plan)
    figure.savefig(Path(__file__).with_name("order.png"))


def draw_batch(axes: plt.Axes, data: PretrainingData) -> None:
    batch = data.batch(STEP, 0, 1)
    image = np.ones((ROWS, LENGTH, 3))
    documents = batch.document_ids.numpy()
    for row in range(ROWS):
        for position in range(LENGTH):
            if documents[row, position]:
                colour = np.array(to_rgb(PALETTE[(documents[row, position] + 2 * row) % len(PALETTE)]))
                image[row, position] = 1 - 0.45 * (1 - colour)
    predicted = batch.predict_positions.numpy()
    image[predicted // LENGTH, predicted % LENGTH] *= 0.35
    axes.imshow(image, aspect="auto", interpolation="nearest")
    axes.set_yticks(range(ROWS), [f"row {row}" for row in range(ROWS)])
    axes.set_xlabel("position: a colour is a document, dark tokens are predicted, white is padding")
    axes.set_title(f"global batch of step {STEP}: a function of (seed, epoch, step)", fontsize=10)


def draw_ranks(axes: plt.Axes) -> None:
    worlds = (1, 2, 4)
    for column, world in enumerate(worlds):
        for row in range(ROWS):
            axes.add_patch(plt.Rectangle((column - 0.45, row - 0.45), 0.9, 0.9, color=PALETTE[row % world], alpha=0.55))
            axes.text(column, row, str(row % world), ha="center", va="center", fontsize=8)
    axes.set_xlim(-0.6, len(worlds) - 0.4)
    axes.set_ylim(ROWS - 0.5, -0.5)
    axes.set_xticks(range(len(worlds)), [f"{world}" for world in worlds])
    axes.set_yticks([])
    axes.set_xlabel("ranks")
    axes.set_title("rank r of w: rows r::w", fontsize=10)


def draw_plan(axes: plt.Axes) -> None:
    config = BatchConfig.model_validate(
        {
            "tokens": 16_384,
            "phases": [{"row_length": 128, "share": 0.8}, {"row_length": 512, "share": 0.2}],
            "warmup": {"start": 16, "share": 0.3},
        }
    )
    steps = np.arange(1000)
    order = Order(config, len(steps))
    rows = np.array([order.at(step).rows for step in steps])
    lengths = np.array([order.at(step).row_length for step in steps])
    for length, colour in ((128, PALETTE[0]), (512, PALETTE[1])):
        chosen = lengths == length
        axes.plot(steps[chosen], rows[chosen], color=colour, label=f"rows of {length} in the global batch")
    axes.set_xlabel("step")
    axes.set_ylim(0)
    axes.legend(loc="lower center", fontsize=8)
    axes.set_title("a plan: batch warmup, then two phases of 16,384 tokens", fontsize=10)


if __name__ == "__main__":
    main()
