"""How far a run is and how fast: what its live line and its metrics say beside the losses."""

from __future__ import annotations

from typing import Any

import torch

from bert_core.flops import mfu
from bert_core.memory import peak_bytes

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


class Throughput:
    """Speed of the steps since the last line, and the time that is left if it stays so."""

    def __init__(self, positions_left: int, peak_flops: float | None) -> None:
        """
        Args:
            positions_left: of rows in all steps to come, on all ranks.
            peak_flops: floating-point operations that one rank's device does in a second at best; None: unknown.
        """
        self._left, self._peak = positions_left, peak_flops
        self._seconds = self._tokens = self._positions = self._flops = 0.0

    def add(self, *, tokens: float, positions: float, flops: float, seconds: float) -> None:
        """One step: tokens and positions of all ranks, operations of this one."""
        self._seconds += seconds
        self._tokens += tokens
        self._positions += positions
        self._flops += flops
        self._left -= int(positions)

    def line(self) -> dict[str, float]:
        """tokens_per_second (padding not counted), mfu (share of the device's peak), seconds_left; begins anew."""
        seconds = max(self._seconds, 1e-9)
        figures = {
            "tokens_per_second": self._tokens / seconds,
            **({"mfu": mfu(self._flops, seconds, self._peak)} if self._peak else {}),
            "seconds_left": max(0, self._left) * seconds / max(1.0, self._positions),
        }
        self._seconds = self._tokens = self._positions = self._flops = 0.0
        return figures


def process_figures(device: torch.device) -> dict[str, float]:
    """Peak memory of this process, and of its GPU, in MB."""
    figures = {"peak_memory_mb": peak_bytes() / 1e6}
    if device.type == "cuda":
        figures["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated(device) / 1e6
    return figures


def live_line(line: dict[str, Any]) -> str:
    """One report as a line for people."""
    done = f"step {line['step']}/{line['total_steps']}  {line['tokens']:,} tokens"
    figures = [
        f"{name} {line[key]:{form}}"
        for key, name, form in (
            ("loss", "loss", ".4f"),
            ("sequence_accuracy", "accuracy", ".4f"),
            ("mlm_accuracy", "mlm accuracy", ".4f"),
            ("grad_norm", "gradient norm", ".2f"),
            ("lr", "lr", ".2e"),
            ("tokens_per_second", "tokens/s", ",.0f"),
            ("mfu", "MFU", ".1%"),
        )
        if key in line
    ]
    if "seconds_left" in line:
        figures.append(f"{duration(line['seconds_left'])} left")
    if "reason" in line:
        figures.append(str(line["reason"]))
    return "  ".join([f"{line['kind']:<10}", done, *figures])


def duration(seconds: float) -> str:
    """`2 h 5 min`, `4 min 10 s`, `12 s`"""
    whole = round(seconds)
    for number, (size, unit) in enumerate(_UNITS):
        if whole >= size:
            smaller, name = _UNITS[number + 1] if number + 1 < len(_UNITS) else (1, "s")
            return f"{whole // size} {unit} {whole % size // smaller} {name}"
    return f"{whole} s"
