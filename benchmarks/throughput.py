"""Pretraining throughput on this CPU: ours against transformers' own Trainer, tokens a second, padding not counted.

Both train the same BERT (vocabulary 30,522, dropout 0.1, masked tokens 15% as 80/10/10, clipping, AdamW) on the same
film reviews with the same tokenizer, about 4,096 tokens a step, each through its own loop and loader. Trainer has its
best settings (`pretraining_trainer`), in two forms:

    (a) blocks      documents joined and cut into blocks of 128
    (b) documents   one a row, padded to the longest of its batch; the batch has as many as make 4,096 tokens

Ours packs whole documents into rows of 128 in which they do not see each other. Each side is a process of its own; they
take turns, one after the other, round after round, and the medians of the turns are compared: ratios are ours at its
best precision over Trainer at its best. The share is the operations that a step needs (`bert_core.flops`: no padding,
no needless logits) a second, over the rate of this machine's matrix products at the same shapes and in the same
precision, measured in the same turns.

    python benchmarks/throughput.py [--sizes 4x256 6x384 12x768] [--rounds 5] [--seconds 6] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import products
import torch
from alternating import Gate, Side
from pretraining_texts import Corpus, prepare

from bert_core.config import ModelConfig
from bert_core.flops import batch_shape, training_flops

LENGTH, ROWS = 128, 32
SHAPES = {
    "2x128": ModelConfig(num_layers=2, hidden_size=128, num_heads=2, intermediate_size=512),
    "4x256": ModelConfig(num_layers=4, hidden_size=256, num_heads=4, intermediate_size=1024),
    "6x384": ModelConfig(num_layers=6, hidden_size=384, num_heads=12, intermediate_size=1536),
    "12x768": ModelConfig(num_layers=12, hidden_size=768, num_heads=12, intermediate_size=3072),
}
GOALS = {"4x256": (4.5, 8.0), "6x384": (4.5, 8.0), "12x768": (2.0, 3.5)}
GOAL_SHARE = 0.75
TRAINER_PRECISIONS = ("fp32", "bf16", "bf16 products")
OUR_PRECISIONS = ("fp32", "bf16")


def run_side(spec: Mapping[str, Any]) -> None:
    """In a process of its own: `spec["side"]` is ours, trainer or products."""
    gate, shape = Gate(), SHAPES[spec["size"]]
    if spec["side"] == "products":
        products.run_turns(spec, gate, shape)
        return
    corpus = prepare(spec["corpus"], Path(spec["folder"]) if spec.get("folder") else None)
    if spec["side"] == "ours":
        import pretraining_ours

        pretraining_ours.run_turns(spec, gate, corpus, shape)
    else:
        import pretraining_trainer

        pretraining_trainer.run_turns(spec, gate, corpus, shape)


def specs(size: str, options: argparse.Namespace, corpus: Corpus, samples: list[int]) -> dict[str, dict[str, Any]]:
    """Name -> what to run. The same tokens a step for all."""
    common = {"size": size, "threads": options.threads, "length": LENGTH, "rows": options.rows, "steps": 1}
    common |= {"corpus": options.corpus, "folder": options.folder}
    documents = round(options.rows * LENGTH / statistics.mean(samples))
    found: dict[str, dict[str, Any]] = {}
    for precision in options.trainer_precisions:
        side = common | {"side": "trainer", "precision": precision}
        found[f"Trainer, blocks, {precision}"] = side | {"form": "blocks"}
        found[f"Trainer, documents, {precision}"] = side | {"form": "documents", "rows": documents}
        if options.grouped:
            found[f"Trainer, grouped, {precision}"] = side | {"form": "documents", "rows": documents, "grouped": True}
    for precision in OUR_PRECISIONS:
        found[f"ours, {precision}"] = common | {"side": "ours", "precision": precision}
        found[f"products, {precision}"] = common | {"side": "products", "precision": precision}
    return found


def measure(size: str, options: argparse.Namespace, corpus: Corpus, samples: list[int], log: Path) -> dict[str, Any]:
    """Name -> the figures of every turn but the first."""
    turns: dict[str, list[dict[str, Any]]] = {}
    sides: dict[str, Side] = {}
    try:
        for name, spec in specs(size, options, corpus, samples).items():
            sides[name] = Side(__file__, spec, log)
            sides[name].turn()  # warms up
            turns[name] = []
        for _ in range(options.rounds):
            for name, side in sides.items():
                turns[name].append(_together(side, options.seconds))
    finally:
        for side in sides.values():
            side.close()
    return turns


def _together(side: Side, seconds: float) -> dict[str, Any]:
    """Turns of one step until they have taken `seconds`, summed."""
    total: dict[str, Any] = {}
    while True:
        for key, value in side.turn().items():
            total[key] = max(total.get(key, 0), value) if key == "peak_bytes" else total.get(key, 0) + value
        total["turns"] = total.get("turns", 0) + 1
        if "seconds" not in total or total["seconds"] >= seconds:
            return total


def report(size: str, turns: Mapping[str, list[dict[str, Any]]], samples: list[int]) -> list[str]:
    rates = {
        name: [turn["tokens"] / turn["seconds"] for turn in found] for name, found in turns.items() if "ours" in name
    }
    rates |= {n: [t["tokens"] / t["seconds"] for t in found] for n, found in turns.items() if n.startswith("Trainer")}
    middle = {name: statistics.median(found) for name, found in rates.items()}
    best = {form: max(v for n, v in middle.items() if f", {form}," in n) for form in _forms(middle)}
    lines = []
    for name in sorted(rates, key=lambda name: (name.startswith("ours"), name)):
        positions = sum(t["positions"] for t in turns[name])
        padding = 1 - sum(t["tokens"] for t in turns[name]) / positions
        line = (
            f"{size:<7} {name:<34} {middle[name]:8,.0f} tokens/s ({min(rates[name]):,.0f} to {max(rates[name]):,.0f})"
        )
        line += f"  padding {padding:4.0%}"
        if name.startswith("ours"):
            line += "".join(f"  {middle[name] / rate:5.2f} x {form}" for form, rate in best.items())
            line += f"  share {_share(size, name, middle[name], turns, samples):4.0%}"
        lines.append(line)
    ours = max(value for name, value in middle.items() if name.startswith("ours"))
    goals = dict(zip(("blocks", "documents"), GOALS.get(size, (0, 0)), strict=True))
    verdict = [f"{form} {ours / rate:.2f} (goal {goals[form]:g})" for form, rate in best.items() if form in goals]
    verdict += [f"{form} {ours / rate:.2f} (no goal)" for form, rate in best.items() if form not in goals]
    lines.append(
        f"{size:<7} best of ours over best of Trainer: {', '.join(verdict)}; goal of the share {GOAL_SHARE:.0%}"
    )
    return lines


def _forms(names: Mapping[str, Any]) -> list[str]:
    return [form for form in ("blocks", "documents", "grouped") if any(f", {form}," in name for name in names)]


def _share(size: str, name: str, rate: float, turns: Mapping[str, list[dict[str, Any]]], samples: list[int]) -> float:
    """Of the rate of matrix products, at `rate` tokens a second: operations as `bert_core.flops` counts them."""
    predicted = round(0.15 * sum(length - 2 for length in samples))
    work = training_flops(SHAPES[size], batch_shape(SHAPES[size], samples, predicted)) / sum(samples)
    precision = name.rpartition(", ")[2]
    of_machine = statistics.median(
        turn["operations_a_second"] / turn["turns"] for turn in turns[f"products, {precision}"]
    )
    return rate * work / of_machine


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["4x256", "6x384", "12x768"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=ROWS, help=f"of {LENGTH} tokens in a step")
    parser.add_argument("--seconds", type=float, default=6, help="of a turn, at least; a turn is whole steps")
    parser.add_argument("--corpus", default="film-reviews")
    parser.add_argument("--folder", help="of the tokenized corpora; default: bench in the home folder")
    parser.add_argument("--grouped", action="store_true", help="also Trainer's documents grouped by length")
    parser.add_argument("--trainer-precisions", nargs="+", choices=TRAINER_PRECISIONS, default=TRAINER_PRECISIONS)
    parser.add_argument("--side", type=json.loads, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        run_side(options.side)
        return
    corpus = prepare(options.corpus, Path(options.folder) if options.folder else None)
    samples = [len(sample) + 2 for sample in corpus.samples("train", LENGTH - 2)]
    print(f"{torch.__version__}, {options.threads} threads, {options.rounds} rounds, {options.corpus}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for size in options.sizes:
            turns = measure(size, options, corpus, samples, Path(folder) / f"{size}.log")
            print(*report(size, turns, samples), sep="\n", flush=True)


if __name__ == "__main__":
    sys.exit(main())
