"""The case of a word, kept where another word takes its place."""

from __future__ import annotations


def match_case(word: str, like: str) -> str:
    """`word` in capitals if `like` is (and has two letters or more), capitalised if `like` is; otherwise as it is.

    Scripts without case come back unchanged.
    """
    if like.isupper() and sum(map(str.isalpha, like)) > 1:
        return word.upper()
    return capitalised(word) if like[:1].isupper() else word


def capitalised(word: str) -> str:
    """The first letter in upper case, the others as they are (`str.capitalize` would make "mcDonald" "Mcdonald")."""
    return word[:1].upper() + word[1:]
