"""Tokens and their tags; other ways to mark entities become BIO."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from tasks.labelled.values import NOT_TEXT, NOT_UNICODE, Reject, label_of, list_of, optional_text

NO_TOKENS, EMPTY_TOKEN, EMPTY_TAG = "no tokens", "empty token", "empty tag"
LENGTHS = "tokens and tags differ in length"
NOT_BIO = "tag that is not BIO"
OTHER_SCHEME, NO_BEGINNING = "tags of another scheme, as BIO", "entity without B-, given one"
_BIO = re.compile(r"O|[BI]-\S.*")
_OTHER = re.compile(r"[ESULM]-\S.*")
_AS_BIO = {"S": "B", "U": "B", "E": "I", "L": "I", "M": "I"}
"""IOBES and BILOU mark the end of an entity, and those of one token."""


def looks_like_bio(tags: Sequence[str]) -> bool:
    """Whether all tags are O, B-X, I-X or the same with ends marked, and one of them is of an entity."""
    entities = [tag for tag in set(tags) if tag != "O"]
    return bool(entities) and all(_BIO.fullmatch(tag) or _OTHER.fullmatch(tag) for tag in entities)


def tokens_of(value: Any, max_characters: int) -> list[str]:
    """A list of words, or a string of words between blanks."""
    found = list_of(value)
    if found is None:
        found = optional_text(value, "tokens", max_characters).split()
    if not found:
        raise Reject(NO_TOKENS)
    if all(map(_is_plain, found)):
        optional_text(" ".join(found), "tokens", max_characters)
        return found
    for each in found:
        if each is None or not str(each).strip():
            raise Reject(EMPTY_TOKEN, repr(found)[:200])
        if not isinstance(each, str | int | float):
            raise Reject(NOT_TEXT, f"token is {type(each).__name__}: {each!r}"[:200])
        optional_text(each, "token", max_characters)
    return [str(each) for each in found]


def tags_of(value: Any, names: dict[str, str]) -> list[str]:
    """A list of tags, or a string of tags between blanks."""
    found = list_of(value)
    if found is None:
        found = [] if value is None else str(value).split()
    try:
        if all(type(each) is str for each in found):
            named = {each: label_of(each, names) for each in set(found)}
            return [named[each] for each in found]
        return [label_of(each, names) for each in found]
    except Reject as reject:
        if reject.reason == NOT_UNICODE:
            raise
        raise Reject(EMPTY_TAG if reject.reason == "empty label" else reject.reason, repr(found)[:200]) from None


def _is_plain(token: Any) -> bool:
    return type(token) is str and bool(token) and not token.isspace()


def as_bio(tags: Sequence[str]) -> tuple[list[str], list[str]]:
    """The same entities as conlleval sees them, each beginning with B-; and what was repaired.

    The original IOB begins an entity with I- where no other of its type stands before it (Tjong Kim Sang and Veenstra,
    1999), which is also what a B- that is missing looks like.
    """
    if not any(tag != "O" for tag in tags):
        return list(tags), []
    repaired, before, found = set(), "O", []
    for tag in tags:
        if _OTHER.fullmatch(tag):
            tag = f"{_AS_BIO[tag[0]]}{tag[1:]}"
            repaired.add(OTHER_SCHEME)
        elif not _BIO.fullmatch(tag):
            raise Reject(NOT_BIO, f"{tag!r}; legal are O, B-X and I-X (or set scheme = 'plain')")
        if tag[0] == "I" and before[2:] != tag[2:]:
            tag = f"B{tag[1:]}"
            repaired.add(NO_BEGINNING)
        found.append(tag)
        before = tag
    return found, sorted(repaired)
