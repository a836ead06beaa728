"""One spelling for one text: encoding damage repaired, Unicode composed, invisible characters and loose blanks gone."""

from __future__ import annotations

import re
import unicodedata

import ftfy

# Typographic quotes and full-width forms are the author's (in Chinese, full-width punctuation is the punctuation).
_FIXES = ftfy.TextFixerConfig(uncurl_quotes=False, fix_character_width=False, normalization="NFC")
# Zero-width joiners carry meaning: ligatures in Persian and the scripts of India, families of emoji.
_JOINERS = "\u200c\u200d"
_BLANKS = re.compile(r"[^\S\n]+")
_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")


def normalise(text: str) -> str:
    """Text in NFC without mojibake, control and format characters, with one "\\n" between non-empty lines.

    Runs of blanks (also no-break and ideographic ones) become one space; lines are stripped. Idempotent on its output
    except where text that is quoted mojibake only shows after a first repair.
    """
    if text.isascii() and text.isprintable() and "&" not in text and "  " not in text:
        return text.strip()  # most English text: nothing to repair, and ftfy would take a third of the stage's time
    text = ftfy.fix_text(_NEWLINES.sub("\n", text), _FIXES)
    if not text.replace("\n", "").isprintable():
        text = unicodedata.normalize("NFC", "".join(char for char in text if not _is_invisible(char)))
    lines = (_BLANKS.sub(" ", line).strip() for line in text.split("\n"))
    return "\n".join(line for line in lines if line)


def one_line(text: str) -> str:
    return normalise(text).replace("\n", " ")


def canonical(text: str) -> str:
    """What two texts must share to be the same text: NFKC (full-width is half-width), lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _is_invisible(char: str) -> bool:
    """Control (Cc), format (Cf), surrogate (Cs) and private-use (Co) characters, but for newline, tab and joiners."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs", "Co"} and char not in "\n\t" + _JOINERS
