"""Answers to questions found by their words alone: the sentence that repeats the question, and in it what fits."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from tasks.classical.answers import of_spans
from tasks.classical.job import Answer, Candidate, Job, Rival, best
from tasks.classical.words import is_word, word_spans, words
from tasks.text.language import identify_all
from tasks.text.sentences import sentence_starts

LONGEST = (4, 8, 16)
NEIGHBOURS = (0.0, 0.3)
_THRESHOLDS = 12
_COMMON_SHARE = 0.1
"""Words in more than this share of the training contexts tell nothing and begin or end no answer."""
_FITTING = 2.0
_KINDS = {
    "number": re.compile(
        r"\bhow (?:many|much|long|old|far|tall|high|large|big|often)\b|\bwhat (?:number|percentage)\b"
        r"|几|多少|多大|多长"
    ),
    "date": re.compile(
        r"\bwhen\b|\b(?:what|which) (?:\w+ )?(?:year|date|day|month|century|decade)\b"
        r"|何时|什么时候|哪年|哪一年|哪天"
    ),
    "name": re.compile(
        r"\b(?:who|whom|whose|where)\b"
        r"|\b(?:what|which) (?:\w+ )?(?:name|person|country|city|town|state|team|company)\b"
    ),
}
_MONTH = re.compile(
    r"(?:jan|febr)uary|march|april|may|june|july|august|(?:sept|nov|dec)ember|october|[年月日]", re.IGNORECASE
)


class Span(NamedTuple):
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Passage:
    """A context, cut into sentences of tokens once for all its questions."""

    text: str
    starts: tuple[int, ...]

    @cached_property
    def sentences(self) -> list[list[tuple[int, int]]]:
        """Character offsets of each sentence's tokens; no sentence is empty."""
        found: list[list[tuple[int, int]]] = [[] for _ in self.starts]
        place = 0
        for start, end in word_spans(self.text):
            while place + 1 < len(self.starts) and self.starts[place + 1] <= start:
                place += 1
            found[place].append((start, end))
        return [sentence for sentence in found if sentence]

    @cached_property
    def words(self) -> list[list[str]]:
        """The same tokens in lower case."""
        return [[self.text[start:end].lower() for start, end in sentence] for sentence in self.sentences]


def first_sentence(job: Job) -> Rival:
    """The first sentence, to every question; or no answer to any, where that is right more often."""
    passages = _passages(job)

    def answer(table: pa.Table, some: bool) -> pa.Table:
        texts = [_first_of(passages(context)) if some else "" for context in table["context"].to_pylist()]
        return of_spans(table, texts, [1.0] * len(texts))

    choices = (True, False) if may_be_unanswerable(job) else (True,)
    return best(job, [Candidate({"answers": c}, lambda c=c: lambda table: answer(table, c)) for c in choices])  # type: ignore[misc]


def lexical(job: Job) -> Rival:
    """The sentence that has most of the question's words, each as much as it is rare, and the span in it that fits.

    What fits: for how many, numbers; for when, dates; for who and where, runs of capitalised words; else any run of
    words that the question does not have; of those that fit, the one nearest to the question's words. A question whose
    best sentence has less of its words than a threshold has no answer; the threshold, the longest span and how much
    neighbouring sentences count are chosen on the validation side.
    """
    passages, weights, common = _passages(job), *_weights(job)
    raw: dict[tuple[int, int, float], tuple[pa.Table, list[Span]]] = {}

    def spans(table: pa.Table, longest: int, neighbours: float) -> list[Span]:
        key = id(table), longest, neighbours
        if key not in raw:
            rows = zip(table["question"].to_pylist(), table["context"].to_pylist(), strict=True)
            raw[key] = table, [_answer(q, passages(c), weights, common, longest, neighbours) for q, c in rows]
        return raw[key][1]

    def fit(longest: int, neighbours: float, threshold: float) -> Answer:
        def answer(table: pa.Table) -> pa.Table:
            found = spans(table, longest, neighbours)
            contexts = table["context"].to_pylist()
            given = [span.score >= threshold and span.end > span.start for span in found]
            texts = [c[s.start : s.end] if yes else "" for c, s, yes in zip(contexts, found, given, strict=True)]
            sure = [s.score if yes else 1 - s.score for s, yes in zip(found, given, strict=True)]
            return of_spans(table, texts, sure)

        return answer

    candidates = []
    for longest, neighbours in product(LONGEST, NEIGHBOURS):
        thresholds = (0.0, *np.linspace(0.05, 1.0, _THRESHOLDS)) if may_be_unanswerable(job) else (0.0,)
        for threshold in thresholds:
            settings = {"longest": longest, "neighbours": neighbours, "threshold": round(float(threshold), 3)}
            candidates.append(Candidate(settings, lambda a=(longest, neighbours, float(threshold)): fit(*a)))  # type: ignore[misc]
    return best(job, candidates, {"words_weighted": len(weights)})


def may_be_unanswerable(job: Job) -> bool:
    setting = getattr(job.task, "no_answer", "auto")
    if setting != "auto":
        return bool(setting == "yes")
    return any(not answers for answers in job.train["answers"].to_pylist())


def _answer(
    question: str, passage: Passage, weights: dict[str, float], common: frozenset[str], longest: int, neighbours: float
) -> Span:
    """The best span; its score is the share of the question, by weight, that its sentence has."""
    if not passage.sentences:
        return Span(0, 0, 0.0)
    unknown = max(weights.values(), default=1.0)
    asked = {word: weights.get(word, unknown) for word in words(question) if is_word(word)}
    total = sum(asked.values()) or 1.0
    own = [sum(asked[word] for word in set(sentence) & asked.keys()) / total for sentence in passage.words]
    # Half of the neighbours' weight each: a sentence that says "He" continues the one that names him.
    spread = [
        value + neighbours * (sum(own[max(0, i - 1) : i]) + sum(own[i + 1 : i + 2])) / 2 for i, value in enumerate(own)
    ]
    place = int(np.argmax(spread))
    start, end = _fitting(question, passage, place, asked, common, longest)
    return Span(start, end, own[place])


def _fitting(
    question: str, passage: Passage, place: int, asked: dict[str, float], common: frozenset[str], longest: int
) -> tuple[int, int]:
    """Character offsets of the span of sentence `place` that fits best; the whole sentence if it has no other words."""
    offsets, tokens = passage.sentences[place], passage.words[place]
    anchors = [(i, asked[token]) for i, token in enumerate(tokens) if token in asked and token not in common]
    kind = next((name for name, pattern in _KINDS.items() if pattern.search(question.lower())), "other")
    spans: list[tuple[float, int, int]] = []
    for start, end in _runs(tokens, asked, common, longest):
        written = passage.text[offsets[start][0] : offsets[end - 1][1]]
        fits = _FITTING * _kind_fits(kind, written, first=start == 0)
        nearness = sum(weight / (1 + min(abs(start - i), abs(end - 1 - i))) for i, weight in anchors)
        spans.append((-(fits + nearness / max(1e-9, sum(weight for _, weight in anchors))), start, end))
    if not spans:
        return offsets[0][0], offsets[min(longest, len(offsets)) - 1][1]
    _, start, end = min(spans)
    return offsets[start][0], offsets[end - 1][1]


def _runs(
    tokens: Sequence[str], asked: dict[str, float], common: frozenset[str], longest: int
) -> list[tuple[int, int]]:
    """Runs of words that are not the question's, nor begin or end with a common one, and the parts that stand alone."""
    found: list[tuple[int, int]] = []
    start = 0
    for i in range(len(tokens) + 1):
        if i < len(tokens) and tokens[i] not in asked and (is_word(tokens[i]) or tokens[i] in "-'’.%$€£"):
            continue
        run = [k for k in range(start, i) if tokens[k] not in common and is_word(tokens[k])]
        if run:
            found.append((run[0], min(run[-1] + 1, run[0] + longest)))
            pieces = np.split(np.array(run), [k for k in range(1, len(run)) if run[k] != run[k - 1] + 1])
            found += [(int(piece[0]), min(int(piece[-1]) + 1, int(piece[0]) + longest)) for piece in pieces]
            found += [(k, k + 1) for k in run if tokens[k][0].isdigit()]
        start = i + 1
    return list(dict.fromkeys(found))


def _kind_fits(kind: str, written: str, *, first: bool) -> float:
    """In [0, 1]; a capital that only begins the sentence counts half."""
    parts = [part for part in words(written, lower=False) if is_word(part)]
    numbers = sum(part[0].isdigit() for part in parts)
    match kind:
        case "number":
            return numbers / len(parts)
        case "date":
            return (
                1.0
                if re.search(r"\b\d{4}\b", written) or (numbers and _MONTH.search(written))
                else numbers / 2 / len(parts)
            )
        case "name":
            capitals = sum(part[0].isupper() for part in parts) / len(parts)
            return capitals / 2 if first and len(parts) == 1 else capitals
    return 0.5 * sum(part[0].isupper() for part in parts) / len(parts)


def _weights(job: Job) -> tuple[dict[str, float], frozenset[str]]:
    """Inverse document frequencies over the training contexts, and the words too common to tell."""
    contexts = sorted(set(job.train["context"].to_pylist()))
    counts = Counter(word for context in contexts for word in set(words(context)))
    idf = {word: math.log((1 + len(contexts)) / (1 + count)) + 0.1 for word, count in counts.items()}
    frequent = max(_COMMON_SHARE * len(contexts), 2)
    # As written: a name that many contexts have is not among them, for it is hardly ever in lower case.
    written = Counter(word for context in contexts for word in set(words(context, lower=False)) if word == word.lower())
    return idf, frozenset(word for word, count in written.items() if count > frequent and not word[0].isdigit())


def _passages(job: Job) -> Callable[[str], Passage]:
    """Each context's passage, cut once for all baselines of the job."""

    def make() -> tuple[str, dict[str, Passage]]:
        return identify_all(sorted(set(job.train["context"].to_pylist())))[0] or "xx", {}

    language, known = job.shared("passages", make)

    def passage(context: str) -> Passage:
        if context not in known:
            (starts,) = sentence_starts([context], language)
            known[context] = Passage(context, tuple(starts))
        found: Passage = known[context]
        return found

    return passage


def _first_of(passage: Passage) -> str:
    if not passage.sentences:
        return ""
    return passage.text[passage.sentences[0][0][0] : passage.sentences[0][-1][1]]
