"""Guards a trainer against text without blanks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

MAX_WORD = 1_000
_LONG = re.compile(rf"(\S{{{MAX_WORD}}})(?=\S)")


def without_long_runs(texts: Iterable[str]) -> Iterator[str]:
    """The texts, with a line break after each 1,000 characters that hold no blank.

    The library's trainers need time that grows with the square of a word's length: 0.7 s for 10,000 characters, and an
    hour for an encoded picture that somebody left in a page.
    """
    for text in texts:
        yield _LONG.sub(r"\1\n", text)
