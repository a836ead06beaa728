"""A page laid out as lines in one walk over its tree: what a reader would see, and which part each line is in."""

from __future__ import annotations

from dataclasses import dataclass, field

from lxml import etree
from lxml.etree import _Element as Element

from tasks.text.extraction import vocabulary as words
from tasks.text.extraction.markup import TooDeep

# Signs that stand for "link to this place", and editors' links.
_SIGNS = "¶ # § 🔗 ∞ ⚓ ↑ ↩ ^ [edit] edit [bearbeiten] [modifier] [编辑] [編集]"
_ANCHORS = frozenset(_SIGNS.split())
_LONG_CELL = 200
"""Characters: a row with a longer cell is a layout, not data, and its cells are lines."""
_HIDDEN_CHARACTERS = 1_000
"""More than this is hidden until a script shows it: then it is read."""
_HIDDEN = etree.XPath(
    "descendant::*[@hidden or contains(@style, 'display')]"
    "[@hidden or contains(translate(@style, ' ', ''), 'display:none')]"
)


@dataclass(slots=True)
class Line:
    text: str
    """Not empty, blanks collapsed."""
    links: int
    """Characters of `text` inside links."""
    level: int
    """Of a heading, 1 to 6; 0 otherwise."""
    tag: int
    """What it stands in: PARAGRAPH, ITEM, PRE, ROW, HEADING or GROUP of the vocabulary."""


@dataclass(slots=True)
class Node:
    """A block element; its lines are `lines[start:stop]`."""

    tag: str
    parent: int
    verdict: int
    start: int
    stop: int = -1


@dataclass
class Outline:
    lines: list[Line] = field(default_factory=list)
    nodes: list[Node] = field(default_factory=list)
    """In the order of their start tags: a node's parent stands before it. The first is the body."""


def outline(tree: Element, *, max_depth: int, may_hide: bool = True) -> Outline:
    """The lines of the body. Changes the tree: inline elements are dissolved, what is never text is taken out.

    `may_hide`: whether the markup has a `hidden` or `display: none` anywhere; looking takes a fifth of the time.

    Raises:
        TooDeep: an element that is not inline has `max_depth` or more around it.
    """
    body = tree.find("body")
    body = tree if body is None else body
    body.tail = None
    etree.strip_elements(body, *words.SILENT, with_tail=False)
    if may_hide:
        _drop_hidden(body)
    etree.strip_tags(body, *words.INLINE)
    walk = _Walk()
    depth = 0
    for event, element in etree.iterwalk(body, events=("start", "end")):
        if event == "start":
            depth += 1
            if depth >= max_depth:
                raise TooDeep
            walk.start(element)
        else:
            depth -= 1
            walk.end(element)
    return walk.outline


class _Walk:
    """The state of one walk: the line that is being collected, and where it stands."""

    def __init__(self) -> None:
        self.outline = Outline()
        self._parts: list[str] = []
        self._links = 0  # characters of closed links in `_parts`
        self._link_from = -1  # index in `_parts` where the open link starts; -1 = no link is open
        self._open: list[int] = []  # for each open block its index in `nodes`, or -1 if it is none
        self._around = -1  # index of the innermost open node
        self._level = 0
        self._pre = 0
        self._items = 0
        self._rows: list[_Row] = []

    def start(self, element: Element) -> None:
        tag = element.tag
        kind = words.BLOCKS.get(tag)
        if kind is not None:
            if self._parts:
                self._flush()
            self._start_block(element, tag, kind)
        elif tag == "a":
            self._link_from = len(self._parts)
        elif self._parts and "-" in tag:  # a custom element; what it is, a script says
            self._flush()
        text = element.text
        if text and (self._parts or not text.isspace()):
            self._parts.append(text)

    def end(self, element: Element) -> None:
        tag = element.tag
        kind = words.BLOCKS.get(tag)
        if kind is not None:
            if self._parts:
                self._flush()
            self._end_block(kind)
        elif tag == "a":
            self._end_link()
        elif self._parts and "-" in tag:
            self._flush()
        tail = element.tail
        if tail and (self._parts or not tail.isspace()):
            self._parts.append(tail)

    def _start_block(self, element: Element, tag: str, kind: int) -> None:
        verdict = words.NEUTRAL
        if kind == words.GROUP or kind == words.TABLE:
            get = element.get
            verdict = words.judge(tag, get("role"), get("class"), get("id"))
        elif kind == words.HEADING:
            self._level = int(tag[1])
        elif kind == words.PRE:
            self._pre += 1
        elif kind == words.ROW:
            self._rows.append(_Row(len(self.outline.lines), len(self.outline.nodes)))
        elif kind != words.BREAK:
            if kind == words.ITEM:
                self._items += 1
            if names := element.get("class"):
                verdict = words.judge_names(names, "")
        if kind == words.GROUP or kind == words.TABLE or verdict:
            nodes = self.outline.nodes
            nodes.append(Node(tag, self._around, verdict, len(self.outline.lines)))
            self._around = len(nodes) - 1
            self._open.append(self._around)
        else:
            self._open.append(-1)
        if kind == words.CELL and self._rows:
            self._rows[-1].cells.append(len(self.outline.lines))

    def _end_block(self, kind: int) -> None:
        index = self._open.pop()
        if index >= 0:
            node = self.outline.nodes[index]
            node.stop = len(self.outline.lines)
            self._around = node.parent
        if kind == words.HEADING:
            self._level = 0
        elif kind == words.ITEM:
            self._items -= 1
        elif kind == words.PRE:
            self._pre -= 1
        elif kind == words.ROW:
            self._end_row(self._rows.pop())

    def _end_link(self) -> None:
        if self._link_from >= 0:
            text = " ".join("".join(self._parts[self._link_from :]).split())
            if text in _ANCHORS:
                del self._parts[self._link_from :]
            else:
                self._links += len(text)
            self._link_from = -1

    def _flush(self) -> None:
        joined = "".join(self._parts)
        pieces = joined.split("\n") if self._pre else (joined,)
        links = self._links
        if self._link_from >= 0:
            links += len(" ".join("".join(self._parts[self._link_from :]).split()))
            self._link_from = 0
        kind = (
            words.PRE if self._pre else words.HEADING if self._level else words.ITEM if self._items else words.PARAGRAPH
        )
        for piece in pieces:
            text = " ".join(piece.split())
            if text:
                self.outline.lines.append(Line(text, min(links, len(text)), self._level, kind))
                links = max(0, links - len(text))
        self._parts = []
        self._links = 0

    def _end_row(self, row: _Row) -> None:
        """The row's cells as one line, if they are short: a table of data. Otherwise they stay lines of their own."""
        lines = self.outline.lines
        for outer in self._rows:
            outer.is_layout = True
        if row.is_layout or len(row.cells) < 2:
            return
        stops = [*row.cells[1:], len(lines)]
        cells = [lines[start:stop] for start, stop in zip(row.cells, stops, strict=True) if start < stop]
        if len(cells) < 2 or not all(_is_data(cell) for cell in cells):
            return
        inside = lines[row.start :]
        text = " | ".join(" ".join(line.text for line in cell) for cell in cells)
        lines[row.start :] = [Line(text, sum(line.links for line in inside), 0, words.ROW)]
        for node in self.outline.nodes[row.nodes :]:
            node.start, node.stop = row.start, row.start + 1


@dataclass(slots=True)
class _Row:
    """A table row that is open."""

    start: int
    nodes: int
    """How many nodes there were before it."""
    cells: list[int] = field(default_factory=list)
    """Where each cell's lines start."""
    is_layout: bool = False


def _is_data(cell: list[Line]) -> bool:
    return sum(len(line.text) for line in cell) <= _LONG_CELL and not any(line.level for line in cell)


def _drop(element: Element) -> None:
    """Take an element away, and leave the text behind it."""
    element.clear(keep_tail=True)
    element.tag = "span"  # dissolved with the other inline elements


def _drop_hidden(body: Element) -> None:
    for element in _HIDDEN(body):
        if element.getparent() is not None and len("".join(element.itertext())) <= _HIDDEN_CHARACTERS:
            _drop(element)
