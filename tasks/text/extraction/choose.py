"""Which lines of a page are its main text: density of text and links, and what the elements are named.

Text density and link density as in boilerpipe (Kohlschuetter et al., WSDM 2010), scores that sum up towards a container
as in Readability (Arc90), decided on ranges of lines, so that every sum is a difference of two prefix sums.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import accumulate

from tasks.text.extraction import vocabulary as words
from tasks.text.extraction.outline import Line, Node, Outline

_PROSE = 40
"""Characters outside links from which a line counts as prose: below are mostly labels, dates, names, buttons."""
_WIDE = re.compile(r"[\u2e80-\ua4cf\uac00-\ud7ff\uf900-\ufaff\uff00-\uffef]+")
"""Scripts whose characters are syllables or words: each counts for three letters."""
_FOOTER = 250
"""Characters of prose that a footer may have on a page that has nothing else: notices of copyright are that long."""
_SURE_SHARE = 0.55
"""Of the page's prose, that must have been kept; else another extractor is asked. The benchmark's six pages
between this and 0.65 have a mean F of 0.87 by ours and of 0.86 by trafilatura."""
_NAMED_SHARE = 0.5
"""Of the page's prose, that a container must hold to be believed because of its name."""
_INNER_SHARE = 0.8
"""Of such a container's prose, that a named one further in must hold to take its place."""
_DESCENT_SHARE = 0.9
"""Of a container's prose, that its child must hold for the rest to be left out."""
_LIST_LINKS = 0.6
"""Of a group's characters in links from which it is a list of links."""


@dataclass(frozen=True)
class Choice:
    kept: list[Line]
    is_sure: bool
    """Hardly anything that reads like prose was left out."""


def choose(page: Outline, *, keep_tables: bool = True) -> Choice:
    """The lines of the main text, in order."""
    if not page.lines:
        return Choice([], True)
    counts = [(len(line.text), line.links, _prose(line)) for line in page.lines]
    whole = _Sums(counts)
    outside = _outside(page, whole)
    sums = _Sums([_NOTHING if away else count for away, count in zip(outside, counts, strict=True)])
    container = _container(page.nodes, sums)
    kept = [not outside[i] for i in range(container.start, container.stop)]
    _leave_out(page, sums, container, kept)
    lines = page.lines[container.start : container.stop]
    if not keep_tables:
        kept = [keep and line.tag != words.ROW for keep, line in zip(kept, lines, strict=True)]
    found = _with_headings([line for keep, line in zip(kept, lines, strict=True) if keep])
    prose = sum(_prose(line) for line in found)
    total = whole.prose(page.nodes[0])
    return Choice(found, total <= _FOOTER or prose >= _SURE_SHARE * total)


_NOTHING = (0, 0, 0)


class _Sums:
    """Characters, link characters and prose of any range of lines."""

    def __init__(self, counts: list[tuple[int, int, int]]) -> None:
        characters, links, prose = zip(*counts, strict=True)
        self._characters = [0, *accumulate(characters)]
        self._links = [0, *accumulate(links)]
        self._prose = [0, *accumulate(prose)]

    def prose(self, node: Node) -> int:
        return self._prose[node.stop] - self._prose[node.start]

    def characters(self, node: Node) -> int:
        return self._characters[node.stop] - self._characters[node.start]

    def link_share(self, node: Node) -> float:
        return (self._links[node.stop] - self._links[node.start]) / max(1, self.characters(node))


def _prose(line: Line) -> int:
    text = line.text
    own = len(text) - line.links
    if line.level or 2 * line.links > len(text):
        return 0
    if not text.isascii():
        own += 2 * sum(map(len, _WIDE.findall(text)))
    return own if own >= _PROSE else 0


def _outside(page: Outline, sums: _Sums) -> list[bool]:
    """Lines in navigation, footers, comments and the like.

    A part with much of the page's prose is none of these, nor one around a part that is named as the content.
    """
    outside = [False] * len(page.lines)
    total = sums.prose(page.nodes[0])
    limits = {words.OUTSIDE: max(total / 2, _FOOTER), words.UNLIKELY: total / 5}
    around = _around_main(page.nodes)
    for index, node in enumerate(page.nodes):
        if node.verdict == words.OUTSIDE and index in around:
            continue
        limit = limits.get(node.verdict)
        if limit is not None and node.start < node.stop and sums.prose(node) <= limit:
            outside[node.start : node.stop] = [True] * (node.stop - node.start)
    return outside


def _around_main(nodes: list[Node]) -> set[int]:
    """Indices of the nodes that have a node inside that is named as the content."""
    found: set[int] = set()
    for node in nodes:
        if node.verdict == words.MAIN and node.start < node.stop:
            index = node.parent
            while index >= 0 and index not in found:
                found.add(index)
                index = nodes[index].parent
    return found


def _container(nodes: list[Node], sums: _Sums) -> Node:
    """The innermost part that is named as the content and holds half of the prose; else the one that holds nearly all.

    Where there is no prose, the part with the most text among those that are named.
    """
    total = sums.prose(nodes[0])
    named = [node for node in nodes if node.verdict == words.MAIN and node.start < node.stop]
    if named and not total:
        return max(named, key=sums.characters)
    best: Node | None = None
    for node in named:
        if sums.prose(node) >= (_NAMED_SHARE * total if best is None else _INNER_SHARE * sums.prose(best)):
            best = node
    return best or _descend(nodes, sums)


def _descend(nodes: list[Node], sums: _Sums) -> Node:
    best = nodes[0]
    for node in nodes[1:]:  # parents stand before their children
        inside = best.start <= node.start and node.stop <= best.stop
        if inside and sums.prose(node) and sums.prose(node) >= _DESCENT_SHARE * sums.prose(best):
            best = node
    return best


def _leave_out(page: Outline, sums: _Sums, container: Node, kept: list[bool]) -> None:
    """Lists of links and asides inside the container."""
    for node in page.nodes:
        if container.start <= node.start < node.stop <= container.stop and node is not container:
            whole = sums.characters(node) >= 0.5 * sums.characters(container)
            if not whole and (_is_link_list(node, sums) or _is_aside(node, sums)):
                first = node.start - container.start
                kept[first : first + node.stop - node.start] = [False] * (node.stop - node.start)


def _is_link_list(node: Node, sums: _Sums) -> bool:
    return sums.link_share(node) >= _LIST_LINKS and 3 * sums.prose(node) < sums.characters(node)


def _is_aside(node: Node, sums: _Sums) -> bool:
    """An aside that reads like prose is part of the text: "sidebar" is also what books call a box."""
    if node.verdict != words.ASIDE:
        return False
    return sums.link_share(node) > 0.3 or 2 * sums.prose(node) < sums.characters(node)


def _with_headings(lines: list[Line]) -> list[Line]:
    """Without headings under which nothing is left, before the next heading of their level or above."""
    result: list[Line] = []
    open_level = 0  # a heading above this level has something under it: a text (7), or a heading that has; 0: nothing
    for line in reversed(lines):
        if not line.level:
            open_level = 7
            result.append(line)
        elif line.level < open_level:
            open_level = line.level
            result.append(line)
    return result[::-1]
