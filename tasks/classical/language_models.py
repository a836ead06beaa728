"""N-gram models of the text that goes on, and the target of the most similar prompt."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import product

import numpy as np
import pyarrow as pa

from tasks.classical.answers import of_continuations
from tasks.classical.generation import neighbours
from tasks.classical.job import Answer, Candidate, Job, Rival, Unavailable, best
from tasks.classical.kneser_ney import BREAK, END, EvenCharacters, KneserNey, Spelling, pieces

WORD_ORDERS = (3, 2)
CHARACTER_ORDERS = (6, 4, 8)
NEIGHBOURS = (1, 5, 15)
SHARES = (0.9, 0.5, 0.1)
"""Of the probability that goes to the neighbours' targets as they are; the rest goes to all other texts."""
_CHARACTERS_PER_TOKEN = 5


def unigram(job: Job) -> Rival:
    """Words by their frequency, whatever stands before them; unknown ones are spelled."""
    return _ngrams(job, pieces, (1,), job.task.generation.max_new_tokens)  # type: ignore[union-attr]


def trigram(job: Job) -> Rival:
    """Words after the one or two before them, Kneser-Ney; unknown ones are spelled.

    Log-likelihoods are of the target and of its end, given the prompt.
    """
    return _ngrams(job, pieces, WORD_ORDERS, job.task.generation.max_new_tokens)  # type: ignore[union-attr]


def character_ngram(job: Job) -> Rival:
    """Characters after the few before them, Kneser-Ney: open to every script."""
    limit = job.task.generation.max_new_tokens * _CHARACTERS_PER_TOKEN  # type: ignore[union-attr]
    return _ngrams(job, list, CHARACTER_ORDERS, limit)


def nearest(job: Job) -> Rival:
    """The most frequent target of the training prompts that are most like the prompt, by TF-IDF.

    Its likelihood is that of a mixture: the neighbours' targets as they are, and any text by the unigram model.

    Raises:
        Unavailable: no training example has a prompt.
    """
    prompts, targets = job.train["text"].to_pylist(), job.train["target"].to_pylist()
    if not any(prompt.strip() for prompt in prompts):
        raise Unavailable("no training example has a prompt: all text is in target")
    find = neighbours(job, prompts, max(NEIGHBOURS), characters=False)
    model = _model(job, pieces, 1)
    known: dict[int, tuple[pa.Table, list[list[str]], list[float]]] = {}

    def read(table: pa.Table) -> tuple[list[list[str]], list[float]]:
        if id(table) not in known:
            found = [[targets[i] for i in row] for row in find(table["text"].to_pylist())]
            others = [model.log_probability([], [*pieces(text), END]) for text in table["target"].to_pylist()]
            known[id(table)] = table, found, others
        return known[id(table)][1:]

    def fit(number: int, share: float) -> Answer:
        def answer(table: pa.Table) -> pa.Table:
            rows = [Counter(row[:number]) for row in read(table)[0]]
            outputs = [row.most_common(1)[0][0] for row in rows]  # the nearest of equals: it was counted first
            wanted = table["target"].to_pylist()
            found = [
                np.logaddexp(
                    math.log(share * row[text] / row.total()) if row[text] else -np.inf, math.log(1 - share) + other
                )
                for row, text, other in zip(rows, wanted, read(table)[1], strict=True)
            ]
            return of_continuations(table, outputs, [float(value) for value in found], _sizes(job, wanted, pieces))

        return answer

    candidates = [
        Candidate({"neighbours": number, "share": share}, lambda a=(number, share): fit(*a))  # type: ignore[misc]
        for number, share in product(NEIGHBOURS, SHARES)
    ]
    return best(job, candidates)


def _ngrams(job: Job, cut: Callable[[str], list[str]], orders: Sequence[int], max_tokens: int) -> Rival:
    def fit(order: int) -> Answer:
        model = _model(job, cut, order)
        return lambda table: _continued(job, model, table, cut, max_tokens)

    return best(job, [Candidate({"order": order}, lambda order=order: fit(order)) for order in orders])  # type: ignore[misc]


def _continued(
    job: Job, model: KneserNey, table: pa.Table, cut: Callable[[str], list[str]], max_tokens: int
) -> pa.Table:
    outputs, likelihoods = [], []
    targets = table["target"].to_pylist()
    greedy = job.task.generation.temperature == 0  # type: ignore[union-attr]
    for name, prompt, target in zip(table["id"].to_pylist(), table["text"].to_pylist(), targets, strict=True):
        context = [*cut(prompt), BREAK] if prompt else []
        rng = random.Random(f"{job.seed}/{name}")
        outputs.append("".join(model.sample(context, max_tokens, rng, greedy=greedy)).strip())
        likelihoods.append(model.log_probability(context, [*cut(target), END]))
    return of_continuations(table, outputs, likelihoods, _sizes(job, targets, cut))


def _model(job: Job, cut: Callable[[str], list[str]], order: int) -> KneserNey:
    """Of the training prompts and targets; those of words share one speller."""
    texts = _texts(job)
    rows = [[*cut(prompt), BREAK, *cut(target)] if prompt else cut(target) for prompt, target in texts]
    if cut is list:
        return KneserNey(rows, order, EvenCharacters())
    vocabulary = sorted({word for row in rows for word in row} - {BREAK})
    return KneserNey(rows, order, job.shared("spelling", lambda: Spelling(vocabulary)))


def _texts(job: Job) -> list[tuple[str, str]]:
    """(prompt, target) of the training side, or of as many, drawn at random, as `max_model_characters` allows."""
    rows = list(zip(job.train["text"].to_pylist(), job.train["target"].to_pylist(), strict=True))
    limit = job.config.max_model_characters
    order = np.random.default_rng((job.seed, 4)).permutation(len(rows))
    sizes = np.cumsum([len(rows[i][0]) + len(rows[i][1]) for i in order])
    if sizes[-1] <= limit:
        return rows
    kept = max(1, int(np.searchsorted(sizes, limit, side="right")))
    job.note(f"counted {kept} of {len(rows)} training texts: max_model_characters = {limit}")
    return [rows[i] for i in sorted(order[:kept].tolist())]


def _sizes(job: Job, texts: Sequence[str], cut: Callable[[str], list[str]]) -> list[int]:
    """Tokens of each text, by the tokenizer that was handed in, or else the model's own with the text's end."""
    return [job.count_tokens(text) if job.count_tokens else len(cut(text)) + 1 for text in texts]
