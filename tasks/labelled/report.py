"""What is known of labelled data before anything is trained on it: figures, findings, and the same as Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field

from bert_core.config import Config, Task

Severity = Literal["info", "warning", "error"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Finding(Config):
    """One check's result."""

    check: str = Field(description="its name, such as near-duplicates")
    severity: Severity
    message: str = Field(description="what was found, what was done about it, and what one can do")
    counts: dict[str, int | float] = Field({})
    examples: tuple[str, ...] = ()


class LabelRow(Config):
    """A label, and how often each side has it: examples, or tokens."""

    label: str
    counts: dict[str, int]
    share: float = Field(description="of the training side's")


class FileRow(Config):
    """What became of a file's records: seen = kept + the sum of dropped."""

    file: str
    seen: int
    kept: int
    dropped: dict[str, int] = Field({})
    repaired: dict[str, int] = Field({})


class Lengths(Config):
    """Of a side's examples: characters, or tokens with the special ones."""

    side: str
    unit: Literal["characters", "tokens"]
    median: float
    p95: float
    p99: float
    longest: int
    over: int | None = Field(None, description="examples over the model's limit")


class DataReport(Config):
    """Everything about the data that a reader should know before believing a figure that comes of it."""

    task: Task
    description: str
    inferred: tuple[str, ...] = ()
    sides: dict[str, int]
    labels: tuple[LabelRow, ...] = ()
    lengths: tuple[Lengths, ...] = ()
    files: tuple[FileRow, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def worst(self) -> Severity:
        """The gravest severity; info where nothing was found."""
        found = {each.severity for each in self.findings}
        return next((each for each in SEVERITIES if each in found), "info")

    def of(self, check: str) -> list[Finding]:
        """The findings of one check."""
        return [each for each in self.findings if each.check == check]

    def markdown(self) -> str:
        """For people: sizes, labels, lengths, findings (gravest first), and what became of each file's records."""
        sizes = ", ".join(f"{side} {count:,}" for side, count in self.sides.items())
        lines = [f"**{self.task.type}**: {self.description}. Examples: {sizes}.", ""]
        lines += [f"- {each}" for each in self.inferred]
        lines += ["", *_findings(self.findings)]
        if self.labels:
            sides = list(self.sides)
            rows = [
                [row.label, *(f"{row.counts.get(side, 0):,}" for side in sides), f"{row.share:.1%}"]
                for row in self.labels
            ]
            lines += ["### Labels", "", *_table(["label", *sides, "share of train"], rows), ""]
        if self.lengths:
            rows = [_lengths(each) for each in self.lengths]
            heads = ["side", "unit", "median", "95%", "99%", "longest", "over the limit"]
            lines += ["### Lengths", "", *_table(heads, rows), ""]
        files = [
            [each.file, f"{each.seen:,}", f"{each.kept:,}", _counts(each.dropped), _counts(each.repaired)]
            for each in self.files
        ]
        lines += ["### Files", "", *_table(["file", "seen", "kept", "dropped", "repaired"], files)]
        return "\n".join(lines) + "\n"


def _findings(findings: Sequence[Finding]) -> list[str]:
    lines = ["### Findings", ""] if findings else ["No findings.", ""]
    for severity in SEVERITIES:
        for each in findings:
            if each.severity == severity:
                lines.append(f"- **{severity}** `{each.check}`: {_cell(each.message)}")
                lines += [f"    - {_cell(example)}" for example in each.examples]
    return [*lines, ""] if findings else lines


def _lengths(each: Lengths) -> list[str]:
    figures = [f"{figure:,.0f}" for figure in (each.median, each.p95, each.p99, each.longest)]
    return [each.side, each.unit, *figures, "" if each.over is None else f"{each.over:,}"]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason}: {count:,}" for reason, count in counts.items())


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right."""
    lines = [heads, ["---", *(["---:"] * (len(heads) - 1))], *rows]
    return [f"| {' | '.join(map(_cell, line))} |" for line in lines]


def _cell(text: str) -> str:
    """Text of a stranger's file: no markup, no line break, no column."""
    for mark in "\\`*_<>[]|":
        text = text.replace(mark, f"\\{mark}" if mark not in "<>" else {"<": "&lt;", ">": "&gt;"}[mark])
    return " ".join(text.split())
