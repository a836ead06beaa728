"""Bytes of a page to text, although the page may lie about its encoding."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes
from ftfy.badness import badness
from w3lib.encoding import html_body_declared_encoding, http_content_type_encoding, read_bom

from tasks.text.language import identify

BENEFIT = 0.2
ODD_SHARE = 4
"""Characters in UTF-8 for each odd byte, from which a page is UTF-8 with dirt. By accident, pairs of bytes in another
encoding are rarely UTF-8: fewer than one for three that are not, in Chinese GB 18030, where they are most frequent."""
SAMPLE_BYTES = 100_000
_TAG = re.compile(r"<[^>]*>")
_C1_OR_LOST = re.compile("[\x80-\x9f�]")
_TWO_SCRIPTS = re.compile("[A-Za-z][\u0370-\u04ff]|[\u0370-\u04ff][A-Za-z]")
_ODD = re.compile("[\udc80-\udcff]")
_BEYOND_ASCII = re.compile("[^\x00-\x7f]")
# Encodings whose bytes are all ASCII: for them alone, "it is valid UTF-8" proves nothing.
_SEVEN_BIT = {"iso2022_jp", "iso2022_kr", "hz", "utf_7"}
# Codecs of Python that no browser knows; punycode takes a time that grows with the square of the text.
_NO_CHARSETS = {"punycode", "idna", "unicode_escape", "raw_unicode_escape", "undefined"}


def decode(body: bytes, content_type: str | None = None) -> tuple[str, str]:
    """The text of a page and the name of the encoding that it was read in.

    A byte order mark decides (WHATWG Encoding, "decode"). Then, unlike browsers, evidence goes before declarations:
    bytes beyond ASCII that are valid UTF-8 are UTF-8, since other encodings hardly ever are by accident. Otherwise the
    header's and the page's encodings, windows-1252 and charset-normalizer's guess are tried strictly. Of those that
    fit, the one with the fewest signs of mojibake wins; of these, the one whose words look most like some language; a
    declared one is given the benefit of the doubt. What is mostly UTF-8 stays UTF-8, its odd bytes read as
    windows-1252. Of a long page a sample decides; the rest is decoded as that was, its errors replaced.
    """
    mark, bom = read_bom(body)
    if mark is not None and bom is not None:
        return body[len(bom) :].decode(mark, "replace").replace("\x00", ""), mark
    declared = _declared(body, content_type)
    seven_bit = body.isascii() and not _SEVEN_BIT.isdisjoint(declared)
    utf8 = None if seven_bit else _utf8(body)
    if utf8 is not None and not _is_wide(body):
        return utf8.replace("\x00", ""), "utf-8"
    if not seven_bit and (mended := _mended(body)) is not None:
        return mended, "utf-8"
    whole, body = body, _telling(body)
    guess = from_bytes(body).best()
    names = dict.fromkeys([*declared, "cp1252", *([guess.encoding] if guess else [])])
    fits = {name: text for name in names if (text := _strictly(body, name, is_cut=body != whole)) is not None}
    name = min(fits, key=lambda name: _doubt(fits[name], name in declared), default="utf-8")  # the first of equals
    return whole.decode(name, "replace"), name


def _declared(body: bytes, content_type: str | None) -> list[str]:
    names = [http_content_type_encoding(content_type), html_body_declared_encoding(body)]
    return [
        name for name in dict.fromkeys(name.replace("-", "_") for name in names if name) if name not in _NO_CHARSETS
    ]


def _utf8(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _is_wide(body: bytes) -> bool:
    """UTF-16 without a mark is valid UTF-8 where every second byte is NUL. A few NULs are dirt."""
    return body.count(0) > len(body) // 10


def _mended(body: bytes) -> str | None:
    """UTF-8 with bytes of another encoding in between (pages put together of parts), or cut off inside a character."""
    if _is_wide(body):
        return None
    text = body.decode("utf-8", "surrogateescape")
    odd = len(_ODD.findall(text))
    good = len(_BEYOND_ASCII.findall(text)) - odd
    if good < ODD_SHARE * odd:
        return None
    return _ODD.sub(lambda match: bytes([ord(match.group()) - 0xDC00]).decode("cp1252", "replace"), text)


def _telling(body: bytes) -> bytes:
    """The body, or the first lines of a long one that have bytes beyond ASCII: guessing takes 1 s a MB."""
    if len(body) <= SAMPLE_BYTES or _is_wide(body):
        return body[:SAMPLE_BYTES]
    found = bytearray()
    for line in body.splitlines(keepends=True):
        if not line.isascii():
            found += line
            if len(found) >= SAMPLE_BYTES:
                break
    return bytes(found[:SAMPLE_BYTES]) or body[:SAMPLE_BYTES]


def _strictly(body: bytes, encoding: str, *, is_cut: bool = False) -> str | None:
    """Of a cut body, the last character may be incomplete."""
    try:
        "x".encode(encoding)  # LookupError for what is no charset: zlib would be a bomb
        return codecs.getincrementaldecoder(encoding)().decode(body, not is_cut)
    except (UnicodeError, LookupError):
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
