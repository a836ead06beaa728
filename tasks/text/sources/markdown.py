"""Markdown (CommonMark with tables) to plain lines, headings kept as levels."""

from __future__ import annotations

import html
import re
from functools import cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FRONT_MATTER = re.compile(r"\A---[ \t]*\r?\n(.*?)\r?\n(?:---|\.\.\.)[ \t]*\r?\n", re.DOTALL)
_FIELD = re.compile(r"^(title|date):[ \t]*[\"']?(.*?)[\"']?[ \t]*$", re.MULTILINE)
_TAG = re.compile(r"<[^<>]*>")
_SOFT = ("softbreak", "hardbreak")


def markdown_lines(text: str) -> tuple[list[str], list[int]]:
    """Lines (none empty, blanks around them gone) and the heading level of each (0: none). Front matter is left out."""
    text = _FRONT_MATTER.sub("", text, count=1)
    lines: list[str] = []
    levels: list[int] = []
    level = 0
    for token in _parser().parse(text):
        if token.type == "heading_open":
            level = int(token.tag[1])
        for line in _text(token).split("\n"):
            if line := " ".join(line.split()):
                lines.append(line)
                levels.append(level)
        if token.type == "heading_close":
            level = 0
    return lines, levels


def front_matter(text: str) -> dict[str, str]:
    """`title` and `date` of the YAML block before the text, where there is one and they are plain."""
    found = _FRONT_MATTER.match(text)
    return dict(_FIELD.findall(found[1])) if found else {}


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark").enable("table")


def _text(token: Token) -> str:
    if token.type == "inline":
        return "".join(_inline(child) for child in token.children or ())
    if token.type == "html_block":
        return html.unescape(_TAG.sub("", token.content))
    return token.content if token.type in ("fence", "code_block") else ""


def _inline(token: Token) -> str:
    if token.type in _SOFT:
        return "\n" if token.type == "hardbreak" else " "
    if token.type == "image":
        return "".join(_inline(child) for child in token.children or ())
    return "" if token.type == "html_inline" else token.content
