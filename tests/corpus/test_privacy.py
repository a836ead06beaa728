"""What is personal data, and what only looks like it. The numbers are examples from standards, or made up."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from tasks.config.privacy import PrivacyConfig
from tasks.text.privacy import redact
from tasks.text.privacy.national_ids import COUNTRIES

ALL = PrivacyConfig(countries=COUNTRIES)
FOUND = [
    ("en", "Write to ann.o'neil+x@mail.example.org, please", "email"),
    ("zh", "我的邮箱：abc@qq.com可以", "email"),
    ("de", "jörg@müller.de", "email"),
    ("en", "ann (at) example (dot) org", "email"),
    ("en", "Call +1 (202) 456-1414 now", "phone"),
    ("de", "Tel.: 030 901820", "phone"),
    ("de", "aus dem Ausland 0049 30 901820", "phone"),
    ("fr", "Il faut appeler le 01 42 68 53 00 demain", "phone"),
    ("en", "Fax :(512) 442-7555", "phone"),
    ("en", "Call us: 202-456-1414", "phone"),
    ("zh", "手机：13812345678", "phone"),
    ("en", "seen from 93.184.216.34 today", "ip"),
    ("en", "dns 8.8.8.8 answers", "ip"),
    ("en", "from 2a00:1450:4001:81b::200e on", "ip"),
    ("en", "card 4111 1111 1111 1111", "card"),
    ("en", "5500005555555559", "card"),
    ("en", "amex 3782 822463 10005", "card"),
    ("en", "IBAN DE89 3704 0044 0532 0130 00 EUR", "iban"),
    ("en", "GB82WEST12345698765432", "iban"),
    ("en", "her number is 536-90-4399.", "national_id"),
    ("en", "SSN 536904399", "national_id"),
    ("en", "NI number AB123456C", "national_id"),
    ("de", "Steuer-ID 36574261809", "national_id"),
    ("fr", "2 95 10 99 126 111 93", "national_id"),
    ("es", "DNI 54362315-K, NIE X2482300W", "national_id"),
    ("it", "RCCMNL83S18D969H", "national_id"),
    ("nl", "BSN 1112.22.333", "national_id"),
    ("pl", "PESEL 44051401359", "national_id"),
    ("pt", "CPF 390.533.447-05", "national_id"),
    ("zh", "11010519491231002X", "national_id"),
    ("en", "Aadhaar 2341 2341 2346", "national_id"),
    # words without blanks between them begin and end where the number does
    ("zh", "请打电话13812345678或者", "phone"),
    ("zh", "我的身份证11010519491231002X的人", "national_id"),
    ("zh", "卡号4111111111111111请", "card"),
    ("zh", "账号DE89 3704 0044 0532 0130 00的", "iban"),
    ("zh", "服务器8.8.8.8很好", "ip"),
    ("ko", "제 번호는 +82 10-1234-5678로", "phone"),
]
CLEAN = [
    "Order 4711-2026-0815 of 2026-11-22, invoice 100234567890, item 5901234123457",
    "ISBN 978-0-306-40615-7, ISBN 0-306-40615-2, ISSN 2049-3630",
    "Linux 6.1.0.0, Chrome 110.0.5481.77, version 93.184.216.34, section 6.1.8.91. Lorenzen",
    "From 10:20:30 to 22.11.2026, 1914-1918, 2001/02/03 04:05:06",
    "Hosts 192.168.1.17, 127.0.0.1, 10.0.0.1, ::1, fe80::1, 2001:db8::1, std::vector, 00:17:42:8a:b4:05",
    "4111 1111 1111 1112 is no card, nor is 1234567890123456",
    "DE89 3704 0044 0532 0130 01 has another checksum",
    "Bytes: 88 37 03 00 00 45 85 ed 0f, mode 0644 1000 1000, 0x41111111",
    "foo@1.2.3, @handle, a @ b, $12,345,678.90, 3.14159265358979, +/- 5",
    "000-12-3456 and 666-12-3456 were never issued; 54362315-A has a wrong letter",
    "pi = 314159265, population 1,412,000,000, 20,000,000 copies",
]


@pytest.mark.parametrize(("language", "text", "kind"), FOUND)
def test_found(language: str, text: str, kind: str) -> None:
    redacted, counts = redact(text, ALL, language)
    assert set(counts) == {kind}, redacted
    assert f"[{kind.upper()}]" in redacted
    off = PrivacyConfig(countries=ALL.countries, **{kind: False})
    assert kind not in redact(text, off, language)[1]


@pytest.mark.parametrize("text", CLEAN)
@pytest.mark.parametrize("language", ["en", "de", "fr", "zh"])
def test_left_alone(language: str, text: str) -> None:
    assert redact(text, PrivacyConfig(), language) == (text, Counter())


def test_ids_are_of_the_countries_that_the_recipe_names() -> None:
    text = "PESEL 44051401359, SSN 536-90-4399"
    assert redact(text, PrivacyConfig(countries=("US",)), "en")[0] == "PESEL 44051401359, SSN [NATIONAL_ID]"
    assert redact(text, PrivacyConfig(countries=()), "en")[0] == text


def test_counts_replacement_and_lines() -> None:
    text = "a@b.org, c@d.org\n+49 30 901820\nrest"
    assert redact(text, PrivacyConfig(), "en") == (
        "[EMAIL], [EMAIL]\n[PHONE]\nrest",
        Counter({"email": 2, "phone": 1}),
    )
    assert redact(text, PrivacyConfig(replacement="<{kind}>"), "en")[0] == "<email>, <email>\n<phone>\nrest"
    assert redact(text, PrivacyConfig(replacement=""), "en")[0] == ", \n\nrest"


def test_names_by_a_model() -> None:
    text = "Yesterday Barack Obama met Angela Merkel in Berlin."
    assert redact(text, PrivacyConfig(names=True), "en") == (
        "Yesterday [NAME] met [NAME] in Berlin.",
        Counter({"name": 2}),
    )


@pytest.mark.parametrize(
    "text", ["a." * 50_000 + "@", "@" * 50_000, "1 " * 50_000, "1-" * 50_000, "a:" * 50_000, "AB12 " * 20_000]
)
def test_no_text_takes_long(text: str) -> None:
    start = time.process_time()
    redact(text, ALL, "en")
    assert time.process_time() - start < 10
