"""What an explanation says, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Word:
    text: str
    start: int
    """Its first character in its passage."""
    end: int
    """The one after its last."""
    weight: float
    """What it adds to the score; by attention its share, from 0 to 1."""


@dataclass(frozen=True)
class Passage:
    """One of the texts that an example consists of."""

    name: str
    """Its column; `choice` for one of several; `tokens` are joined by blanks."""
    text: str
    words: tuple[Word, ...]
    """Those that the model read, in their order: what was cut off, or is in another window, is missing."""


@dataclass(frozen=True)
class Explanation:
    """Of one answer."""

    id: str
    label: str
    """What the score is of: a class, a tag, an answer, a choice; `value` of a regression."""
    about: str
    """The word that has the tag; empty for other tasks."""
    score: float
    """Of classes, labels and tags the logarithm of their odds, p / (1 - p); of a regression its value; of a choice its
    score, of an answer the sum of its first and last token's, both on a scale that only the model knows."""
    probability: float | None
    """Of the label, tag or choice; None: the score is of none."""
    method: str
    baseline_score: float | None
    """Of the same text with [MASK] (of a model that reads from left to right: [PAD]) for all its tokens."""
    gap: float | None
    """What the words' weights sum to, minus `score` - `baseline_score`: 0 if integrated exactly. None: of methods whose
    weights do not sum to anything."""
    passages: tuple[Passage, ...]

    @property
    def words(self) -> tuple[Word, ...]:
        return tuple(word for passage in self.passages for word in passage.words)

    @property
    def title(self) -> str:
        return f"{self.label} · {self.about}" if self.about else self.label

    @property
    def facts(self) -> list[str]:
        """The figures, as a reader takes them."""
        found = [] if self.probability is None else [f"probability {self.probability:.1%}"]
        found.append(f"score {signed(self.score, 2)}")
        if self.gap is not None and self.baseline_score is not None:
            found += [f"without words {signed(self.baseline_score, 2)}", f"not accounted for {signed(self.gap)}"]
        return found

    def text(self, most: int = 12) -> str:
        """For a terminal: the figures, and the `most` words with the largest weights, a line each with a bar."""
        strongest = sorted(self.words, key=lambda word: -abs(word.weight))[:most]
        largest = max((abs(word.weight) for word in strongest), default=0.0) or 1.0
        width = max((len(word.text) for word in strongest), default=0)
        lines = [
            f"  {word.text:<{width}} {signed(word.weight):>8} {'█' * round(20 * abs(word.weight) / largest)}"
            for word in strongest
        ]
        return "\n".join([f"{self.title}: {', '.join(self.facts)}", *lines])


def signed(figure: float, digits: int = 3) -> str:
    """+1.250, -0.500; 0.000 without a sign, however small it is."""
    rounded = round(figure, digits)
    return f"{rounded:+.{digits}f}" if rounded else f"{0:.{digits}f}"


def as_json(explanations: Sequence[Explanation]) -> str:
    """A list of objects, one an explanation, with the fields of `Explanation`."""
    return json.dumps([asdict(each) for each in explanations], indent=2, ensure_ascii=False, sort_keys=True) + "\n"
