"""Interpolated Kneser-Ney n-gram models, of words or of characters, that give every text a probability.

Characters never seen share a probability evenly with all of Unicode; words never seen are spelled by a model of
characters. So the probabilities of all texts sum to 1 (to at most 1 where a text could be cut into words otherwise),
and models of different units, ours among them, can be set beside each other by the likelihood of the same text.
"""

from __future__ import annotations

import math
import random
import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Protocol

START, END, BREAK = "\ue000start", "\ue000end", "\ue000break"
"""Before a text, after it, and between a prompt and its target."""
NUM_CODES = 0x110000
_PIECE = re.compile(r"\s*\w+|\s*[^\w\s]|\s+")
_SPELLING_ORDER = 4
_MAX_SPELLING = 60
_LEAST = 1e-300  # a "word" of hundreds of characters: its logarithm must stay finite

Contexts = dict[tuple[str, ...], Counter[str]]


class Base(Protocol):
    """What an n-gram model falls back on."""

    def probability(self, token: str) -> float: ...

    def draw(self, rng: random.Random) -> str: ...


class EvenCharacters:
    """Every code point of Unicode as probable as any other."""

    def probability(self, token: str) -> float:
        return 0.0 if token in (END, BREAK) else 1 / NUM_CODES

    def draw(self, rng: random.Random) -> str:
        return chr(rng.randrange(0x20, 0x7F))  # drawn evenly, hardly any would be a letter


class Spelling:
    """Words as sequences of characters, learnt from the different words that there are."""

    def __init__(self, vocabulary: Iterable[str]) -> None:
        self._letters = KneserNey([list(word) for word in vocabulary], _SPELLING_ORDER, EvenCharacters())
        self._known: dict[str, float] = {END: 0.0, BREAK: 0.0}

    def probability(self, token: str) -> float:
        if token not in self._known:
            self._known[token] = max(_LEAST, math.exp(self._letters.log_probability([], [*token, END])))
        return self._known[token]

    def draw(self, rng: random.Random) -> str:
        return "".join(self._letters.sample([], _MAX_SPELLING, rng))


class KneserNey:
    """Interpolated Kneser-Ney with one absolute discount for each order (Chen and Goodman, 1999)."""

    def __init__(self, texts: Iterable[Sequence[str]], order: int, base: Base) -> None:
        """Counts n-grams up to `order`, 1 or more, of `texts` and of their ends."""
        self.order, self._base = order, base
        highest: Counter[tuple[str, ...]] = Counter()
        for text in texts:
            row = [*[START] * (order - 1), *text, END]
            highest.update(zip(*(row[i:] for i in range(order)), strict=False))
        self._tables: list[Contexts] = []
        self._discounts: list[float] = []
        self._totals: list[dict[tuple[str, ...], int]] = []
        self._sums: dict[tuple[str, ...], tuple[list[str], list[float]]] = {}
        counts = highest
        for _ in range(order):
            self._keep(counts)
            # Lower orders count in how many contexts a token is new, not how often it occurs.
            counts = Counter(gram[1:] for gram in counts)
        self._tables.reverse()
        self._discounts.reverse()
        self._totals.reverse()

    def _keep(self, counts: Counter[tuple[str, ...]]) -> None:
        table: Contexts = {}
        for gram, count in counts.items():
            table.setdefault(gram[:-1], Counter())[gram[-1]] = count
        once = sum(count == 1 for count in counts.values())
        twice = sum(count == 2 for count in counts.values())
        self._tables.append(table)
        self._totals.append({context: found.total() for context, found in table.items()})
        self._discounts.append(once / (once + 2 * twice) if once and twice else 0.5)

    def probability(self, context: Sequence[str], token: str) -> float:
        """Of `token` after `context`, of which the last order - 1 tokens count; sums to 1 if the base's does."""
        value = self._base.probability(token)
        for before in self._known(context):
            found, size = self._tables[len(before)][before], len(before)
            total, discount = self._totals[size][before], self._discounts[size]
            value = max(found[token] - discount, 0) / total + discount * len(found) / total * value
        return value

    def log_probability(self, context: Sequence[str], tokens: Sequence[str]) -> float:
        """Natural logarithm of the probability that `tokens` follow `context`, one after the other."""
        row = [*[START] * (self.order - 1), *context]
        total = 0.0
        for token in tokens:
            total += math.log(self.probability(row, token))
            row = [*row[len(row) - self.order + 1 :], token]
        return total

    def sample(self, context: Sequence[str], max_tokens: int, rng: random.Random, *, greedy: bool = False) -> list[str]:
        """Tokens drawn one after the other, at most `max_tokens` and up to the text's end, which is left out.

        greedy: the most frequent token after the longest known context instead.
        """
        row, found = [*[START] * (self.order - 1), *context], list[str]()
        for _ in range(max_tokens):
            token = self._most_frequent(row) if greedy else self._draw(row, rng)
            if token == END:
                break
            found.append(token)
            row.append(token)
        return [token for token in found if token != BREAK]

    def _draw(self, context: Sequence[str], rng: random.Random) -> str:
        """From the mixture that `probability` is: of the longest context, or else of the next shorter one."""
        for before in reversed(self._known(context)):
            if before not in self._sums:
                counts, discount = self._tables[len(before)][before], self._discounts[len(before)]
                self._sums[before] = list(counts), list(accumulate(count - discount for count in counts.values()))
            tokens, sums = self._sums[before]
            place = bisect_right(sums, rng.random() * self._totals[len(before)][before])
            if place < len(tokens):
                return tokens[place]
        return self._base.draw(rng)

    def _most_frequent(self, context: Sequence[str]) -> str:
        before = self._known(context)[-1]
        counts = self._tables[len(before)][before]
        return min(counts, key=lambda token: (-counts[token], token))

    def _known(self, context: Sequence[str]) -> list[tuple[str, ...]]:
        """The ends of `context`, from none to order - 1 tokens, up to the last that was seen."""
        found: list[tuple[str, ...]] = []
        for size in range(self.order):
            before = tuple(context[len(context) - size :])
            if len(before) != size or before not in self._tables[size]:
                break
            found.append(before)
        return found


def pieces(text: str) -> list[str]:
    """`text` cut into words and marks, each with the blanks before it; joined, they are the text again."""
    return _PIECE.findall(text)
