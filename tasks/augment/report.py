"""What an augmentation made, what it threw away and why."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

REASONS = {
    "nothing_to_change": "no word that the operation may change, or too few of them",
    "unchanged": "came out as it went in",
    "empty": "nothing left to read",
    "duplicate": "equals a training text, or another copy",
    "equals_held_out": "equals a validation or test text",
    "near_held_out": "nearly equals a validation or test text",
    "label_in_doubt": "its words no longer speak for its label",
    "tokens_lost": "the tokens could not be found again in what the model wrote",
    "over_share": "more copies than max_share allows",
}
"""Why a copy is dropped."""


class BeforeAfter(BaseModel):
    """One example and a copy of it."""

    model_config = ConfigDict(frozen=True)

    id: str
    method: str
    before: str
    after: str


class AugmentReport(BaseModel):
    """Every copy that was tried is in `kept` or in `dropped`; `model_validate_json` reads `model_dump_json`."""

    model_config = ConfigDict(frozen=True)

    originals: int
    kept: dict[str, int]
    """by method"""
    dropped: dict[str, dict[str, int]]
    """by method and reason; the reasons are those of `REASONS`"""
    examples: tuple[BeforeAfter, ...]
    seed: int

    @property
    def augmented(self) -> int:
        return sum(self.kept.values())

    @property
    def share(self) -> float:
        """Changed copies among all examples of the result."""
        return self.augmented / max(1, self.originals + self.augmented)

    def markdown(self) -> str:
        """For a person: the share, what happened to the copies by method, and some before and after."""
        reasons = [reason for reason in REASONS if any(reason in counts for counts in self.dropped.values())]
        heads = ["method", "kept", *(reason.replace("_", " ") for reason in reasons)]
        rows: list[list[str | int]] = [
            [name, self.kept[name], *(self.dropped[name].get(r, 0) for r in reasons)] for name in self.kept
        ]
        lines = [
            f"{self.augmented:,} changed copies of {self.originals:,} examples: {self.share:.1%} of the training side.",
            "",
            *_table(heads, rows),
            "",
            *(f"- {reason.replace('_', ' ')}: {REASONS[reason]}" for reason in reasons),
        ]
        for one in self.examples:
            lines += ["", f"`{one.method}` of `{one.id}`:", "", f"> {_line(one.before)}", ">", f"> {_line(one.after)}"]
        return "\n".join(lines) + "\n"


def _table(heads: list[str], rows: list[list[str | int]]) -> list[str]:
    body = [[f"{cell:,}" if isinstance(cell, int) else cell for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in heads[1:])]
    return ["| " + " | ".join(cells) + " |" for cells in (heads, rule, *body)]


def _line(text: str) -> str:
    """One line in which markdown and HTML mean nothing."""
    shown = " ".join(text.split())
    for character in "\\`*_[]<>#|":
        shown = shown.replace(character, f"\\{character}")
    return shown


def counted(drops: Mapping[str, Mapping[str, int]]) -> dict[str, dict[str, int]]:
    """Plain copies with the reasons in the order of `REASONS`, zeros left out."""
    return {name: {r: counts[r] for r in REASONS if counts.get(r)} for name, counts in drops.items()}
