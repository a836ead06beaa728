"""Bytes of a page to text, although the page may lie about its encoding."""

from __future__ import annotations

import re

from charset_normalizer import from_bytes
from ftfy.badness import badness
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom

_C1_OR_LOST = re.compile("[\x80-\x9f�]")
# Encodings whose bytes are all ASCII: for them alone, "it is valid UTF-8" proves nothing.
_SEVEN_BIT = {"iso2022_jp", "iso2022_kr", "hz", "utf_7"}


def decode(body: bytes, content_type: str | None = None) -> tuple[str, str]:
    """The text of a page and the name of the encoding that it was read in.

    A byte order mark decides (WHATWG Encoding, "decode"). Then, unlike browsers, evidence goes before declarations:
    bytes beyond ASCII that are valid UTF-8 are UTF-8, since other encodings hardly ever are by accident. Otherwise the
    header's and the page's declared encodings are tried strictly, and of those that fit the one whose text looks least
    like mojibake wins (the header's, where they look alike); if none fits, charset-normalizer guesses.
    """
    mark, bom = read_bom(body)
    if mark is not None and bom is not None:
        return body[len(bom) :].decode(mark, "replace"), mark
    declared = _declared(body, content_type)
    seven_bit = body.isascii() and not _SEVEN_BIT.isdisjoint(declared)
    utf8 = None if seven_bit else _strictly(body, "utf-8")
    if utf8 is not None and "\x00" not in utf8:  # UTF-16 without a mark is valid UTF-8 full of NULs
        return utf8, "utf-8"
    fits = {name: text for name in declared if (text := _strictly(body, name)) is not None}
    if not fits or min(map(_damage, fits.values())) > 0:
        fits |= {name: text for name, text in [_guess(body)] if text}
    if not fits:
        return body.decode("utf-8", "replace"), "utf-8"
    name = min(fits, key=lambda name: _damage(fits[name]))  # min keeps the first of equals
    return fits[name], name


def _declared(body: bytes, content_type: str | None) -> list[str]:
    names = [http_content_type_encoding(content_type), html_body_declared_encoding(body)]
    return list(dict.fromkeys(name.replace("-", "_") for name in names if name))


def _strictly(body: bytes, encoding: str) -> str | None:
    try:
        return body.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _guess(body: bytes) -> tuple[str, str]:
    best = from_bytes(body).best()
    return ("", "") if best is None else (best.encoding, str(best))


def _damage(text: str) -> int:
    """Signs of a wrong decoding: ftfy's mojibake score, C1 controls and replacement characters."""
    return badness(text) + len(_C1_OR_LOST.findall(text))
