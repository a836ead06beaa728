"""Where something personal stands in a text."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from tasks.config.privacy import Kind


class Span(NamedTuple):
    """Characters [start, stop) of a text."""

    start: int
    stop: int
    kind: Kind


_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff"
"""Thai, Lao, Burmese, Khmer, Japanese, Chinese, and Korean, whose particles follow a number at once: their letters are
no part of what stands beside them."""


def not_after(characters: str) -> str:
    """A pattern: none of these stands before, a letter of a script without blanks aside."""
    ascii_ones = characters.replace(r"\w", "0-9A-Za-z_")  # asked first: most positions of a text are settled by it
    return rf"(?<![{ascii_ones}])(?<!(?![{_UNSPACED}])[{characters}])"


def not_before(characters: str) -> str:
    """The same for what follows."""
    return rf"(?!(?![{_UNSPACED}])[{characters}])"


Window = tuple[int, int]
"""Characters [start, stop) of a text in which to look: a whole line, or several."""


def without_overlaps(spans: Iterable[Span]) -> list[Span]:
    """Ascending, none over another. Of two that share a character the one that comes first in `spans` stays."""
    kept: list[Span] = []
    for span in spans:
        at = bisect_left(kept, span)
        if (at == 0 or kept[at - 1].stop <= span.start) and (at == len(kept) or span.stop <= kept[at].start):
            kept.insert(at, span)
    return kept
