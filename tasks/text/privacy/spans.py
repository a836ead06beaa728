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
