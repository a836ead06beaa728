"""Where sentences start: what spaCy's sentencizer finds, at a small part of its price.

The sentencizer needs every token of a line to find the few after which a sentence ends. But spaCy's tokenizer works on
each stretch between blanks by itself. So only the stretches with a terminal mark, and the one after each, are given to
it, each different one once; all others can neither end a sentence nor start one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import spacy
from spacy.attrs import IS_PUNCT
from spacy.language import Language
from spacy.pipeline.sentencizer import Sentencizer
from spacy.tokenizer import Tokenizer

# Chinese tokens are single characters here: a full stop as in "3.5" must not end a sentence, so ASCII's are left out.
_PUNCTUATION = {"zh": ["。", "！", "？", "!", "?", "…", "；"]}
_KNOWN_STRETCHES = 200_000
"""Of all languages together."""
_LONG_STRETCH = 400
"""Characters without a blank. spaCy's tokenizer takes off one mark after the other: 2,000 of them cost it 0.9 s."""


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
    splitter = _splitter(language)
    return [_joined(text, splitter) for text in texts]


class _Stretch(NamedTuple):
    """What a stretch between blanks does to the sentencizer, whose only memory is whether a mark was seen."""

    unmarked: tuple[int, ...]
    """Offsets at which sentences start when no mark was open before it."""
    open_after_unmarked: bool
    marked: tuple[int, ...]
    """The same when one was."""
    open_after_marked: bool


class _Splitter:
    """Finds the starts in one line."""

    def __init__(self, nlp: Language) -> None:
        self._nlp = nlp
        sentencizer = self._nlp.get_pipe("sentencizer")
        assert isinstance(sentencizer, Sentencizer)
        self._marks = frozenset(sentencizer.punct_chars)
        self._mark = _any_of(self._marks)
        self._ascii_mark = _any_of(char for char in self._marks if char.isascii())
        # All that is asked of a word; a word not seen before has twenty more attributes, at twice the price.
        vocab: Any = self._nlp.vocab
        vocab.lex_attr_getters = {IS_PUNCT: vocab.lex_attr_getters[IS_PUNCT]}
        tokenizer = self._nlp.tokenizer
        self._by_stretch = isinstance(tokenizer, Tokenizer)
        # Spanish knows "EE. UU." as one word: such an exception joins stretches.
        rules = tokenizer.rules if isinstance(tokenizer, Tokenizer) else {}
        joining = [rule for rule in rules if " " in rule.strip()]
        self._joins = _any_of(joining) if joining else None
        self._by_character = nlp.lang == "zh" and not isinstance(tokenizer, Tokenizer)
        self._known: dict[str, _Stretch] = {}

    def starts(self, line: str) -> list[int]:
        """Offsets within a line; an opening quote, which the sentencizer leaves with the sentence before, is taken
        along."""
        found = {0}
        for start in self._sentencizer_starts(line):
            while start and _opens(line, start - 1):
                start -= 1
            found.add(start)
        return sorted(found)

    def _sentencizer_starts(self, line: str) -> Iterator[int]:
        pattern = self._ascii_mark if line.isascii() else self._mark
        first = pattern.search(line)
        if first is None or first.end() == len(line):  # nothing stands behind the first mark
            return
        if self._by_character:
            yield from self._character_starts(line, first.start())
        elif self._by_stretch and line.isprintable() and not (self._joins and self._joins.search(line)):
            yield from self._stretch_starts(line, first.start(), pattern)
        elif max(map(len, line.split())) <= _LONG_STRETCH:
            yield from (sentence.start_char for sentence in self._nlp(line).sents)
        else:
            yield from _run(self._characters(line), False)[0]

    def _stretch_starts(self, line: str, at: int, pattern: re.Pattern[str]) -> Iterator[int]:
        """From the stretch that holds the first mark, at `at`, to the end. The line's only blanks are " "."""
        is_open, length = False, len(line)
        while at < length:
            start = line.rfind(" ", 0, at) + 1
            stop = line.find(" ", at)
            stop = length if stop < 0 else stop
            stretch = self._stretch(line[start:stop])
            for offset in stretch.marked if is_open else stretch.unmarked:
                yield start + offset
            is_open = stretch.open_after_marked if is_open else stretch.open_after_unmarked
            at = stop + 1
            if not is_open:  # nothing happens before the next mark
                mark = pattern.search(line, at)
                if mark is None:
                    return
                at = mark.start()
            else:
                while at < length and line[at] == " ":
                    at += 1

    def _character_starts(self, line: str, at: int) -> Iterator[int]:
        """Where every character is a token."""
        is_open = False
        for offset in range(at, len(line)):
            char = line[offset]
            if char in self._marks:
                is_open = True
            elif is_open and char != " " and not _is_punctuation(char):
                yield offset
                is_open = False

    def _stretch(self, text: str) -> _Stretch:
        known = self._known.get(text)
        if known is None:
            if len(self._known) >= _KNOWN_STRETCHES // max(1, _splitter.cache_info().currsize):
                self._known.clear()
            known = self._known[text] = self._examined(text)
        return known

    def _examined(self, text: str) -> _Stretch:
        if text[0].isalnum() and not self._mark.search(text):  # its first token is no punctuation, whatever follows
            return _Stretch((), False, (0,), False)
        if len(text) > _LONG_STRETCH:
            tokens = self._characters(text)
        else:
            tokens = [(token.idx, token.text in self._marks, token.is_punct) for token in self._nlp.tokenizer(text)]
        return _Stretch(*_run(tokens, False), *_run(tokens, True))

    def _characters(self, text: str) -> list[tuple[int, bool, bool]]:
        """Each character as a token, in linear time. ASCII's marks count at a stretch's end: "a.b" is one address."""
        tokens, ends = [], True
        for offset in range(len(text) - 1, -1, -1):
            char = text[offset]
            if char == " ":
                ends = True
                continue
            is_punct = _is_punctuation(char)
            tokens.append((offset, char in self._marks and (ends or not char.isascii()), is_punct))
            ends = ends and is_punct
        return tokens[::-1]


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, sorted(texts))))


def _run(tokens: Sequence[tuple[int, bool, bool]], is_open: bool) -> tuple[tuple[int, ...], bool]:
    """The sentencizer's loop: a sentence starts at the first token after a mark that is no punctuation."""
    starts = []
    for offset, is_mark, is_punct in tokens:
        if is_mark:
            is_open = True
        elif is_open and not is_punct:
            starts.append(offset)
            is_open = False
    return tuple(starts), is_open


@cache
def _splitter(language: str) -> _Splitter:
    """Kept for good: French takes 5.6 s to make and 35 MB, most others 0.1 s and 1 MB, and a corpus may have all."""
    nlp = pipeline(language)
    return _splitter(nlp.lang) if nlp.lang != language else _Splitter(nlp)  # one for all that spaCy has no rules for


def _joined(text: str, splitter: _Splitter) -> list[int]:
    found: list[int] = []
    offset = 0
    for line in text.split("\n"):
        found += [offset + start for start in splitter.starts(line)] or [offset]
        offset += len(line) + 1
    return found


def _is_punctuation(char: str) -> bool:
    return unicodedata.category(char)[0] == "P"


def _opens(line: str, at: int) -> bool:
    if line[at] in "\"'":  # straight quotes open after a blank
        return at > 0 and line[at - 1] == " "
    return unicodedata.category(line[at]) in ("Ps", "Pi")
