"""English contractions written out, and the other way round, where there is no doubt."""

from __future__ import annotations

import re

from bert_core.casing import match_case

_VERBS = "is are was were do does did has have had would could should must might need"
_PAIRS = {
    **{f"{verb} not": f"{verb}n't" for verb in _VERBS.split()},
    "will not": "won't",
    "can not": "can't",
    "cannot": "can't",
    "i am": "i'm",
    **{f"{one} are": f"{one}'re" for one in ("you", "we", "they")},
    **{f"{one} is": f"{one}'s" for one in ("he", "she", "it", "that", "there", "here", "what", "who")},
    **{f"{one} have": f"{one}'ve" for one in ("i", "you", "we", "they")},
    **{f"{one} will": f"{one}'ll" for one in ("i", "you", "he", "she", "it", "we", "they")},
}
_EXPANDED = {short: long for long, short in _PAIRS.items() if long != "can not"} | {"let's": "let us"}
_PARTICIPLES = (
    "been got had become made gone come done seen taken cut put set hit let read shot lost found won left met kept "
    "held told given written"
)
_HAS = re.compile(rf"\s+(?:(?:always|never|just)\s+)?(?:{_PARTICIPLES.replace(' ', '|')}|\w+ed)\b", re.IGNORECASE)
"""Before these, 's is "has", or may be."""
_SHORT = re.compile(r"\b(" + "|".join(sorted(map(re.escape, _EXPANDED), key=len, reverse=True)) + r")(?![\w'])", re.I)
_LONG = re.compile(
    r"(?<!than )(?<!as )\b("
    + "|".join(sorted(_PAIRS, key=len, reverse=True)).replace(" ", r"\s+")
    + r")(?=\s+[^\W\d_])(?!['’])",
    re.IGNORECASE,
)
"""Only before another word: "what it is." has no contraction, nor has "than it is today"."""


def expanded(text: str) -> str:
    """With "do not" for "don't"; 's only where it is "is", and "he'd" never, which may be "had" or "would"."""
    straight = text.replace("’", "'")

    def written_out(found: re.Match[str]) -> str:
        short = found.group()
        if short.lower().endswith("'s") and short.lower() != "let's" and _HAS.match(straight, found.end()):
            return text[found.start() : found.end()]
        return _like(_EXPANDED[short.lower()], short)

    parts, end = [], 0
    for found in _SHORT.finditer(straight):  # whose places are those of `text`
        parts += [text[end : found.start()], written_out(found)]
        end = found.end()
    return "".join([*parts, text[end:]])


def contracted(text: str) -> str:
    """With "don't" for "do not", where another word follows; a capital at its start stays."""
    return _LONG.sub(_contraction, text)


def _contraction(found: re.Match[str]) -> str:
    words = found.group()
    second = words.split()[-1]
    is_title = second[0].isupper() and not words.isupper()  # "Who Is Cletis Tout?"
    return words if is_title and len(words.split()) > 1 else _like(_PAIRS[" ".join(words.lower().split())], words)


def _like(words: str, model: str) -> str:
    if words.startswith(("i ", "i'")):
        words = "I" + words[1:]
    letters = [c for c in model if c.isalpha()]
    all_capitals = len(letters) > 2 and all(map(str.isupper, letters))
    return words.upper() if all_capitals else match_case(words, model[0] + model[1:].lower())
