"""Comparisons as lines of cells, and those as plain text or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from bert_core.intervals import Interval

if TYPE_CHECKING:
    from finetuning.report import Row

FOR_README = (
    "set",
    "metric",
    "seeds",
    "baseline",
    "Trainer's",
    "ours",
    "ours better by",
    "Trainer's s",
    "our s",
    "ratio",
)
LARGE = 2.0
"""Figures from here on are points or numbers of their own scale, and have fewer digits behind the point."""


def figure(value: float) -> str:
    return f"{value:.2f}" if abs(value) >= LARGE else f"{value:.3f}"


def spread(interval: Interval, *, signed: bool = False) -> str:
    digits = 2 if max(abs(interval.estimate), abs(interval.low), abs(interval.high)) >= LARGE else 3
    sign = "+" if signed else ""
    return " ".join(
        [
            f"{interval.estimate:{sign}.{digits}f}",
            f"[{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]",
        ]
    )


def speed_table(found: Sequence[Row]) -> list[list[str]]:
    """Ours against Trainer: quality and time, and whether each reached what is asked."""
    head = ["set", "metric", "examples", "seeds", "Trainer", "Trainer's", "variant", "ours", "ours better by"]
    head += ["Trainer's s", "our s", "ratio", "tokenising s", "whole", "baseline", "quality", "time"]
    lines = [head]
    for row in found:
        lines.append(
            [
                row.name,
                row.metric + ("" if row.is_higher_better else " (lower)"),
                f"{row.train_examples:,}/{row.test_examples:,}",
                str(len(row.seeds)),
                row.base.removeprefix("Trainer "),
                spread(row.base_value),
                row.other,
                spread(row.other_value),
                spread(row.gain, signed=True),
                f"{row.base_s:.1f}",
                f"{row.other_s:.1f}",
                f"{row.ratio:.2f}",
                "/".join(f"{seconds:.1f}" for seconds in row.tokenize_s),
                f"{row.whole_ratio:.2f}",
                row.baseline.replace("_", " "),
                "reached" if row.is_as_good else "NOT",
                "reached" if row.is_fast_enough else "NOT",
            ]
        )
    return lines


def methods_table(found: Sequence[Row]) -> list[list[str]]:
    """Variants against plain fine-tuning, or against what is named with them: gains, and what they cost."""
    head = ["set", "metric", "base", "method", "its mean", "gain", "p", "significant", "time", "trained", "peak MB"]
    lines = [head]
    for row in found:
        lines.append(
            [
                row.name,
                row.metric + ("" if row.is_higher_better else " (lower)"),
                spread(row.base_value),
                row.other if row.base.split(" ")[0] == "plain" else f"{row.other} against {row.base}",
                spread(row.other_value),
                spread(row.gain, signed=True),
                f"{row.p:.3f}",
                "better" if row.is_better else "worse" if row.gain.high < 0 else "",
                f"{row.ratio:.2f} x ({row.base_s:.1f} -> {row.other_s:.1f} s)",
                f"{row.trained_parameters[1]:,} ({row.trained_parameters[1] / row.trained_parameters[0]:.1%})",
                " -> ".join(f"{bytes_ / 1e6:,.0f}" for bytes_ in row.peak_bytes),
            ]
        )
    return lines


def columns(lines: Sequence[Sequence[str]], names: Sequence[str]) -> list[list[str]]:
    """Some columns of a table, by the names in its first line."""
    return [[line[lines[0].index(name)] for name in names] for line in lines]


def plain(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *body = ["| " + " | ".join(line) + " |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *body])
