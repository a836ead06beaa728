"""What it took: the trainings, every stage's time and memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from tasks.text.report.layout import Column, Section, Table, numbers
from tasks.text.report.stages import StageRun
from tasks.text.report.wording import duration, size

MEASURES = {"mlm": "masked-word", "pairs": "segment-pair", "sequence": "classification"}


def training(stages: Sequence[StageRun]) -> Section | None:
    runs = [stage for stage in stages if "eval_after" in stage.facts]
    if not runs:
        return None
    work = Table(
        (Column("run"), *numbers("steps", "workers", "tokens", "tokens/s", "padding", "if unpacked")),
        tuple(_work(run) for run in runs),
    )
    held_out = Table(
        (Column("run"), Column("on the validation side"), *numbers("before", "after", "change")),
        tuple(row for run in runs for row in _held_out(run)),
    )
    return Section(
        "Training", (work, held_out), "padding: share of positions without a token; unpacked: one text a row"
    )


def _work(run: StageRun) -> tuple[str, ...]:
    facts, unpacked = run.facts, _padding_unpacked(run)
    return (
        run.name,
        f"{facts['steps']:,}",
        str(facts.get("world_size", "")),
        f"{facts['tokens']:,}",
        f"{facts['tokens_per_second']:,.0f}",
        f"{facts['padding_share']:.1%}",
        f"{unpacked:.1%}" if unpacked is not None else "",
    )


def _padding_unpacked(run: StageRun) -> float | None:
    """What the padding would have been with one sample in each row, as without packing; None where that is unknown."""
    config = run.manifest.get("config") or {}
    section = config.get(run.stage) or config.get("train") or {}
    row_length = (section.get("batch") or {}).get("row_length")
    rows = run.facts.get("epochs", 0) * run.facts.get("samples", 0)
    return max(0.0, 1 - run.facts["tokens"] / (rows * row_length)) if row_length and rows else None


def _held_out(run: StageRun) -> list[tuple[str, ...]]:
    before, after = run.facts.get("eval_before") or {}, run.facts["eval_after"]
    rows = []
    for key, value in after.items():
        objective, _, measure = key.rpartition("_")
        if objective:  # the total loss, `loss`, only repeats the sum of its parts
            title = f"{MEASURES.get(objective, objective)} {measure}"
            rows.append(_change(run.name, title, before.get(key), value))
        if key == "mlm_loss":
            old = before.get(key)
            rows.append(_change(run.name, "masked-word perplexity", _perplexity(old), _perplexity(value)))
    return rows


def _change(run: str, title: str, before: float | None, after: float | None) -> tuple[str, ...]:
    digits = ",.1f" if title.endswith("perplexity") else ".3f"
    change = f"{after - before:+{digits}}" if before is not None and after is not None else ""
    return (run, title, *("" if value is None else f"{value:{digits}}" for value in (before, after)), change)


def _perplexity(loss: float | None) -> float | None:
    return None if loss is None else math.exp(min(loss, 700.0))


def bill(stages: Sequence[StageRun], seconds: float | None, memory: int | None) -> Section | None:
    if not stages:
        return None
    rows = [
        (
            stage.name,
            f"({duration(stage.seconds)})" if stage.cached else f"{duration(stage.seconds)} ",
            size(stage.memory) if stage.memory else "",
            "cached" if stage.cached else "",
        )
        for stage in stages
    ]
    spent = sum(stage.seconds for stage in stages if not stage.cached) if seconds is None else seconds
    rows.append(("in all", f"{duration(spent)} ", size(memory) if memory else "", ""))
    table = Table((Column("stage"), *numbers("time ", "peak memory"), Column("")), tuple(rows))
    return Section("Stages", (table,), "in brackets: what it took when it was built" if _any_cached(stages) else "")


def _any_cached(stages: Sequence[StageRun]) -> bool:
    return any(stage.cached for stage in stages)
