"""HTML by construction: whatever is not already markup is escaped, so no text of a corpus can become any."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from typing import TypeAlias

VOID = frozenset({"meta", "rect", "line"})
_BIDI = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_UNSEEN = re.compile(f"[\x00-\x08\x0b-\x1f\x7f-\x9f{_BIDI}\ufeff\ufffe\uffff\ud800-\udfff]")
"""Control characters, and what turns the direction of the text that follows: they are shown, not obeyed."""


class Markup(str):
    """Text that is HTML already. Only this module makes any."""

    __slots__ = ()


Child: TypeAlias = Markup | str | None


def element(name: str, *children: Child, css: str = "", attributes: Mapping[str, str] | None = None) -> Markup:
    """An element; children that are not markup are escaped, None is left out."""
    given = {"class": css, **(attributes or {})} if css else dict(attributes or {})
    written = "".join(f' {key}="{escape(value)}"' for key, value in given.items())
    if name in VOID:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{join(*children)}</{name}>")


def join(*children: Child) -> Markup:
    return Markup("".join(child if isinstance(child, Markup) else escape(child) for child in children if child))


def escape(text: str) -> str:
    return html.escape(_UNSEEN.sub(_shown, text), quote=True)


def foreign(text: str) -> Markup:
    """Inline text of the corpus, whose direction does not change that of what is around it."""
    return element("bdi", text)


def _shown(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code < 0x20:
        return chr(0x2400 + code)  # Unicode's pictures of control characters
    return "\ufffd" if 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF) else f"⟨U+{code:04X}⟩"
