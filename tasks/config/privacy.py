"""Personal data that must not reach a shard."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from bert_core.config import Config

Kind = Literal["email", "phone", "ip", "card", "iban", "national_id", "name"]
KINDS: tuple[Kind, ...] = ("email", "phone", "ip", "card", "iban", "national_id", "name")
Country = Literal[
    "AR", "AU", "BE", "BG", "BR", "CA", "CH", "CL", "CN", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GB", "HR", "IE",
    "IN", "IT", "KR", "LT", "LV", "MX", "NL", "NO", "PL", "PT", "RO", "SE", "SK", "TR", "TW", "US", "ZA",
]  # fmt: skip


class PrivacyConfig(Config):
    """What is replaced. Each kind has checks of its own; `tasks/text/privacy` says what each takes for what."""

    email: bool = True
    phone: bool = True
    ip: bool = Field(True, description="public IPv4 and IPv6 addresses; private ones name nobody")
    card: bool = Field(True, description="payment cards: issuer, length and Luhn's checksum")
    iban: bool = Field(True, description="country, length and checksum (ISO 13616)")
    national_id: bool = Field(True, description="of the countries below, with their checksums")
    names: bool = Field(False, description="people, by the named entities of `names_model`: slow, and never complete")
    names_model: str = Field("en_core_web_sm", min_length=1, description="spaCy pipeline: a package's name or a folder")
    countries: tuple[Country, ...] = Field(
        ("US", "GB", "DE", "FR", "ES", "IT", "NL", "PL", "BR", "CN", "IN"),
        description="whose national ids are looked for, and whose telephone numbers need no country code",
    )
    replacement: str = Field(
        "[{KIND}]", pattern=r"^[^\n]*$", description="{KIND} becomes EMAIL, {kind} email; '' takes it out"
    )
