"""How fast the machine does the matrix products of a BERT's training step: what a step's own rate is held against."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import Any

import torch
from alternating import Gate

from bert_core.config import ModelConfig


def layer_products(shape: ModelConfig, positions: int, predicted: int) -> list[tuple[int, int, int, int]]:
    """(rows, inputs, outputs, how often) of each linear layer in a step; the last block ends at the predicted rows."""
    C, inner, L = shape.hidden_size, shape.intermediate_size, shape.num_layers
    return [
        (positions, C, 3 * C, L),
        (positions, C, C, L - 1),
        (positions, C, inner, L - 1),
        (positions, inner, C, L - 1),
        (predicted, C, inner, 1),
        (predicted, inner, C, 1),
        (predicted, C, C, 2),
        (predicted, C, shape.vocab_size, 1),
    ]


class ProductRate:
    """Times the products of a step, forward and both backward ones, each alone on operands of its own."""

    def __init__(self, shape: ModelConfig, positions: int, predicted: int, dtype: torch.dtype) -> None:
        self._products = []
        for rows, inputs, outputs, times in layer_products(shape, positions, predicted):
            x, w, g = (torch.randn(s).to(dtype) for s in ((rows, inputs), (outputs, inputs), (rows, outputs)))
            self._products.append((x, w, g, times))
        self.operations = sum(6 * x.numel() * len(w) * times for x, w, _, times in self._products)

    @torch.inference_mode()
    def measure(self, repeats: int = 3) -> float:
        """Operations a second over all products of a step, each at the median of its repeats."""
        seconds = 0.0
        for x, w, g, times in self._products:
            for left, right in ((x, w.t()), (g, w), (g.t(), x)):
                taken = []
                for _ in range(repeats):
                    started = time.perf_counter()
                    torch.mm(left, right)
                    taken.append(time.perf_counter() - started)
                seconds += times * statistics.median(taken)
        return self.operations / seconds


def run_turns(spec: Mapping[str, Any], gate: Gate, shape: ModelConfig) -> None:
    torch.set_flush_denormal(True)
    torch.set_num_threads(spec["threads"])
    positions = spec["rows"] * spec["length"]
    dtype = torch.bfloat16 if spec["precision"] == "bf16" else torch.float32
    rate = ProductRate(shape, positions, round(0.15 * positions), dtype)
    rate.measure(1)
    gate.wait({})
    while True:
        gate.wait({"operations_a_second": rate.measure()})
