"""Payment cards and bank accounts: numbers with a checksum."""

from __future__ import annotations

import re
from collections.abc import Iterator

from stdnum import iban as stdnum_iban
from stdnum import luhn

from tasks.text.privacy.spans import Span, Window, not_after, not_before

# Grouped as cards print them (4-4-4-4, Amex 4-6-5), or in one piece.
_CARD = re.compile(
    not_after(r"\w.,+/-")
    + r"(?:\d{4}([ -])\d{4}\1\d{4}\1\d{1,4}(?:\1\d{1,3})?|\d{4}([ -])\d{6}\2\d{4,5}|\d{13,19})"
    + not_before(r"\w/-")
    + r"(?![.,]\d)"
)
_ISSUERS = (
    (re.compile("4"), (13, 16, 19)),  # Visa
    (re.compile("5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),  # Mastercard
    (re.compile("3[47]"), (15,)),  # American Express
    (re.compile("6011|64[4-9]|65"), (16, 19)),  # Discover
    (re.compile("35(?:2[89]|[3-8])"), (16, 19)),  # JCB
    (re.compile("30[0-5]|3[689]"), (14, 16, 19)),  # Diners Club
    (re.compile("62"), (16, 17, 18, 19)),  # UnionPay
    (re.compile("50|5[6-8]|6[37]"), (16,)),  # Maestro has other lengths too; those say too little
)
_IBAN = re.compile(
    not_after(r"\w-") + r"[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3})?" + not_before(r"\w")
)


def cards(text: str, window: Window) -> Iterator[Span]:
    """Numbers of an issuer's form (ISO/IEC 7812) and length with Luhn's checksum. One in ten numbers passes that by
    chance, so a long number that begins like a card may be one by mistake."""
    for match in _CARD.finditer(text, *window):
        digits = re.sub(r"\D", "", match[0])
        if len(set(digits)) > 1 and _is_issued(digits) and luhn.is_valid(digits):
            yield Span(*match.span(), "card")


def ibans(text: str) -> Iterator[Span]:
    """Account numbers of ISO 13616: the country's length and structure, checksum 97. Small letters are not read."""
    for match in _IBAN.finditer(text):
        found = match[0]
        while len(found) >= 15:
            if stdnum_iban.is_valid(found):
                yield Span(match.start(), match.start() + len(found), "iban")
                break
            found = re.sub(r"(?:[ -][A-Z0-9]+|[A-Z0-9])$", "", found)  # a word in capitals that follows


def _is_issued(digits: str) -> bool:
    return any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS)
