"""Bytes of a page to text, although the page may lie about its encoding."""

from __future__ import annotations

import re

from charset_normalizer import from_bytes
from ftfy.badness import badness
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom

from tasks.text.language import identify

BENEFIT = 0.2
_TAG = re.compile(r"<[^>]*>")
_C1_OR_LOST = re.compile("[\x80-\x9f�]")
_TWO_SCRIPTS = re.compile("[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
# Encodings whose bytes are all ASCII: for them alone, "it is valid UTF-8" proves nothing.
_SEVEN_BIT = {"iso2022_jp", "iso2022_kr", "hz", "utf_7"}


def decode(body: bytes, content_type: str | None = None) -> tuple[str, str]:
    """The text of a page and the name of the encoding that it was read in.

    A byte order mark decides (WHATWG Encoding, "decode"). Then, unlike browsers, evidence goes before declarations:
    bytes beyond ASCII that are valid UTF-8 are UTF-8, since other encodings hardly ever are by accident. Otherwise the
    header's and the page's encodings, windows-1252 and charset-normalizer's guess are tried strictly. Of those that
    fit, the one with the fewest signs of mojibake wins; of these, the one whose words look most like some language; a
    declared one is given the benefit of the doubt.
    """
    mark, bom = read_bom(body)
    if mark is not None and bom is not None:
        return body[len(bom) :].decode(mark, "replace"), mark
    declared = _declared(body, content_type)
    seven_bit = body.isascii() and not _SEVEN_BIT.isdisjoint(declared)
    utf8 = None if seven_bit else _strictly(body, "utf-8")
    if utf8 is not None and "\x00" not in utf8:  # UTF-16 without a mark is valid UTF-8 full of NULs
        return utf8, "utf-8"
    guess = from_bytes(body).best()
    names = dict.fromkeys([*declared, "cp1252", *([guess.encoding] if guess else [])])
    fits = {name: text for name in names if (text := _strictly(body, name)) is not None}
    if not fits:
        return body.decode("utf-8", "replace"), "utf-8"
    name = min(fits, key=lambda name: _doubt(fits[name], name in declared))  # min keeps the first of equals
    return fits[name], name


def _declared(body: bytes, content_type: str | None) -> list[str]:
    names = [http_content_type_encoding(content_type), html_body_declared_encoding(body)]
    return list(dict.fromkeys(name.replace("-", "_") for name in names if name))


def _strictly(body: bytes, encoding: str) -> str | None:
    try:
        return body.decode(encoding)
    except (UnicodeDecodeError, LookupError):
        return None


def _doubt(text: str, declared: bool) -> tuple[int, float]:
    """Signs of a wrong decoding, then how little like language it looks.

    Signs are ftfy's mojibake score, C1 controls, lost characters, and Latin beside Greek or Cyrillic in one word.

    Only words with characters beyond ASCII tell one encoding from another. Their language is identified: "Não" passes
    for Portuguese, "Năo" less so. (charset-normalizer alone takes most Western pages for windows-1250.)
    """
    words = " ".join(word for word in _TAG.sub(" ", text).split() if not word.isascii())
    damage = badness(text) + len(_C1_OR_LOST.findall(text)) + len(_TWO_SCRIPTS.findall(text))
    return damage, -round(identify(words)[1], 2) - BENEFIT * declared
