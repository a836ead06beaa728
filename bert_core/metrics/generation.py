"""BLEU and chrF as sacrebleu computes them, ROUGE as rouge_score does, and perplexity, all from sums.

BLEU: Papineni et al., 2002, as made comparable by Post, 2018 (arXiv:1804.08771). chrF: Popović, 2015. ROUGE: Lin, 2004.
A corpus's BLEU is no mean of its sentences': counts are summed first, here over the weights of a bootstrap sample.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
from rouge_score import rouge_scorer
from rouge_score.tokenizers import Tokenizer
from sacrebleu.metrics import BLEU

from bert_core.intervals import EvaluationError, Floats
from bert_core.metrics.aligned import column, numbers
from bert_core.metrics.metric import AnyMetric, Metric, Scores, mean_of, ratio, scores
from bert_core.metrics.scripts import Words, split_han, words_of

ORDERS = 4
CHARACTER_ORDERS = 6
BETA = 2
ROUGES = {"rouge1": "rouge_1", "rouge2": "rouge_2", "rougeL": "rouge_l"}


class _HanTokenizer(Tokenizer):
    """rouge_score's own drops all but a-z and 0-9, and so scores 0 for Chinese."""

    def tokenize(self, text: str) -> list[str]:
        return split_han(text.lower())


def text_scores(gold: pa.Table, answers: pa.Table, words: Words | None = None) -> Scores:
    """chrF, BLEU (0 to 100 both) and ROUGE-1, -2 and -L (F-measure) of `output` against `target`.

    Args:
        words: None: "characters" if most letters of the targets are Chinese; then BLEU splits as sacrebleu's "zh".
    """
    return scores(text_metrics(gold, answers, words))


def causal_scores(gold: pa.Table, answers: pa.Table, words: Words | None = None) -> Scores:
    """Perplexity a token, bits a character of the target and, where there is a prompt, the metrics of `text_scores`.

    Raises:
        EvaluationError: a target without tokens, or a log-likelihood above 0.
    """
    likelihood = numbers(answers, "log_likelihood", "answers")
    tokens = numbers(answers, "num_tokens", "answers")
    if (tokens < 0).any() or tokens.sum() == 0 or (likelihood > 1e-6).any():
        raise EvaluationError(
            f"answers: num_tokens from {tokens.min():.0f} (sum {tokens.sum():.0f}) and log_likelihood up to "
            f"{likelihood.max():g}: expected tokens, and log-likelihoods of at most 0"
        )
    characters = [len(one) for one in column(gold, "target", "gold table").to_pylist()]
    rows = np.stack([-likelihood, tokens, np.array(characters, dtype=np.float64)], axis=1)
    found: list[AnyMetric] = [
        Metric("perplexity", rows, lambda s: np.exp(mean_of(0, 1)(s)), higher_is_better=False, unit=""),
        Metric("bits_per_character", rows, lambda s: mean_of(0, 2)(s) / np.log(2), higher_is_better=False, unit=""),
    ]
    prompted = np.array([bool(one) for one in column(gold, "text", "gold table").to_pylist()])
    if not prompted.any():
        return scores(found, dict.fromkeys(("chrf", "bleu", *ROUGES.values()), "no example has a prompt"))
    return scores([*found, *text_metrics(gold, answers, words, prompted)])


def text_metrics(
    gold: pa.Table, answers: pa.Table, words: Words | None = None, rows: np.ndarray | None = None
) -> list[AnyMetric]:
    """Those of `text_scores`; examples that are not among `rows` (N,) count nothing."""
    targets = column(gold, "target", "gold table").to_pylist()
    outputs = column(answers, "output", "answers").to_pylist()
    counted = np.ones(len(targets), bool) if rows is None else rows
    words = words or words_of(targets)
    bleu, chrf = np.zeros((len(targets), 2 * ORDERS + 2)), np.zeros((len(targets), 3 * CHARACTER_ORDERS))
    rouge = np.zeros((len(targets), len(ROUGES) + 1))
    tokenizer = BLEU(tokenize="zh" if words == "characters" else "13a").tokenizer
    scorer = rouge_scorer.RougeScorer(list(ROUGES), tokenizer=_HanTokenizer() if words == "characters" else None)
    for row in np.flatnonzero(counted):
        output, target = outputs[row], targets[row]
        bleu[row] = bleu_counts(tokenizer(output.rstrip()).split(), tokenizer(target.rstrip()).split())
        chrf[row] = chrf_counts(output, target)
        rouge[row] = [*(one.fmeasure for one in scorer.score(target, output).values()), 1]
    return [
        Metric("chrf", chrf, chrf_of, unit="points"),
        Metric("bleu", bleu, bleu_of, unit="points"),
        *(Metric(name, rouge, mean_of(i, len(ROUGES))) for i, name in enumerate(ROUGES.values())),
    ]


def bleu_counts(output: list[str], target: list[str]) -> list[int]:
    """[words of the output, of the target, n-grams in both for n = 1..4, n-grams of the output for n = 1..4]."""
    said = [_ngrams(output, n) for n in range(1, ORDERS + 1)]
    both = [(one & _ngrams(target, n)).total() for n, one in enumerate(said, 1)]
    return [len(output), len(target), *both, *(one.total() for one in said)]


def bleu_of(sums: Floats) -> Floats:
    """BLEU of summed `bleu_counts` (..., 10), smoothed as sacrebleu's default "exp" does; 0 without a common word."""
    said, true = np.asarray(sums[..., 0]), np.asarray(sums[..., 1])
    both, total = sums[..., 2 : 2 + ORDERS], sums[..., 2 + ORDERS :]
    misses = np.cumsum((both == 0) & (total > 0), axis=-1)  # the k-th order without a match counts 1 / 2 ** k of one
    precision = ratio(np.where(both == 0, 0.5**misses, both), total)
    possible = np.asarray((total > 0).all(axis=-1) & (both > 0).any(axis=-1))
    logs = np.log(np.where(possible[..., None], precision, 1.0)).mean(axis=-1)
    brevity = np.where(said < true, np.exp(1 - ratio(true, said, empty=1.0)), 1.0)
    return np.where(possible, 100 * brevity * np.exp(logs), 0.0)


def chrf_counts(output: str, target: str) -> list[int]:
    """[n-grams of the output, of the target, in both] for n = 1..6, of characters other than spaces."""
    said, true = "".join(output.split()), "".join(target.split())
    found = []
    for n in range(1, CHARACTER_ORDERS + 1):
        ours, theirs = _ngrams(said, n), _ngrams(true, n)
        # sacrebleu leaves out an order that the target is too short for
        found += [ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()]
    return found


def chrf_of(sums: Floats) -> Floats:
    """chrF2 of summed `chrf_counts` (..., 18), over the orders that both sides have."""
    said, true, both = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    known = (said > 0) & (true > 0)
    orders = known.sum(axis=-1)
    precision = ratio(np.where(known, ratio(both, said), 0).sum(axis=-1), orders)
    recall = ratio(np.where(known, ratio(both, true), 0).sum(axis=-1), orders)
    return 100 * ratio((1 + BETA**2) * precision * recall, BETA**2 * precision + recall)


def _ngrams(sequence: list[str] | str, n: int) -> Counter[object]:
    if isinstance(sequence, str):
        return Counter(sequence[i : i + n] for i in range(len(sequence) - n + 1))
    return Counter(tuple(sequence[i : i + n]) for i in range(len(sequence) - n + 1))
