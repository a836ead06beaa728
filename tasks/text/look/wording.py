"""Figures and names as a person reads them."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from tasks.text.report.wording import duration, size

__all__ = ["about", "date_time", "duration", "language", "number", "plural", "share", "short", "size"]

NAMES = (
    "ar:Arabic bg:Bulgarian bn:Bengali ca:Catalan cs:Czech da:Danish de:German el:Greek en:English es:Spanish "
    "et:Estonian eu:Basque fa:Persian fi:Finnish fr:French gl:Galician he:Hebrew hi:Hindi hr:Croatian hu:Hungarian "
    "id:Indonesian it:Italian ja:Japanese ka:Georgian ko:Korean la:Latin lt:Lithuanian lv:Latvian mk:Macedonian "
    "ml:Malayalam mr:Marathi ms:Malay nb:Norwegian nl:Dutch nn:Norwegian no:Norwegian pl:Polish pt:Portuguese "
    "ro:Romanian ru:Russian sk:Slovak sl:Slovene sq:Albanian sr:Serbian sv:Swedish ta:Tamil te:Telugu th:Thai "
    "tr:Turkish uk:Ukrainian ur:Urdu vi:Vietnamese zh:Chinese"
)
LANGUAGES: dict[str, str] = dict(re.findall(r"(\w+):(\w+)", NAMES))


def number(value: int | None) -> str:
    """With thousands separators; a dash for what is not known."""
    return "–" if value is None else f"{value:,}"


def short(value: float) -> str:
    """Three digits: 1.23 M."""
    for unit, factor in ((" G", 1e9), (" M", 1e6), (" k", 1e3)):
        if value >= factor:
            scaled = value / factor
            return f"{scaled:.{2 if scaled < 10 else 1 if scaled < 100 else 0}f}{unit}"
    return f"{value:.0f}"


def about(value: float | None) -> str:
    return "–" if value is None else f"≈ {short(value)}"


def share(value: float, of: float) -> str:
    """A share in percent, never rounded to nothing or to everything."""
    if of <= 0:
        return "–"
    percent = 100 * value / of
    if 0 < percent < 0.1:
        return "<0.1%"
    if 99.9 < percent < 100:
        return ">99.9%"
    return f"{percent:.1f}%"


def plural(value: int, one: str, many: str = "") -> str:
    """For example "1 document", "2,000 documents"."""
    return f"{value:,} {one if value == 1 else many or one + 's'}"


def language(code: str) -> str:
    name = LANGUAGES.get(code)
    return f"{name} ({code})" if name else code or "not known"


def date_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
