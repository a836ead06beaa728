"""From which score on a question has no answer: the threshold that is best on answers whose truth is known."""

from __future__ import annotations

from itertools import groupby

import pyarrow as pa

from bert_core.metrics.scripts import Words, words_of
from bert_core.metrics.spans import overlap_f1


def best_no_answer_threshold(gold: pa.Table, answers: pa.Table, words: Words | None = None) -> float:
    """The `SpanTask.no_answer_threshold` with the highest F1, as the script of SQuAD 2.0 finds it (arXiv:1806.03822).

    Of thresholds that are as good the lowest, which says "none" oftenest. One that lets no question be answered lies 1
    below the surest of them.

    Args:
        gold: canonical; its questions are those of `answers`, in any order.
        answers: with `score` and `best_answer`; `answer`, which depends on the threshold, is not read.
        words: how texts are compared (`bert_core.metrics.spans`).

    Raises:
        ValueError: the two tables are not of the same questions, or there are none.
    """
    accepted = {row["id"]: [one["text"] for one in row["answers"]] for row in gold.to_pylist()}
    said = {row["id"]: (-row["score"], row["best_answer"]) for row in answers.to_pylist()}
    if not said or accepted.keys() != said.keys():
        other = sorted(accepted.keys() ^ said.keys())[:3]
        raise ValueError(f"{len(accepted)} questions and {len(said)} answers; in one table only: {other}")
    words = words or words_of(text for texts in accepted.values() for text in texts)
    gains = sorted(
        (none, overlap_f1(text, accepted[name], words) - overlap_f1("", accepted[name], words))
        for name, (none, text) in said.items()
    )
    best, total, threshold = 0.0, 0.0, gains[0][0] - 1
    for none, group in groupby(gains, key=lambda gain: gain[0]):  # equal scores cannot be told apart
        total += sum(gain for _, gain in group)
        if total > best:
            best, threshold = total, none
    return threshold
