"""Telephone numbers, as libphonenumber knows them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import phonenumbers
from phonenumbers import Leniency, PhoneNumberMatcher
from stdnum import isbn, issn

from tasks.text.privacy.spans import Span, Window, not_after, not_before

# What may be a number: 7 to 17 digits, not inside a word, a decimal or a path, between them one or two separators.
_CANDIDATE = re.compile(
    not_after(r"\w.,/#$€£=_~-")
    + r"(?<!\d[ :])(?:\+ ?|00)?\(?\+?\d{1,5}\)?(?:(?: ?[-./–(] ?|\) ?| )?\(?\d{1,5}\)?){1,7}"
    + not_before(r"\w_/=~%-")
    + r"(?![.,:]\d)"
)
_CONTEXT = re.compile(
    r"(?:\b(?:tel|telef\w*|téléph\w*|tél|phone|telephone|mobile|mobil|cell|fax|call|ring|whatsapp|handy|móvil|portable|"
    r"cellulare|komórka|hotline|contact)\b"
    r"|тел|факс|电话|電話|手机|手機|传真|फ़ोन|फोन|전화|هاتف|☎|📞)[ .:：()（）#/\w]{0,12}\Z",
    re.IGNORECASE,
)
_DATE = re.compile(
    r"(?:19|20)\d\d[-./ ](?:0?[1-9]|1[0-2])[-./ ](?:[0-2]?\d|3[01])"
    r"|(?:[0-2]?\d|3[01])[-./ ](?:[0-2]?\d|3[01])[-./ ](?:19|20)\d\d"
)
_YEARS = re.compile(r"^(?:1[5-9]|20)\d\d ?[-–/] ?(?:1[5-9]|20)\d\d$")
_DIALLED_ABROAD = re.compile("00[1-9]")
_ISSN = re.compile(r"\d{4}-\d{4}$")
_PARTS = re.compile(r"\d+")
MIN_DIGITS, MAX_DIGITS = 7, 17


def phones(text: str, window: Window, home: Sequence[str], countries: Sequence[str]) -> Iterator[Span]:
    """Valid numbers: with a country code anywhere; without one, by the plans of `countries` and `home` when a word such
    as "Tel." goes before, and by those of `home`, where the text's language is at home, when the digits are grouped as
    that country groups them. Bare digits without either are none, and neither are dates, ISBNs and ISSNs."""
    for match in _CANDIDATE.finditer(text, *window):
        found = match[0].rstrip(" (-./–")
        digits = sum(map(len, _PARTS.findall(found)))
        if not MIN_DIGITS <= digits <= MAX_DIGITS or _is_other(found):
            continue
        if _is_phone(text, match.start(), found, home, countries):
            yield Span(match.start(), match.start() + len(found), "phone")


def _is_other(found: str) -> bool:
    if _DATE.search(found) or _YEARS.search(found):
        return True
    digits = sum(map(len, _PARTS.findall(found)))  # stdnum takes 9 digits, too, for the number of an old book
    return (digits in (10, 13) and isbn.is_valid(found)) or (_ISSN.match(found) is not None and issn.is_valid(found))


def _is_phone(text: str, start: int, found: str, home: Sequence[str], countries: Sequence[str]) -> bool:
    if found.startswith(("+", "(+")) or _DIALLED_ABROAD.match(found):
        return _is_valid("+" + re.sub(r"\(0\)|\D", "", found).lstrip("0"), None)
    if _CONTEXT.search(text, max(0, start - 30), start):
        return any(_is_valid(found, country) for country in (*home, *countries))
    parts = _PARTS.findall(found)
    if (len(parts) < 3 and not found.startswith("(")) or len(set("".join(parts))) < 4:
        return False  # two groups of digits, or a few digits again and again, are more often something else
    return any(_is_grouped(found, country) for country in home)


def _is_valid(number: str, country: str | None) -> bool:
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(number, country))
    except phonenumbers.NumberParseException:
        return False


def _is_grouped(found: str, country: str) -> bool:
    """Whether the country writes the number in these groups, with its trunk prefix where it has one."""
    return any(
        match.start == 0 and match.end == len(found)
        for match in PhoneNumberMatcher(found, country, leniency=Leniency.EXACT_GROUPING)
    )
