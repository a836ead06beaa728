"""Addresses without end, recognised by their form and number.

What is a trap depends on the site and the limits alone: addresses are asked about in a fixed order (waves, sorted), and
bodies are counted after a wave, so which answer came first changes nothing.
"""

from __future__ import annotations

import re
from collections import Counter
from urllib.parse import unquote, urlsplit

from tasks.config.web import TrapLimits
from tasks.text.web.urls import origin_of

SAME_BODY = "trap: same body"
_YEAR = r"(?:1[89]|2[01])\d\d"
_MONTH = r"(?:0[1-9]|1[0-2])"
_DAY = r"(?:0[1-9]|[12]\d|3[01])"
# Two digits for month and day: /topic/2005/1 is page 1 of topic 2005. Without separators (20240501) only in parameters
# that are named as a date, since articles have such numbers too.
_DATE = re.compile(rf"(?<!\d){_YEAR}([-/_.]){_MONTH}(?:\1{_DAY})?(?!\d)|(?<!\d){_YEAR}-?W[0-5]\d(?!\d)")
_DATE_NAME = re.compile(r"(?:^|[^a-z])(?:date|day|month|year|week|yyyy|mm|dd|jahr|monat|tag|mois|jour)(?:$|[^a-z])")
_CALENDAR = re.compile(r"calend[ae]r|kalender|calendri|calendario")
_NUMBER = re.compile(r"\d+")


class Traps:
    """Counts the addresses of a crawl and says which ones go too far."""

    def __init__(self, limits: TrapLimits) -> None:
        self._limits = limits
        self._queries: Counter[str] = Counter()
        self._dates: Counter[str] = Counter()
        self._bodies: Counter[bytes] = Counter()
        self._origins: set[str] = set()

    def refusal(self, url: str) -> str:
        """Why the (normalised, new) address is left alone; "" when it is not, and then it counts."""
        limits, parts = self._limits, urlsplit(url)
        segments = [segment for segment in parts.path.split("/") if segment]
        if len(segments) > limits.path_segments:
            return "trap: deep path"
        if is_repeating(segments, limits.repeated_segments):
            return "trap: repeating path"
        if parts.query.count("&") >= limits.parameters:
            return "trap: many parameters"
        pattern = date_pattern(url)
        if pattern and self._dates[pattern] >= limits.dates_per_pattern:
            return "trap: calendar"
        page = url.partition("?")[0]
        if parts.query and self._queries[page] >= limits.queries_per_path:
            return "trap: endless parameters"
        if pattern:
            self._dates[pattern] += 1
        if parts.query:
            self._queries[page] += 1
        return ""

    def refuses_origin(self, url: str) -> bool:
        """Whether the address is on one port too many; asked before its robots.txt is fetched."""
        origin = origin_of(url)
        if origin not in self._origins and len(self._origins) >= self._limits.origins:
            return True
        self._origins.add(origin)
        return False

    def count_body(self, sha256: str) -> bool:
        """Count one more address with this body; whether that is one too many."""
        key = bytes.fromhex(sha256)[:16]
        self._bodies[key] += 1
        return self._bodies[key] > self._limits.same_body

    def is_common(self, sha256: str) -> bool:
        """Whether the waves before have used up this body: what its page links to is not followed."""
        return self._bodies[bytes.fromhex(sha256)[:16]] >= self._limits.same_body


def is_repeating(segments: list[str], times: int) -> bool:
    """Whether some run of segments comes `times` times in a row: a b a b a b is (a, b) three times."""
    for length in range(1, len(segments) // times + 1):
        for start in range(len(segments) - length * times + 1):
            if segments[start : start + length] * times == segments[start : start + length * times]:
                return True
    return False


def date_pattern(url: str) -> str:
    """The address with its dates taken out: what all pages of a calendar have in common; "" without a date."""
    parts = urlsplit(url)
    path, arguments = unquote(parts.path), [unquote(argument) for argument in parts.query.split("&")]
    if _CALENDAR.search(f"{path}?{parts.query}".lower()):
        dateless = [_NUMBER.sub("*", path), *(_NUMBER.sub("*", argument) for argument in arguments)]
    else:
        dateless = [_DATE.sub("*", path), *(_without_date(argument) for argument in arguments)]
    return "" if dateless == [path, *arguments] else f"{parts.netloc}{'&'.join(dateless)}"


def _without_date(argument: str) -> str:
    name, equals, value = argument.partition("=")
    if _DATE_NAME.search(name.lower()):
        value = _NUMBER.sub("*", value)
    return name + equals + _DATE.sub("*", value)
