"""More pages than there are: copies in other words, which are no near-duplicates of each other.

In copy k every word of four letters or more stands for another real word of the same length and capitals, the same one
everywhere in that copy. So a copy has the structure, the repetitions, the boilerplate and the short words of its
original, is on a host of its own, and shares hardly a run of five words with it.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from corpus_pages import Page

WORD = re.compile(r"[A-Za-z]{4,}")
MARKUP = re.compile(r"(<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>|&#?\w+;)", re.DOTALL | re.IGNORECASE)
VOCABULARY_PAGES = 400
"""Pages that the words come from."""


def copies(source: Callable[[], Iterable[Page]], count: int, words: dict[int, list[str]]) -> Iterator[Page]:
    """All pages as they are, then all again in other words, `count` - 1 times: a function of the pages and the words.

    Not copy after copy of each page: a batch would then hold all copies of the largest page, which the smaller input's
    batches never do, and the peak would speak of the order and not of the amount.
    """
    yield from source()
    for number in range(1, count):
        table = cipher(words, number)
        for url, body in source():
            address = url.replace("http://127.0.0.1:8500/", f"http://copy-{number}.example.org/")
            yield address, perturbed(body.decode("utf-8"), table).encode("utf-8")


def vocabulary(source: Iterable[Page], pages: int = VOCABULARY_PAGES) -> dict[int, list[str]]:
    """The words of the first pages in lower case by their length, sorted."""
    found: set[str] = set()
    for (_, body), _ in zip(source, range(pages), strict=False):
        text = MARKUP.sub(" ", body.decode("utf-8"))
        found.update(word.lower() for word in WORD.findall(text))
    by_length: dict[int, list[str]] = defaultdict(list)
    for word in sorted(found):
        by_length[len(word)].append(word)
    return dict(by_length)


def cipher(words: dict[int, list[str]], number: int) -> dict[str, str]:
    """Word -> word of copy `number`: the words of each length in a random order, so that no two become one."""
    table = {}
    for length, known in words.items():
        shuffled = known.copy()
        random.Random(f"{number} {length}").shuffle(shuffled)
        table |= dict(zip(known, shuffled, strict=True))
    return table


def perturbed(html: str, table: dict[str, str]) -> str:
    """The page with the words of its text replaced; tags, scripts, styles and entities stay. Unknown words stay."""

    def replace(match: re.Match[str]) -> str:
        word = match[0]
        other = table.get(word.lower(), word)
        return other.capitalize() if word[0].isupper() else other

    parts = MARKUP.split(html)
    parts[::2] = [WORD.sub(replace, text) for text in parts[::2]]  # the odd ones are markup
    return "".join(parts)
