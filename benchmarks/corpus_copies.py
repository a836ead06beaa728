"""More pages than there are: copies in other words, which are no near-duplicates of each other.

In copy k every word of four letters or more stands for another real word of the same length and capitals, the same one
everywhere in that copy. So a copy has the structure, the repetitions, the boilerplate and the short words of its
original, is on a host of its own, and shares hardly a run of five words with it.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator

from corpus_pages import Page

WORD = re.compile(r"[A-Za-z]{4,}")
MARKUP = re.compile(r"(<(?:script|style)\b.*?</(?:script|style)>|<[^>]*>|&#?\w+;)", re.DOTALL | re.IGNORECASE)
VOCABULARY_PAGES = 400
"""Pages that the words come from."""


def copies(source: Iterable[Page], count: int, words: dict[int, list[str]]) -> Iterator[Page]:
    """Each page as it is, then `count` - 1 times in other words: a function of the pages and the words."""
    ciphers = [cipher(words, number) for number in range(1, count)]
    for url, body in source:
        yield url, body
        html = body.decode("utf-8")
        for number, table in enumerate(ciphers, 1):
            address = url.replace("http://127.0.0.1:8500/", f"http://copy-{number}.example.org/")
            yield address, perturbed(html, table).encode("utf-8")


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
