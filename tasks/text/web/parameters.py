"""Session ids and tracking parameters: parts of an address that name a visit, not a page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from urllib.parse import unquote_plus, urlsplit, urlunsplit

SESSION_NAMES = frozenset(
    ("phpsessid", "jsessionid", "sessionid", "session_id", "sessid", "cfid", "cftoken", "oscsid", "xtcsid", "zenid")
)
"""Query parameters of PHP, Java, ColdFusion and shop systems that hold nothing but a session id."""
TOKEN_NAMES = frozenset(("sid", "session", "sess", "s"))
"""Names that also have honest uses (`?sid=12` is a story): gone only where the value looks like a token."""
_ASP_SESSION = re.compile(r"aspsessionid[a-z]*")
_TOKEN = re.compile(r"(?=.*\d)(?=.*[a-z])[0-9a-z]{20,}", re.IGNORECASE)
_PATH_PARAMETER = re.compile(r";(?:jsessionid|phpsessid|sessionid|sid)(?:=[^/;]*)?", re.IGNORECASE)
_ASP_PATH = re.compile(r"/\((?:[A-Z]\([0-9a-z_-]{16,}\))+\)(?=/|$)", re.IGNORECASE)  # ASP.NET, cookieless: /(S(…))/


def is_session(name: str, value: str) -> bool:
    """Whether a query parameter holds a session id."""
    name = name.lower()
    if name in SESSION_NAMES or _ASP_SESSION.fullmatch(name):
        return True
    return name in TOKEN_NAMES and _TOKEN.fullmatch(value) is not None


def without_visits(url: str, tracking: Sequence[str]) -> str:
    """A normalised URL without session ids in path and query, and without the query parameters of `tracking`.

    Args:
        tracking: names in lower case; `*` stands for any characters.
    """
    if "?" not in url and ";" not in url and "/(" not in url:
        return url
    parts = urlsplit(url)
    path = _ASP_PATH.sub("", _PATH_PARAMETER.sub("", parts.path)) or "/"
    kept = [argument for argument in parts.query.split("&") if argument and not _names_a_visit(argument, tracking)]
    return urlunsplit((parts.scheme, parts.netloc, path, "&".join(kept), ""))


def _names_a_visit(argument: str, tracking: Sequence[str]) -> bool:
    name, _, value = argument.partition("=")
    name = unquote_plus(name)
    return is_session(name, value) or any(fnmatchcase(name.lower(), pattern) for pattern in tracking)
