"""Where sentences start."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

import spacy
from spacy.language import Language
from spacy.tokens import Doc

# Chinese tokens are single characters here: a full stop as in "3.5" must not end a sentence, so ASCII's are left out.
_PUNCTUATION = {"zh": ["。", "！", "？", "!", "?", "…", "；"]}


def pipeline(language: str) -> Language:
    """spaCy's rules for `language`, or its language-neutral ones where it has none; no model, no network."""
    try:
        nlp = spacy.blank(language)
    except ImportError:  # no such language, or it needs a segmenter that is not installed
        nlp = spacy.blank("xx")
    nlp.add_pipe("sentencizer", config={"punct_chars": _PUNCTUATION.get(language)})
    nlp.max_length = 10_000_000  # the limit protects parsers; a blank pipeline needs little memory
    return nlp


def sentence_starts(texts: Iterable[str], language: str) -> list[list[int]]:
    """For each text the ascending character offsets at which its sentences start; the first is 0.

    A line break ends a sentence too. Texts come normalised: no empty lines, no blanks around lines.
    """
    texts = list(texts)
    lines = list(dict.fromkeys(line for text in texts for line in text.split("\n")))  # duplicates are split once
    docs = pipeline(language).pipe(lines, batch_size=512)
    starts = {line: _starts(doc) for line, doc in zip(lines, docs, strict=True)}
    return [_joined(text, starts) for text in texts]


def _joined(text: str, starts: dict[str, list[int]]) -> list[int]:
    found: list[int] = []
    offset = 0
    for line in text.split("\n"):
        found += [offset + start for start in starts[line]]
        offset += len(line) + 1
    return found


def _starts(doc: Doc) -> list[int]:
    """Starts within a line; an opening quote, which the sentencizer leaves with the sentence before, is taken along."""
    line = doc.text
    found = {0}
    for sentence in doc.sents:
        start = sentence.start_char
        while start and _opens(line, start - 1):
            start -= 1
        found.add(start)
    return sorted(found)


def _opens(line: str, at: int) -> bool:
    if line[at] in "\"'":  # straight quotes open after a blank
        return at > 0 and line[at - 1] == " "
    return unicodedata.category(line[at]) in ("Ps", "Pi")
