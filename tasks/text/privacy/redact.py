"""One entry to all kinds of personal data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from tasks.config.privacy import KINDS, Kind, PrivacyConfig
from tasks.text.privacy.accounts import cards, ibans
from tasks.text.privacy.addresses import emails, ip_addresses
from tasks.text.privacy.national_ids import national_ids
from tasks.text.privacy.phones import phones
from tasks.text.privacy.spans import Span, Window, without_overlaps

# Six digits with little between them, or the letters that an id of another kind begins with.
_NUMBERS = re.compile(r"\d(?:[^\w\n]{0,3}\d){5}|[A-Z]{4}[0-9LMNP-V]{2}")
_IBAN_START = re.compile(r"[A-Z]{2}\d\d")


def redact(text: str, config: PrivacyConfig, language: str) -> tuple[str, Counter[Kind]]:
    """The text with personal data replaced, and how much of each kind was found. Line breaks stay where they are.

    `language` is that of the text, ISO 639 ("" = unknown); its country's telephone numbers are known too. A text
    without "@" and without six digits in a row costs a few microseconds.

    Raises:
        MissingModel: names are asked for, and the pipeline is not installed.
    """
    spans = without_overlaps(_spans(text, config, language))
    if not spans:
        return text, Counter()
    pieces, at = [], 0
    for span in spans:
        pieces += [text[at : span.start], _replacement(config, span.kind)]
        at = span.stop
    found: Counter[Kind] = Counter(span.kind for span in spans)
    return "".join([*pieces, text[at:]]), Counter({kind: found[kind] for kind in KINDS if found[kind]})


def _spans(text: str, config: PrivacyConfig, language: str) -> Iterator[Span]:
    """The surest kinds first: where two overlap, the first stays."""
    if config.email:
        yield from emails(text)
    if config.iban and _IBAN_START.search(text):
        yield from ibans(text)
    windows = list(_lines_with_numbers(text))
    if config.card:
        yield from (span for window in windows for span in cards(text, window))
    if config.national_id:
        yield from (span for window in windows for span in national_ids(text, window, config.countries))
    if config.ip:
        yield from ip_addresses(text)
    if config.phone:
        home = _HOME.get(language, ())
        yield from (span for window in windows for span in phones(text, window, home, config.countries))
    if config.names:
        from tasks.text.privacy.names import names  # spaCy's pipelines take a second to import

        yield from names(text, config.names_model)


_HOME = {
    "de": ("DE", "AT", "CH"), "fr": ("FR", "BE", "CH"), "es": ("ES", "MX", "AR"), "it": ("IT",), "nl": ("NL", "BE"),
    "pl": ("PL",), "pt": ("PT", "BR"), "zh": ("CN", "TW"), "ja": ("JP",), "ko": ("KR",), "ru": ("RU",), "tr": ("TR",),
    "sv": ("SE",), "da": ("DK",), "no": ("NO",), "nb": ("NO",), "fi": ("FI",), "cs": ("CZ",), "sk": ("SK",),
    "hu": ("HU",), "ro": ("RO",), "bg": ("BG",), "el": ("GR",), "uk": ("UA",), "hi": ("IN",), "en": ("US", "GB"),
}  # fmt: skip
"""Countries in which most texts of a language are written."""


def _lines_with_numbers(text: str) -> Iterator[Window]:
    """The lines that are worth a closer look."""
    match = _NUMBERS.search(text)
    while match:
        stop = text.find("\n", match.end())
        stop = len(text) if stop < 0 else stop
        yield text.rfind("\n", 0, match.start()) + 1, stop
        match = _NUMBERS.search(text, stop)


def _replacement(config: PrivacyConfig, kind: Kind) -> str:
    return config.replacement.replace("{KIND}", kind.upper()).replace("{kind}", kind)
