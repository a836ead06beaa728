"""Tokenize columns of texts: the tokens of `Tokenizer.encode_batch`, for a small part of its time.

Text is cut where cutting changes nothing (`cuts`), equal pieces are found by Arrow's hash table, each new one is
tokenized once by the tokenizer itself and remembered, and ids are gathered by numpy. No token is made by another rule
than the tokenizer's own.

D texts, M tokens of all of them, S sentences, P pieces of a window.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tokenizers
from numpy.typing import NDArray

from bert_core.tokenizer.base import Tokenizer
from bert_core.tokenizer.cuts import AT_BLANKS, BLANK, CLASSES, Cuts, cuts_of

WINDOW_BYTES = 1 << 22
"""Of text at a time: larger ones have more repetition, smaller ones fit the processor's cache."""
MAX_PIECE = 1 << 18
"""A longer piece (no blank in 262,144 bytes) is cut here all the same: the library needs 100 times its size."""
REMEMBERED = 64
"""Characters of a piece; longer pieces hardly come twice."""
MAX_REMEMBERED = 1 << 17
"""Pieces; then all is forgotten and begun again. A quarter of them took 13 MB less of 251, and 7% to 11% more time."""
JOINED = 256
"""Short pieces that are tokenized in one call."""
BLANK_RUN = 1000
"""Blanks before a sentence that are looked at."""


_Tokens = tuple[NDArray[np.int32], NDArray[np.bool_], NDArray[np.int64]]
"""Ids and word starts of texts, one after the other, and how many each has."""


@dataclass(frozen=True)
class TokenArrays:
    """D texts as M tokens, one text after the other, without special tokens."""

    ids: NDArray[np.int32]
    """(M,)"""
    word_starts: NDArray[np.bool_]
    """(M,)"""
    counts: NDArray[np.int64]
    """(D,): tokens of each text."""
    sentence_starts: NDArray[np.int32]
    """(S,): token offsets inside the text, ascending, the first of a text with tokens 0."""
    sentence_counts: NDArray[np.int64]
    """(D,)"""


class BulkEncoder:
    """Remembers the pieces that it has seen; what it returns never depends on that."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._cuts = cuts_of(tokenizer)
        self._memory = _Memory(tokenizer, self._cuts)

    def encode(
        self, texts: pa.StringArray, sentences: NDArray[np.int32], sentence_counts: NDArray[np.int64]
    ) -> TokenArrays:
        """Tokens of D texts, and where their sentences start.

        A sentence starts at the first token at or after its first character, or after the blanks that precede it.
        Sentences without a token (blanks, characters that the normaliser removes) disappear.

        Args:
            texts: without nulls.
            sentences: character offsets, ascending inside a text, of all texts one after the other.
            sentence_counts: (D,): how many of them each text has.
        """
        data, bounds = _bytes(texts)
        wanted, owner = _sentence_bytes(texts, sentences, sentence_counts)
        windows, at_text, total = [], [], 0
        for pieces in _windows(data, bounds, self._cuts):
            window = self._memory.encode(texts, pieces, _between(wanted, pieces))
            at_text.append(total + window.before[np.searchsorted(pieces, _between(bounds, pieces))])
            windows.append(replace(window, at=total + window.at))
            total += len(window.ids)
        first = np.full(len(bounds), total, dtype=np.int64)
        known = _concatenated(at_text, np.int64)
        first[: len(known)] = known
        starts, counts = _sentence_starts(_concatenated([each.at for each in windows], np.int64), owner, first)
        return TokenArrays(
            ids=_concatenated([each.ids for each in windows], np.int32),
            word_starts=_concatenated([each.word_starts for each in windows], np.bool_),
            counts=np.diff(first),
            sentence_starts=starts,
            sentence_counts=counts,
        )


@dataclass(frozen=True)
class _Window:
    ids: NDArray[np.int32]
    word_starts: NDArray[np.bool_]
    before: NDArray[np.int64]
    """(P + 1,): tokens before each bound of the pieces."""
    at: NDArray[np.int64]
    """Tokens before each of the positions that were asked for."""


class _Memory:
    """Pieces by their text, and their tokens in one pool."""

    def __init__(self, tokenizer: Tokenizer, cuts: Cuts) -> None:
        self._backend = tokenizer.backend
        self._joinable = cuts in AT_BLANKS
        self._known: dict[str, int] = {}
        self._first: NDArray[np.int64] = np.zeros(0, np.int64)
        self._count: NDArray[np.int64] = np.zeros(0, np.int64)
        self._pool: NDArray[np.int32] = np.zeros(0, np.int32)
        """Ids, shifted left by one bit, which says whether a word starts."""

    def encode(self, texts: pa.StringArray, pieces: NDArray[np.int64], positions: NDArray[np.int64]) -> _Window:
        """Tokens of the pieces between the P + 1 bounds, and the number of tokens before each of `positions`."""
        codes, keys = _distinct(texts, pieces)
        piece = np.searchsorted(pieces, positions, side="right") - 1
        inside = np.flatnonzero(pieces[piece] != positions)
        slots, offsets = self._slots(keys, set(codes[piece[inside]].tolist()))
        first, counts = self._first[slots[codes]], self._count[slots[codes]]
        before = np.concatenate([[0], np.cumsum(counts)])
        tokens = self._pool[np.repeat(first - before[:-1], counts) + np.arange(before[-1])]
        at = before[piece]
        if len(inside):
            owner, characters = piece[inside], _characters(texts, pieces, piece[inside], positions[inside])
            for group in np.split(np.arange(len(inside)), np.flatnonzero(np.diff(owner)) + 1):
                known = offsets[int(codes[owner[group[0]]])]
                at[inside[group]] += np.searchsorted(known, characters[group])
        self._forget_long_ones()
        return _Window(tokens >> 1, (tokens & 1).astype(bool), before, at)

    def _slots(self, keys: list[str], inner: set[int]) -> tuple[NDArray[np.int64], dict[int, NDArray[np.int32]]]:
        """Where in `_first` and `_count` each key is, and the first characters of the tokens of those in `inner`."""
        slots = list(map(self._known.get, keys))
        missing = [code for code, slot in enumerate(slots) if slot is None]
        short = [code for code in missing if len(keys[code]) <= REMEMBERED]
        long = [code for code in missing if len(keys[code]) > REMEMBERED]  # last: they are forgotten soon
        for slot, code in enumerate(short + long, len(self._first)):
            slots[code] = slot
        self._known.update(zip((keys[code] for code in short), count(len(self._first)), strict=False))
        encodings = dict(zip(long, self._tokenize([keys[code] for code in long]), strict=True))
        texts = [keys[code] for code in short]
        self._store(*(self._joined(texts) if self._joinable else _flat(self._tokenize(texts))))
        self._store(*_flat(list(encodings.values())))
        again = sorted(inner.difference(long))
        encodings |= dict(zip(again, self._tokenize([keys[code] for code in again]), strict=True))
        return np.array(slots, dtype=np.int64), {code: _first_characters(encodings[code]) for code in inner}

    def _tokenize(self, texts: list[str]) -> list[tokenizers.Encoding]:
        return self._backend.encode_batch(texts, add_special_tokens=False) if texts else []

    def _joined(self, texts: list[str]) -> _Tokens:
        """Tokens of short texts, many in one call, a line break between them: that takes a third of the time."""
        groups = [texts[start : start + JOINED] for start in range(0, len(texts), JOINED)]
        encoded = self._tokenize(["\n".join(group) for group in groups])
        ids, words, _ = _flat(encoded)
        counts = []
        for group, each in zip(groups, encoded, strict=True):
            bounds = np.cumsum([len(text) + 1 for text in group])
            counts.append(np.diff(np.searchsorted(_first_characters(each), bounds), prepend=0))
        return ids, words, _concatenated(counts, np.int64)

    def _store(self, ids: NDArray[np.int32], words: NDArray[np.bool_], counts: NDArray[np.int64]) -> None:
        self._first = np.concatenate([self._first, np.cumsum(counts) - counts + len(self._pool)])
        self._count = np.concatenate([self._count, counts])
        self._pool = np.concatenate([self._pool, ids << 1 | words])

    def _forget_long_ones(self) -> None:
        """Known pieces have the first slots, in the order in which they came; what lies behind them goes."""
        if len(self._known) > MAX_REMEMBERED:
            self._known.clear()
        end = len(self._known)
        self._pool = self._pool[: int(self._first[end]) if end < len(self._first) else None]
        self._first, self._count = self._first[:end], self._count[:end]


def _flat(encoded: Sequence[tokenizers.Encoding]) -> _Tokens:
    counts = np.array([len(each) for each in encoded], dtype=np.int64)
    ids = np.fromiter(chain.from_iterable(each.ids for each in encoded), np.int32, counts.sum())
    words = np.fromiter(chain.from_iterable(each.word_ids for each in encoded), np.int32, counts.sum())
    starts = np.diff(words, prepend=-1) != 0
    starts[(np.cumsum(counts) - counts)[counts > 0]] = True
    return ids, starts, counts


def _first_characters(encoded: tokenizers.Encoding) -> NDArray[np.int32]:
    """Where each token starts in its text, in characters."""
    return np.fromiter((start for start, _ in encoded.offsets), np.int32, len(encoded))


def _distinct(texts: pa.StringArray, pieces: NDArray[np.int64]) -> tuple[NDArray[np.int32], list[str]]:
    """The number of each piece among the distinct ones, and those. No text is copied but theirs."""
    bounds = pa.py_buffer(pieces.astype(np.int32))
    found = pa.Array.from_buffers(pa.string(), len(pieces) - 1, [None, bounds, texts.buffers()[2]]).dictionary_encode()
    return found.indices.to_numpy(), found.dictionary.to_pylist()


def _bytes(texts: pa.StringArray) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """All bytes of the column's buffer, and the D + 1 bounds of the texts in it."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, dtype=np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data or b"", dtype=np.uint8), bounds.astype(np.int64)


def _windows(data: NDArray[np.uint8], bounds: NDArray[np.int64], cuts: Cuts) -> Iterator[NDArray[np.int64]]:
    """Bounds of the pieces of one stretch of text after the other; where stretches end decides nothing."""
    start, end, size = int(bounds[0]), int(bounds[-1]), WINDOW_BYTES
    while start < end:
        stop = min(start + size, end)
        cut = cuts(CLASSES[data[start:stop]])
        cut[0] = True
        cut[bounds[np.searchsorted(bounds, start) : np.searchsorted(bounds, stop)] - start] = True
        pieces = _without_long_ones(data, np.append(np.flatnonzero(cut) + start, stop))
        if stop < end:  # the last piece goes on
            pieces = pieces[:-1]
        if len(pieces) == 1:
            size *= 2
            continue
        yield pieces
        start, size = int(pieces[-1]), WINDOW_BYTES


def _without_long_ones(data: NDArray[np.uint8], pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    extra = []
    for index in np.flatnonzero(np.diff(pieces) > MAX_PIECE).tolist():
        start, stop = int(pieces[index]), int(pieces[index + 1])
        while stop - start > MAX_PIECE:
            start = _cut_by_force(data, start)
            extra.append(start)
    return np.sort(np.concatenate([pieces, np.array(extra, np.int64)])) if extra else pieces


def _cut_by_force(data: NDArray[np.uint8], start: int) -> int:
    """The last blank of the `MAX_PIECE` bytes from `start` on; where there is none, the last whole character."""
    text = data[start : start + MAX_PIECE].tobytes()
    blank = max(text.rfind(b" "), text.rfind(b"\n"))
    if blank > 0:
        return start + blank
    stop = start + MAX_PIECE
    while data[stop] & 0xC0 == 0x80:
        stop -= 1
    return stop


def _between(positions: NDArray[np.int64], pieces: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those of the ascending positions that are in the pieces."""
    low, high = np.searchsorted(positions, pieces[[0, -1]])
    return positions[low:high]


def _concatenated(arrays: Sequence[NDArray[Any]], dtype: type[np.generic]) -> NDArray[Any]:
    return np.concatenate(arrays) if arrays else np.zeros(0, dtype)


def _sentence_starts(
    at: NDArray[np.int64], text: NDArray[np.int64], first: NDArray[np.int64]
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Token offsets inside each text, and how many it has; from token numbers `at` of sentences of `text`.

    Args:
        first: (D + 1,): number of the first token of each text.
    """
    at = at[at < first[text + 1]]
    starts = np.unique(np.concatenate([first[:-1][np.diff(first) > 0], at]))
    owner = np.searchsorted(first, starts, side="right") - 1
    return (starts - first[owner]).astype(np.int32), np.bincount(owner, minlength=len(first) - 1)


def _sentence_bytes(
    texts: pa.StringArray, characters: NDArray[np.int32], counts: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Byte positions in the buffer of sentences that are inside their text, and the text of each."""
    data, bounds = _bytes(texts)
    lengths = pc.utf8_length(texts).to_numpy().astype(np.int64)
    text = np.repeat(np.arange(len(texts)), counts)
    valid = characters < lengths[text]
    text, characters = text[valid], characters[valid]
    before = np.cumsum(lengths) - lengths
    position = _byte_positions(data[bounds[0] : bounds[-1]], before[text] + characters, int(lengths.sum())) + bounds[0]
    for _ in range(BLANK_RUN):
        back = position > bounds[text]
        back[back] = CLASSES[data[position[back] - 1]] == BLANK
        if not back.any():
            break
        position[back] -= 1
    return position, text


def _byte_positions(data: NDArray[np.uint8], characters: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Byte position of each of the ascending character positions. Memory: 8 bytes for each byte of a window."""
    if total == len(data):
        return characters
    found, seen = [], 0
    for start in range(0, len(data), WINDOW_BYTES):
        starts = np.flatnonzero((data[start : start + WINDOW_BYTES] & 0xC0) != 0x80) + start
        low, high = np.searchsorted(characters, [seen, seen + len(starts)])
        found.append(starts[characters[low:high] - seen])
        seen += len(starts)
    return np.concatenate([np.zeros(0, np.int64), *found])


def _characters(
    texts: pa.StringArray, pieces: NDArray[np.int64], owner: NDArray[np.int64], positions: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Characters between the start of each position's piece and the position."""
    data = np.frombuffer(texts.buffers()[2], dtype=np.uint8)[pieces[0] : pieces[-1]]
    before = np.concatenate([[0], np.cumsum((data & 0xC0) != 0x80, dtype=np.int32)])
    found: NDArray[np.int64] = before[positions - pieces[0]] - before[pieces[owner] - pieces[0]]
    return found
