"""National ids by country: forms as written, words that go before them, and python-stdnum's checksums.

Where a form says little (nine digits, of which one in eleven passes), a word such as "BSN" has to stand shortly before.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from tasks.text.privacy.spans import Span, Window, not_after, not_before

CONTEXT_CHARACTERS = 40


@dataclass(frozen=True)
class NationalId:
    country: str
    validator: str
    """Module of stdnum."""
    pattern: str
    words: str = ""
    """One of these has to be in the 40 characters before; "" = the form is proof enough."""


_NINO = "(?!BG|GB|NK|KN|TN|NT|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z]"
_IDS = (
    NationalId("AR", "ar.dni", r"\d{1,2}\.\d{3}\.\d{3}", "dni|documento"),
    NationalId("AU", "au.tfn", r"\d{3} ?\d{3} ?\d{3}", "tfn|tax file"),
    NationalId("BE", "be.nn", r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}"),
    NationalId("BE", "be.nn", r"\d{11}", "rijksregister|registre national|national number"),
    NationalId("BG", "bg.egn", r"\d{10}", "егн|egn"),
    NationalId("BR", "br.cpf", r"\d{3}\.\d{3}\.\d{3}-\d{2}"),
    NationalId("BR", "br.cpf", r"\d{11}", "cpf"),
    NationalId("CA", "ca.sin", r"\d{3}[ -]\d{3}[ -]\d{3}|\d{9}", r"\bsin\b|social insurance|\bnas\b"),
    NationalId("CH", "ch.ssn", r"756[.]\d{4}[.]\d{4}[.]\d{2}|756\d{10}"),
    NationalId("CL", "cl.rut", r"\d{1,2}\.\d{3}\.\d{3}-[\dkK]"),
    NationalId("CN", "cn.ric", r"[1-9]\d{5}(?:18|19|20)\d{9}[\dXx]"),
    NationalId("CZ", "cz.rc", r"\d{6}/\d{3,4}"),
    NationalId("DE", "de.idnr", r"\d{2} \d{3} \d{3} \d{3}"),
    NationalId("DE", "de.idnr", r"\d{11}", "idnr|steuer-?id|identifikationsnummer|steuernummer|tax id"),
    NationalId("DK", "dk.cpr", r"\d{6}-?\d{4}", "cpr|personnummer"),
    NationalId("EE", "ee.ik", r"[1-6]\d{10}", "isikukood"),
    NationalId("ES", "es.dni", r"\d{8}-?[A-Z]|\d{2}\.\d{3}\.\d{3}-[A-Z]"),
    NationalId("ES", "es.nie", r"[XYZ]-?\d{7}-?[A-Z]"),
    NationalId("FI", "fi.hetu", r"\d{6}[-+A-FU-Y]\d{3}[0-9A-Y]"),
    NationalId("FR", "fr.nir", r"[12] ?\d{2} ?[01]\d ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}"),
    NationalId("GB", "", rf"{_NINO} \d{{2}} \d{{2}} \d{{2}} [A-D]"),
    NationalId("GB", "", rf"{_NINO} ?\d{{6}} ?[A-D]", r"national insurance|\bni\b|nino"),
    NationalId("HR", "hr.oib", r"\d{11}", "oib"),
    NationalId("IE", "ie.pps", r"\d{7}[A-W][A-IW]?", r"\bpps"),
    NationalId("IN", "in_.aadhaar", r"[2-9]\d{3} \d{4} \d{4}"),
    NationalId("IN", "in_.aadhaar", r"[2-9]\d{3}-?\d{4}-?\d{4}", "aadhaar|aadhar|uidai|आधार"),
    NationalId("IN", "in_.pan", r"[A-Z]{3}[PH][A-Z]\d{4}[A-Z]", r"\bpan\b|permanent account"),
    NationalId("IT", "it.codicefiscale", r"[A-Z]{6}[0-9LMNP-V]{2}[A-EHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]"),
    NationalId("KR", "kr.rrn", r"\d{6}-[1-8]\d{6}"),
    NationalId("LT", "lt.asmens", r"[1-6]\d{10}", "asmens"),
    NationalId("LV", "lv.pvn", r"\d{6}-?\d{5}", "personas"),
    NationalId("MX", "mx.curp", r"[A-Z]{4}\d{6}[HMX][A-Z]{5}[0-9A-Z]\d"),
    NationalId("NL", "nl.bsn", r"\d{9}|\d{4}[ .]\d{2}[ .]\d{3}", r"\bbsn\b|burgerservice|sofi-?nummer"),
    NationalId("NO", "no.fodselsnummer", r"\d{6} ?\d{5}", "fødsels|personnummer|fodsels"),
    NationalId("PL", "pl.pesel", r"\d{11}", "pesel"),
    NationalId("PT", "pt.cc", r"\d{8} ?\d ?[A-Z0-9]{2}\d"),
    NationalId("RO", "ro.cnp", r"[1-9]\d{12}", r"\bcnp\b|cod numeric"),
    NationalId("SE", "se.personnummer", r"(?:19|20)?\d{6}[-+]\d{4}"),
    NationalId("SK", "sk.rc", r"\d{6}/\d{3,4}"),
    NationalId("TR", "tr.tckimlik", r"[1-9]\d{10}", "kimlik|t\\.?c\\.? ?no"),
    NationalId("TW", "", r"[A-Z][12]\d{8}", "身[份分]證|national id"),
    NationalId("US", "us.ssn", r"\d{3}-\d{2}-\d{4}"),
    NationalId("US", "us.ssn", r"\d{3} ?\d{2} ?\d{4}", r"\bssn\b|social security"),
    NationalId("US", "us.itin", r"9\d{2}-\d{2}-\d{4}"),
    NationalId("ZA", "za.idnr", r"\d{13}", r"\bid\b|identity"),
)
COUNTRIES = tuple(sorted({each.country for each in _IDS}))


def national_ids(text: str, window: Window, countries: Sequence[str]) -> Iterator[Span]:
    """Ids of these countries (ISO 3166 codes), whatever the text's language."""
    for each, pattern, words in _ids(tuple(countries)):
        for match in pattern.finditer(text, *window):
            before = text[max(0, match.start() - CONTEXT_CHARACTERS) : match.start()]
            if (words is None or words.search(before)) and _is_valid(each, match[0]):
                yield Span(*match.span(), "national_id")


def _is_valid(each: NationalId, found: str) -> bool:
    return not each.validator or bool(_validator(each.validator).is_valid(found))


@cache
def _ids(countries: tuple[str, ...]) -> list[tuple[NationalId, re.Pattern[str], re.Pattern[str] | None]]:
    return [
        (
            each,
            re.compile(not_after(r"\w.,/+-") + f"(?:{each.pattern})" + not_before(r"\w/-") + r"(?![.,]\d)"),
            _words(each.words),
        )
        for each in _IDS
        if each.country in countries
    ]


def _words(words: str) -> re.Pattern[str] | None:
    return re.compile(words, re.IGNORECASE) if words else None


@cache
def _validator(name: str) -> Any:
    return importlib.import_module(f"stdnum.{name}")
