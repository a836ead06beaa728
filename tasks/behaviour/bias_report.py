"""What a model makes of groups of people: the figures, and how they are shown and handed to the gate."""

from __future__ import annotations

from collections import defaultdict

from pydantic import BaseModel, ConfigDict

from bert_core.intervals import Interval
from tasks.behaviour.rendering import bullet, figure, markdown_table, section, table

_SWAP_HEADS = ["axis", "groups", "examples", "answer changes", "mean change of probability"]
_GROUP_HEADS = ["axis", "group", "examples", "measure", "label", "value"]
_GAP_HEADS = ["axis", "groups", "measure", "label", "difference"]


class SwapExample(BaseModel):
    """A text that got another answer when a group's terms were exchanged."""

    model_config = ConfigDict(frozen=True)

    before: str
    after: str
    said_before: str
    said_after: str


class Swap(BaseModel):
    """Texts that mention one of two groups, against themselves with the groups' terms exchanged."""

    model_config = ConfigDict(frozen=True)

    axis: str
    groups: tuple[str, str]
    examples: int
    flips: Interval | None
    """share whose label changed (regression: None)"""
    change: Interval
    """mean absolute change of probability, of the label that changed most; regression: of the value"""
    favour: dict[str, Interval]
    """label -> mean probability in the wording of the second group minus that in the first's, of texts that mention
    only one of them; regression: "value" """
    changed: tuple[SwapExample, ...]


class Score(BaseModel):
    """One figure of the texts that mention one group, as they are."""

    model_config = ConfigDict(frozen=True)

    axis: str
    group: str
    examples: int
    measure: str
    """accuracy, false_positive_rate, false_negative_rate; regression: error"""
    label: str
    """of which the rate is; "" for accuracy and error"""
    value: Interval


class Gap(BaseModel):
    """The same figure of two groups: the second's minus the first's, resampling all texts that mention either."""

    model_config = ConfigDict(frozen=True)

    axis: str
    groups: tuple[str, str]
    measure: str
    label: str
    difference: Interval


class BiasReport(BaseModel):
    """`model_validate_json` reads what `model_dump_json` wrote."""

    model_config = ConfigDict(frozen=True)

    swaps: tuple[Swap, ...]
    scores: tuple[Score, ...]
    gaps: tuple[Gap, ...]
    confidence: float
    seed: int

    def flat(self) -> dict[str, float]:
        """For rules of the gate, the worst over all pairs of groups and labels of an axis:

        `bias.<axis>.flip_rate`, `.change`, `.favour` (absolute), `.accuracy_gap`, `.false_positive_rate_gap`,
        `.false_negative_rate_gap` (absolute; regression: `.error_gap`). What could not be measured is left out.
        """
        worst: dict[str, float] = defaultdict(float)
        for swap in self.swaps:
            figures = {"change": swap.change.estimate} | ({"flip_rate": swap.flips.estimate} if swap.flips else {})
            if swap.favour:
                figures["favour"] = max(abs(interval.estimate) for interval in swap.favour.values())
            for name, value in figures.items():
                worst[f"bias.{swap.axis}.{name}"] = max(worst[f"bias.{swap.axis}.{name}"], value)
        for gap in self.gaps:
            name = f"bias.{gap.axis}.{gap.measure}_gap"
            worst[name] = max(worst[name], abs(gap.difference.estimate))
        return dict(worst)

    def markdown(self) -> str:
        parts: list[str] = []
        for heads, rows in self._tables():
            parts += [*markdown_table(heads, rows), ""] if rows else []
        for swap in self.swaps:
            for one in swap.changed:
                parts.append(bullet(f"{one.before} → {one.after}", f"{one.said_before} → {one.said_after}"))
        return "\n".join(parts) + "\n"

    def html(self) -> str:
        """One escaped section for the report."""
        parts = [table(heads, rows) for heads, rows in self._tables() if rows]
        for swap in self.swaps:
            if swap.changed:
                rows = [[one.before, one.after, one.said_before, one.said_after] for one in swap.changed]
                shown = table(["text", "exchanged", "said", "said then"], rows)
                title = f"Answers that changed with the words of {' and '.join(swap.groups)}"
                parts.append(section(title, shown, level=4))
        return section("Bias", *parts)

    def _tables(self) -> list[tuple[list[str], list[list[str]]]]:
        labels = list(dict.fromkeys(label for swap in self.swaps for label in swap.favour))
        swaps = [
            [
                swap.axis,
                " / ".join(swap.groups),
                f"{swap.examples:,}",
                figure(swap.flips),
                figure(swap.change),
                *(figure(swap.favour.get(label), sign=True) for label in labels),
            ]
            for swap in self.swaps
        ]
        scores = [[s.axis, s.group, f"{s.examples:,}", s.measure, s.label, figure(s.value)] for s in self.scores]
        gaps = [[g.axis, " / ".join(g.groups), g.measure, g.label, figure(g.difference, sign=True)] for g in self.gaps]
        heads = [*_SWAP_HEADS, *(f"{label}: second group minus first" for label in labels)]
        return [(heads, swaps), (_GROUP_HEADS, scores), (_GAP_HEADS, gaps)]
