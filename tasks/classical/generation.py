"""Text for text without a network: the same, its beginning, its neighbour's, and a lexicon's word for each word."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

from tasks.classical.alignment import Lexicon
from tasks.classical.answers import of_texts
from tasks.classical.job import Answer, Candidate, Job, Rival, best
from tasks.classical.words import blankless, joined, word_spans, words

LEAST_PROBABILITIES = (0.1, 0.02, 0.3)
LEAD_SHARES = (1.0, 0.75, 1.5)
_ROWS = 512


def copy(job: Job) -> Rival:
    """The input."""
    return best(job, [Candidate({}, lambda: lambda table: of_texts(table, table["text"].to_pylist()))])


def lead(job: Job) -> Rival:
    """The input's first words, as many as a target has in the median: the baseline of summarisation."""
    usual = float(np.median([len(words(text)) for text in job.train["target"].to_pylist()]))

    def fit(share: float) -> Answer:
        length = max(1, round(usual * share))
        return lambda table: of_texts(table, [_beginning(text, length) for text in table["text"].to_pylist()])

    return best(job, [Candidate({"share": s}, partial(fit, s)) for s in LEAD_SHARES], {"median_words": usual})


def nearest(job: Job) -> Rival:
    """The target of the training input that is most like the input, by the cosine of TF-IDF vectors."""

    def fit(characters: bool) -> Answer:
        find = neighbours(job, job.train["text"].to_pylist(), 1, characters=characters)
        targets = job.train["target"].to_pylist()
        return lambda table: of_texts(table, [targets[row[0]] for row in find(table["text"].to_pylist())])

    hows = {"words": False, "characters": True}
    return best(job, [Candidate({"ngrams": name}, partial(fit, how)) for name, how in hows.items()])


def lexicon(job: Job) -> Rival:
    """Word for word, in the order of the input, by IBM model 1 fitted to the training pairs.

    What the lexicon does not know is copied or left out, and a word whose best translation has a probability below the
    least is left out; both are chosen on the validation side.
    """
    sources = [words(text) for text in job.train["text"].to_pylist()]
    targets = [words(text, lower=False) for text in job.train["target"].to_pylist()]
    table = Lexicon.fit(sources, targets, max_pairs=job.config.max_aligned_words, spent=lambda: job.budget.spent)
    if table.pairs_read < len(sources):
        job.note(
            f"fitted on {table.pairs_read} of {len(sources)} pairs: max_aligned_words = {job.config.max_aligned_words}"
        )
    if table.stopped_early:
        job.note(f"{job.budget.seconds:g} s are spent: {table.iterations} iterations of EM")
    blanks = not blankless(job.train["target"].to_pylist())

    def translated(text: str, least: float, copied: bool) -> str:
        found = []
        for written in words(text, lower=False):
            word, probability = table.best.get(written.lower(), ("", 0.0))
            if word and probability >= least:
                found.append(word)
            elif copied and not word:
                found.append(written)
        return joined(found, blanks=blanks)

    def fit(least: float, copied: bool) -> Answer:
        return lambda side: of_texts(side, [translated(text, least, copied) for text in side["text"].to_pylist()])

    candidates = [
        Candidate({"least_probability": least, "copies_unknown": copied}, lambda a=(least, copied): fit(*a))  # type: ignore[misc]
        for least, copied in product(LEAST_PROBABILITIES, (True, False))
    ]
    facts = {"words": len(table.best), "iterations": table.iterations, "pairs_read": table.pairs_read}
    return best(job, candidates, facts)


def neighbours(job: Job, known: list[str], number: int, *, characters: bool) -> Callable[[list[str]], list[list[int]]]:
    """For texts, the places in `known` of the `number` most alike, the most alike first, the earlier of equals."""
    how: dict[str, Any] = {"tokenizer": words, "token_pattern": None, "lowercase": False}
    if characters:
        how = {"analyzer": "char_wb", "ngram_range": job.config.character_ngrams}
    vectorizer = TfidfVectorizer(**how, sublinear_tf=True, dtype=np.float32)
    matrix = vectorizer.fit_transform(known).T.tocsr()

    def find(texts: list[str]) -> list[list[int]]:
        found: list[list[int]] = []
        for start in range(0, len(texts), _ROWS):
            scores = (vectorizer.transform(texts[start : start + _ROWS]) @ matrix).toarray()
            found += np.argsort(-scores, axis=1, kind="stable")[:, :number].tolist()
        return found

    return find


def _beginning(text: str, length: int) -> str:
    spans = word_spans(text)
    return text[: spans[min(length, len(spans)) - 1][1]] if spans else ""
