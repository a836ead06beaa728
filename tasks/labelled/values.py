"""Values as files have them, to values as models need them; or the reason why that is not possible."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import orjson

from tasks.labelled.formats import NoClass

TOO_LONG = "text too long"
NOT_TEXT = "not text"
NOT_UNICODE = "not valid Unicode"
EMPTY_LABEL = "empty label"
NO_SUCH_CLASS = "class index outside of the classes"
NOT_A_LABEL = "label is neither text nor number"
NOT_A_NUMBER = "label is no number"
NAN_TARGET = "NaN target"
NOT_BINARY = "label column is neither 0 nor 1"

TRUE, FALSE = {"1", "true", "yes"}, {"0", "false", "no", ""}


class Reject(Exception):
    """An example that cannot be used."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def text_of(value: Any, name: str, max_characters: int) -> str:
    """The text as it is in the file; numbers as they are written."""
    found = optional_text(value, name, max_characters)
    if not found.strip():
        raise Reject(f"empty {name}", "" if value is None else repr(value)[:40])
    return found


def optional_text(value: Any, name: str, max_characters: int) -> str:
    """The same, where there may be none: "" for null and NaN."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bool | int | float):
        value = str(value)
    if not isinstance(value, str):
        raise Reject(NOT_TEXT, f"{name} is {type(value).__name__}: {value!r}"[:200])
    if len(value) > max_characters:
        raise Reject(TOO_LONG, f"{name} has {len(value):,} characters; max_characters is {max_characters:,}")
    if not value.isascii() and not _is_unicode(value):
        raise Reject(NOT_UNICODE, f"{name} holds half of a surrogate pair")
    return value


def label_of(value: Any, names: dict[str, str]) -> str:
    """A class's name: text stripped, whole numbers without a fraction, true and false."""
    if isinstance(value, NoClass):
        raise Reject(NO_SUCH_CLASS, f"{value.index}; there are {value.classes} classes, from 0")
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise Reject(EMPTY_LABEL, "" if value is None else "NaN")
    if isinstance(value, bool):
        value = str(value).lower()
    elif isinstance(value, float) and value.is_integer():
        value = str(int(value))
    elif isinstance(value, int | float):
        value = str(value)
    if not isinstance(value, str):
        raise Reject(NOT_A_LABEL, f"{type(value).__name__}: {value!r}"[:200])
    if not (label := value.strip()):
        raise Reject(EMPTY_LABEL, repr(value))
    if not _is_unicode(label):
        raise Reject(NOT_UNICODE, "label holds half of a surrogate pair")
    return names.get(label, label)


def labels_of(value: Any, separator: str, names: dict[str, str]) -> list[str]:
    """Any number of labels, each once, in order; a string is cut at the separator, and an empty one has none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        raise Reject(EMPTY_LABEL, "null; no label at all is an empty list, or empty text")
    if isinstance(value, str):
        value = [part for part in value.split(separator) if part.strip()]
    elif not isinstance(value, list):
        value = [value]
    return list(dict.fromkeys(label_of(each, names) for each in value))


def marked_labels(values: dict[str, Any], columns: Sequence[str], names: dict[str, str]) -> list[str]:
    """The names of the columns that hold a 1."""
    found = []
    for column in columns:
        written = str(values.get(column)).strip().lower().removesuffix(".0")
        if written in TRUE:
            found.append(names.get(column, column))
        elif written not in FALSE:
            raise Reject(NOT_BINARY, f"{column} = {values.get(column)!r}")
    return found


def number_of(value: Any) -> float:
    """A finite number."""
    if value is None or (isinstance(value, str) and not value.strip()):
        raise Reject(EMPTY_LABEL, repr(value))
    try:
        found = float(value)
    except (TypeError, ValueError):
        raise Reject(NOT_A_NUMBER, repr(value)[:80]) from None
    if not math.isfinite(found):
        raise Reject(NAN_TARGET, repr(value))
    return found


def list_of(value: Any) -> list[Any] | None:
    """A list, a JSON list in a string, or None."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            return None
    return value if isinstance(value, list) else None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
