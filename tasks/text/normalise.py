"""One spelling for one text: encoding damage repaired, Unicode composed, invisible characters and loose blanks gone."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

import ftfy
from ftfy.badness import is_bad

from tasks.config.quality import CharacterPolicy, NormaliseConfig

# Zero-width joiners carry meaning: ligatures in Persian and the scripts of India, families of emoji.
_JOINERS = "\u200c\u200d"
_BLANKS = re.compile(r"[^\S\n]+")
# Blanks and line breaks that do not stay.
_LOOSE = re.compile(r"  |\n\n| \n|\n |\A[ \n]|[ \n]\Z")
_NEWLINES = re.compile(r"\r\n?|[\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")
# What ftfy changes in a line besides mojibake and entities: controls, surrogates, Latin ligatures.
_FOR_FTFY = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u206a-\u206f\ufff9-\ufffc\ufeff\ud800-\udfff\ufb00-\ufb06"
    "\u0132\u0133\u0149\u01c4-\u01cc\u01f1-\u01f3]"
)
_TAG = re.compile(
    r"</?(?:a|abbr|b|big|blockquote|br|center|cite|code|dd|div|dl|dt|em|font|h[1-6]|hr|i|img|li|nobr|ol|p|pre|q|s|small"
    r"|span|strike|strong|sub|sup|table|tbody|td|tfoot|th|thead|tr|tt|u|ul|wbr)\b(?:\s[^<>]*)?/?>",
    re.IGNORECASE,
)
_COMMENT = re.compile(r"<!--.*?-->|<!\[CDATA\[|\]\]>")
_BREAKS = re.compile(r"<(?:br|hr|p|li|tr|div|/p|/li|/tr|/div)\b", re.IGNORECASE)
_EMOJI = "\U0001f1e6-\U0001f1ff\U0001f300-\U0001f64f\U0001f680-\U0001f6ff\U0001f900-\U0001faff"
_CLASSES = {
    "emoji": f"[{_EMOJI}](?:[\u200d\ufe0f\u20e3\U000e0020-\U000e007f]*[{_EMOJI}\u2640\u2642\u2695\u2764]?)*"
    "|[\u2600-\u27bf]\ufe0f",
    "private_use": "[\ue000-\uf8ff\U000f0000-\U000ffffd\U00100000-\U0010fffd]",
    "box_drawing": "[\u2500-\u25ff\U0001fb00-\U0001fbff]",
    "symbols": "[\u2190-\u23ff\u2600-\u27bf\u27c0-\u27ff\u2900-\u2bff]",
}
_Policies = list[tuple[re.Pattern[str], str]]
DEFAULT = NormaliseConfig()


def normalise(text: str, config: NormaliseConfig = DEFAULT) -> str:
    """Text in NFC without mojibake, control and format characters, with one "\\n" between non-empty lines.

    Runs of blanks (also no-break and ideographic ones) become one space; lines are stripped. Idempotent on its output
    except where text that is quoted mojibake only shows after a first repair. Typographic quotes and full-width forms
    are the author's (in Chinese, full-width punctuation is the punctuation), unless the form is NFKC.
    """
    if _is_plain(text.replace("\n", "")) and not _LOOSE.search(text):
        return text  # most English text: nothing to repair
    return "\n".join(line for line, _ in _lines(text, config))


def normalise_lines(text: str, levels: Sequence[int], config: NormaliseConfig = DEFAULT) -> tuple[str, Sequence[int]]:
    """`normalise`, with one level for each line of what comes out; what becomes of one line has that line's level.

    `levels` has one entry for each "\\n"-separated line of `text`, or none at all, which gives none.

    Raises:
        ValueError: as many levels as lines are needed.
    """
    if not levels:
        return normalise(text, config), levels
    if len(levels) != text.count("\n") + 1:
        raise ValueError(f"{len(levels)} levels for {text.count(chr(10)) + 1} lines; give one for each line")
    if _is_plain(text.replace("\n", "")) and not _LOOSE.search(text):
        return text, levels
    found = list(_lines(text, config))
    return "\n".join(line for line, _ in found), [levels[number] for _, number in found]


def one_line(text: str) -> str:
    return normalise(text).replace("\n", " ")


def canonical(text: str) -> str:
    """What two texts must share to be the same text: NFKC (full-width is half-width), lower case, single spaces."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def _lines(text: str, config: NormaliseConfig) -> Iterator[tuple[str, int]]:
    """Non-empty lines with the number of the line that each comes from."""
    fixes, policies = _fixes(config), _policies(config)
    for number, line in enumerate(text.split("\n")):
        if _is_plain(line):
            pieces = [line]
        else:
            pieces = []
            for piece in _NEWLINES.sub("\n", line).split("\n"):
                if "<" in piece:  # ftfy's rule: where there is markup, or a text about it, entities stay from here on
                    fixes = fixes._replace(unescape_html=False)
                pieces += _repaired(piece, fixes, policies, config).split("\n")
        for each in pieces:
            if each := (_BLANKS.sub(" ", each) if "  " in each or not each.isprintable() else each).strip():
                yield each, number


def _repaired(line: str, fixes: ftfy.TextFixerConfig, policies: _Policies, config: NormaliseConfig) -> str:
    """A line with everything done but its blanks; it may have become several lines."""
    if config.remnants and ("<" in line or "&" in line or "]]>" in line):
        line = _without_remnants(line)
    if _needs_ftfy(line, config):
        line = ftfy.fix_text(line, fixes)
    if config.form == "NFKC":
        line = unicodedata.normalize("NFKC", line)
    if config.control_characters != "keep" and not line.replace("\n", "").isprintable():
        instead = " " if config.control_characters == "space" else ""
        line = unicodedata.normalize(config.form, "".join(instead if _is_invisible(char) else char for char in line))
    for pattern, instead in policies:
        line = pattern.sub(instead, line)
    return line


def _needs_ftfy(line: str, config: NormaliseConfig) -> bool:
    """Whether ftfy would change the line; asking costs a tenth of calling it."""
    return (
        "&" in line
        or _FOR_FTFY.search(line) is not None
        or (config.repair_mojibake and is_bad(line))
        or not unicodedata.is_normalized("NFC", line)
    )


def _is_plain(text: str) -> bool:
    return text.isascii() and text.isprintable() and "&" not in text and "<" not in text


def _without_remnants(line: str) -> str:
    """Entities unescaped until none is left (&amp;amp;nbsp; has three layers), then HTML's own tags and comments gone.

    Tags that HTML has not, as <stdio.h> or <T>, stay; so does a < that opens nothing.
    """
    for _ in range(4):
        before, line = line, html.unescape(line)
        if line == before:
            break
    line = _BREAKS.sub(lambda match: "\n" + match[0], _COMMENT.sub("", line))
    return _TAG.sub("", line)


@lru_cache(maxsize=32)
def _fixes(config: NormaliseConfig) -> ftfy.TextFixerConfig:
    return ftfy.TextFixerConfig(
        uncurl_quotes=False,
        fix_character_width=False,
        normalization="NFC",
        fix_encoding=config.repair_mojibake,
        fix_c1_controls=config.repair_mojibake,
        remove_control_chars=config.control_characters == "drop",
        explain=False,
    )


@lru_cache(maxsize=32)
def _policies(config: NormaliseConfig) -> _Policies:
    wanted: dict[str, CharacterPolicy] = {name: getattr(config, name) for name in _CLASSES}
    return [
        (re.compile(_CLASSES[name]), " " if policy == "space" else "")
        for name, policy in wanted.items()
        if policy != "keep"
    ]


def _is_invisible(char: str) -> bool:
    """Control (Cc), format (Cf) and surrogate (Cs) characters, but for newline, tab and joiners."""
    return unicodedata.category(char) in {"Cc", "Cf", "Cs"} and char not in "\n\t" + _JOINERS
