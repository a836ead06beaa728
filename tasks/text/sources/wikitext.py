"""MediaWiki markup to plain lines, in time linear in its length whatever it holds.

A parser that builds the tree of templates (mwparserfromhell 0.7) read 0.8 MB/s where this reads 2.9, and was not done
with 400,000 characters of `{{a|` after four minutes. Here nothing is built: what nests (templates, tables, links) is
matched with one stack in one pass each.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterator

MAX_LINK_DEPTH = 8
_DROPPED_TAGS = (
    "ref|references|math|chem|gallery|timeline|syntaxhighlight|source|score|imagemap|hiero|templatestyles|graph|mapframe"
    "|maplink|inputbox|categorytree|includeonly|style|script"
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)", re.DOTALL)
_NOWIKI = re.compile(r"<nowiki\s*>(.*?)(?:</nowiki\s*>|\Z)", re.DOTALL | re.IGNORECASE)
_DROPPED = re.compile(rf"<(/?)({_DROPPED_TAGS})\b[^<>]{{0,2000}}>", re.IGNORECASE)
_BRACES = re.compile(r"\{\{|\}\}|^[ \t:*#]*(\{\|)|^[ \t]*(\|\})(?!\})", re.MULTILINE)
_LINKS = re.compile(r"\[\[|\]\]")
_EXTERNAL = re.compile(r"\[(?:https?:|ftp:|mailto:|news:|irc:)?//[^\s\[\]<>]{0,2000}[ \t]*([^\[\]\n]{0,500})\]")
_QUOTES = re.compile(r"'{2,}")
_BLOCKS = "br|p|div|li|ul|ol|dl|dd|dt|tr|table|center|blockquote|h[1-6]|hr"
_BREAK = re.compile(rf"</?(?:{_BLOCKS})\b[^<>]{{0,500}}>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>")
_SWITCH = re.compile(r"__[A-ZА-Я]{3,30}__")
_HEADING = re.compile(r"^(={1,6})[ \t]*([^\n]*?)[ \t]*(={1,6})$")
_LIST = re.compile(r"^[*#:;]+[ \t]*")
_EMPTY_BRACKETS = re.compile(r"[ \t]?[(（][\s,;，；]{0,20}[)）]")
_INNER_EDGE = re.compile(r"([(（])[ \t]*[,;，；][,;，；\s]{0,20}")
_GAP = re.compile(r"[ \t]+([,.;:)])")
_INTERWIKI = re.compile(r"[a-z]{2,3}(?:-[a-z]{2,12}){0,2}$|simple$")
_SHIELD = {ord(char): f"&#{ord(char)};" for char in "[]{}|'<>=*#:;_"}
MEDIA = frozenset({"file", "image", "media", "category"})


def wikitext_lines(markup: str, dropped_namespaces: frozenset[str] = MEDIA) -> tuple[list[str], list[int]]:
    """Lines (none empty) and the heading level of each (0: none).

    Comments, templates, tables, references, files, categories and links to other languages are dropped, as are
    headings with nothing below them; a link leaves its label, a list item its line.

    Args:
        dropped_namespaces: lower-case prefixes of links that show a file or set a category, in the wiki's language too.
    """
    text = _COMMENT.sub("", markup)
    text = _NOWIKI.sub(lambda match: match[1].translate(_SHIELD), text)
    text = _without_elements(text)
    text = _without_braces(text)
    text = _without_links(text, dropped_namespaces)
    text = _EXTERNAL.sub(r"\1", text)
    text = _QUOTES.sub("", text)
    text = _TAG.sub("", _BREAK.sub("\n", text))
    text = html.unescape(_SWITCH.sub("", text))
    text = _INNER_EDGE.sub(r"\1", _EMPTY_BRACKETS.sub("", text))
    return _without_empty_sections(list(_lines(text)))


def _without_elements(text: str) -> str:
    """Drop elements whose content is no prose, such as <ref>. One that is not closed loses its tag alone."""
    matches = list(_DROPPED.finditer(text))
    closing: dict[str, list[int]] = defaultdict(list)
    for index, match in enumerate(matches):
        if match[1]:
            closing[match[2].lower()].append(index)
    parts, kept, index = [], 0, 0
    while index < len(matches):
        match = matches[index]
        parts.append(text[kept : match.start()])
        if not match[1] and not match[0].endswith("/>"):
            ends = closing[match[2].lower()]
            following = bisect_right(ends, index)
            index = ends[following] if following < len(ends) else index
        kept = matches[index].end()
        index += 1
    return "".join([*parts, text[kept:]])


def _without_braces(text: str) -> str:
    """Drop templates {{…}} and tables {|…|} with all that they hold. Braces without a partner go alone."""
    opened: list[tuple[str, int]] = []
    count = {"{{": 0, "{|": 0}
    spans: list[tuple[int, int]] = []
    for match in _BRACES.finditer(text):
        token = match[1] or match[2] or match[0]
        if token in count:
            opened.append((token, match.end() - 2))
            count[token] += 1
            spans.append((match.end() - 2, match.end()))
            continue
        partner = "{{" if token == "}}" else "{|"
        spans.append((match.end() - 2, match.end()))
        while count[partner]:  # what was opened in between and never closed goes with it
            found, start = opened.pop()
            count[found] -= 1
            if found == partner:
                while spans and spans[-1][0] >= start:
                    spans.pop()
                spans.append((start, match.end()))
                break
    return _cut(text, spans)


def _cut(text: str, spans: list[tuple[int, int]]) -> str:
    parts, kept = [], 0
    for start, stop in spans:
        parts.append(text[kept:start])
        kept = stop
    return "".join([*parts, text[kept:]])


def _without_links(text: str, dropped: frozenset[str]) -> str:
    """[[target|label]] to its label, [[target]] to the target, files and categories to nothing."""
    levels: list[list[str]] = [[]]
    kept = 0
    for match in _LINKS.finditer(text):
        levels[-1].append(text[kept : match.start()])
        kept = match.end()
        if match[0] == "[[":
            if len(levels) <= MAX_LINK_DEPTH:  # each level copies what it holds once more
                levels.append([])
        elif len(levels) > 1:
            inner = "".join(levels.pop())
            levels[-1].append(_label(inner, dropped))
    levels[-1].append(text[kept:])
    return "".join(part for level in levels for part in level)


def _label(inner: str, dropped: frozenset[str]) -> str:
    target, bar, label = inner.partition("|")
    prefix, colon, _ = target.partition(":")
    prefix = prefix.strip().lower()
    if colon and (prefix in dropped or (not bar and _INTERWIKI.match(prefix))):
        return ""
    return label if bar else target.strip().removeprefix(":")


def _lines(text: str) -> Iterator[tuple[str, int]]:
    for line in text.split("\n"):
        line = " ".join(line.split())
        heading = _HEADING.match(line)
        if heading:
            level = min(len(heading[1]), len(heading[3]))
            if title := heading[2].strip("= "):
                yield title, level
        elif not line.startswith(("|", "!", "----")) and (line := _GAP.sub(r"\1", _LIST.sub("", line))):
            yield line, 0


def _without_empty_sections(lines: list[tuple[str, int]]) -> tuple[list[str], list[int]]:
    """Without headings that nothing follows but a heading of their own or a higher rank: their references are gone."""
    kept: list[tuple[str, int]] = []
    below, text = 0, 7  # rank of the next thing that is kept: 1 to 6 of a heading; text is below all of them
    for line, level in reversed(lines):
        if level == 0:
            below = text
            kept.append((line, 0))
        elif below > level:
            below = level
            kept.append((line, level))
    kept.reverse()
    return [line for line, _ in kept], [level for _, level in kept]
