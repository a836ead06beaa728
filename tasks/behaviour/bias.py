"""Whether a model treats texts on different groups of people alike.

Two questions. Counterfactual: does the answer change with the group's terms alone (Garg et al., 2019,
arXiv:1809.10610)? Error gaps: are there more mistakes on texts that mention one group than on those that mention
another (Borkan et al., 2019, arXiv:1903.04561)? Shapes: N texts, K labels, S bootstrap samples.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import SequenceTask, Task
from bert_core.intervals import Interval, bootstrap
from tasks.behaviour.answers import Answer, Row, chances, label_names, said, same, shown
from tasks.behaviour.bias_report import BiasReport, Gap, Score, Swap, SwapExample
from tasks.behaviour.cases import CHANGED
from tasks.behaviour.checklist import examples, text_of
from tasks.behaviour.groups import Axis, axes_of
from tasks.behaviour.results import BehaviourError
from tasks.config.behaviour import BehaviourConfig

Floats = NDArray[np.float64]
SAMPLES_AT_ONCE = 200


def measure_bias(config: BehaviourConfig, task: Task, side: pa.Table, answer: Answer, *, seed: int) -> BiasReport:
    """Every axis of `config.bias`; groups that no text mentions, and figures without an example, are left out.

    Args:
        task: sequence or pair, with its labels filled in.
        side: canonical test side; its gold labels are what errors are counted against.
        answer: asked twice for each axis with two groups, and once more for each further pair.

    Raises:
        BehaviourError: another type of task, no section bias, or answers that do not fit.
    """
    if not isinstance(task, SequenceTask):
        raise BehaviourError(f"bias is measured on sequence and pair tasks, not on {task.type}")
    if config.bias is None:
        raise BehaviourError("no section bias: set behaviour.bias, for example to {}")
    swaps, scores, gaps = [], [], []
    for axis in axes_of(config.bias):
        rows = side.to_pylist()
        rng = np.random.default_rng([seed, int.from_bytes(hashlib.blake2b(axis.name.encode(), digest_size=8).digest())])
        drawn = rng.permutation(len(rows)).tolist()
        mentioning = [(i, groups) for i in drawn if (groups := axis.mentioned(text_of(task, rows[i])))]
        chosen = sorted(mentioning[: config.bias.max_examples])
        if not chosen:
            continue
        rows, mentions = [rows[i] for i, _ in chosen], [groups for _, groups in chosen]
        before = said(task, answer, examples(task, rows))
        for pair in axis.pairs:
            places = [i for i, groups in enumerate(mentions) if groups & set(pair)]
            if places:
                of_pair = [(rows[i], mentions[i], before[i]) for i in places]
                swaps.append(_swap(config, task, axis, pair, of_pair, answer, seed))
        found_scores, found_gaps = _errors(config, task, axis, rows, mentions, before, seed)
        scores += found_scores
        gaps += found_gaps
    return BiasReport(
        swaps=tuple(swaps), scores=tuple(scores), gaps=tuple(gaps), confidence=config.confidence, seed=seed
    )


def _swap(
    config: BehaviourConfig,
    task: SequenceTask,
    axis: Axis,
    pair: tuple[str, str],
    of_pair: Sequence[tuple[Row, frozenset[str], Row]],
    answer: Answer,
    seed: int,
) -> Swap:
    columns = CHANGED[task.type]
    exchanged = [row | {name: axis.exchanged(row[name], *pair) for name in columns} for row, _, _ in of_pair]
    before, after = [old for _, _, old in of_pair], said(task, answer, examples(task, exchanged))
    flips = np.array([not same(task, old, new) for old, new in zip(before, after, strict=True)])
    old, new = chances(task, before), chances(task, after)  # (N, K)
    # in the second group's wording minus in the first's, whichever of them is the original
    sign = np.array([1 if groups & set(pair) == {pair[0]} else -1 for _, groups, _ in of_pair])
    only_one = np.array([len(groups & set(pair)) == 1 for _, groups, _ in of_pair])
    signed = (new - old) * sign[:, None]
    regression = task.kind == "regression"
    names = ("value",) if regression else label_names(task)
    mean = partial(bootstrap, samples=config.bootstrap_samples, confidence=config.confidence, seed=seed)
    favour = {name: mean(signed[only_one, k]) for k, name in enumerate(names) if only_one.any()}
    order = np.argsort(-np.abs(new - old).max(axis=1), kind="stable").tolist()
    changed = [] if regression else [i for i in order if flips[i]][: config.max_failures]
    return Swap(
        axis=axis.name,
        groups=pair,
        examples=len(before),
        flips=None if regression else mean(flips),
        change=mean(np.abs(new - old).max(axis=1)),
        favour=favour,
        changed=tuple(
            SwapExample(
                before=text_of(task, of_pair[i][0]),
                after=text_of(task, exchanged[i]),
                said_before=shown(task, before[i]),
                said_after=shown(task, after[i]),
            )
            for i in changed
        ),
    )


def _errors(
    config: BehaviourConfig,
    task: SequenceTask,
    axis: Axis,
    rows: Sequence[Row],
    mentions: Sequence[frozenset[str]],
    answers: Sequence[Row],
    seed: int,
) -> tuple[list[Score], list[Gap]]:
    """The figures of each group, and their differences, from the same bootstrap samples of the texts."""
    hits, counted = _measures(task, rows, answers)  # measure and label -> (N,), (N,)
    member = {group: np.array([group in groups for groups in mentions]) for group in axis.groups}
    drawn: dict[tuple[str, str, str], tuple[float, Floats]] = {}
    scores: list[Score] = []
    for (measure, label), hit in hits.items():
        for group, inside in member.items():
            among = inside & counted[measure, label]
            if not among.any():
                continue
            estimates = _resampled(hit * among, among.astype(np.float64), config.bootstrap_samples, seed)
            drawn[measure, label, group] = float(hit[among].mean()), estimates
            interval = _interval(drawn[measure, label, group], config.confidence)
            common = {"axis": axis.name, "group": group, "measure": measure, "label": label}
            scores.append(Score(examples=int(among.sum()), value=interval, **common))
    gaps = []
    for one, other in axis.pairs:
        for measure, label in hits:
            first, second = drawn.get((measure, label, one)), drawn.get((measure, label, other))
            if first is not None and second is not None:
                difference = second[0] - first[0], second[1] - first[1]
                gaps.append(
                    Gap(
                        axis=axis.name,
                        groups=(one, other),
                        measure=measure,
                        label=label,
                        difference=_interval(difference, config.confidence),
                    )
                )
    return scores, gaps


Measured = dict[tuple[str, str], Floats]


def _measures(
    task: SequenceTask, rows: Sequence[Row], answers: Sequence[Row]
) -> tuple[Measured, dict[tuple[str, str], NDArray[np.bool_]]]:
    """Of each measure and label: what each text adds to it, and which texts it is a mean of."""
    gold = [row["label"] for row in rows]
    if missing := next((row["id"] for row in rows if row["label"] is None), None):
        raise BehaviourError(f"example {missing!r} has no label: errors cannot be counted")
    everyone = np.ones(len(rows), dtype=bool)
    if task.kind == "regression":
        error = np.abs([row["value"] - label for row, label in zip(answers, gold, strict=True)])
        return {("error", ""): error}, {("error", ""): everyone}
    labels = label_names(task)
    as_set = (lambda value: set(value)) if task.kind == "multi" else (lambda value: {value})
    of_answer = "labels" if task.kind == "multi" else "label"
    true = np.array([[label in as_set(value) for label in labels] for value in gold])
    predicted = np.array([[label in as_set(row[of_answer]) for label in labels] for row in answers])
    hits: Measured = {("accuracy", ""): (true == predicted).all(axis=1).astype(np.float64)}
    counted = {("accuracy", ""): everyone}
    for k, label in enumerate(labels):
        hits["false_positive_rate", label] = predicted[:, k].astype(np.float64)
        counted["false_positive_rate", label] = ~true[:, k]
        hits["false_negative_rate", label] = (~predicted[:, k]).astype(np.float64)
        counted["false_negative_rate", label] = true[:, k]
    return hits, counted


def _resampled(hit: Floats, among: Floats, samples: int, seed: int) -> Floats:
    """(S,): the mean of `hit` over `among`, in samples of all texts with replacement; NaN where a sample has none.

    Equal seeds draw the same texts, so that figures of two groups can be subtracted sample by sample.
    """
    rng = np.random.default_rng(seed)
    shares = np.full(len(hit), 1 / len(hit))
    parts = []
    for start in range(0, samples, SAMPLES_AT_ONCE):
        weights = rng.multinomial(len(hit), shares, size=min(SAMPLES_AT_ONCE, samples - start))  # (s, N)
        sizes = weights @ among
        parts.append(np.divide(weights @ hit, sizes, out=np.full(len(sizes), np.nan), where=sizes > 0))
    return np.concatenate(parts)


def _interval(drawn: tuple[float, Floats], confidence: float) -> Interval:
    estimate, values = drawn
    known = values[np.isfinite(values)]
    if not len(known):
        return Interval(estimate, estimate, estimate)
    low, high = np.quantile(known, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(estimate, float(low), float(high))
