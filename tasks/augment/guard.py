"""Whether a changed text still speaks for its label, as far as words alone can tell."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.naive_bayes import MultinomialNB

from tasks.augment.units import words_of


class LabelGuard:
    """Naive Bayes on the words of the training side. It catches what flips a label: "good" replaced by "bad"."""

    def __init__(self, texts: Sequence[str], labels: Sequence[str]) -> None:
        self._counts = CountVectorizer(analyzer=_words, binary=True)
        self._model = MultinomialNB(fit_prior=False).fit(self._counts.fit_transform(texts), labels)
        self._column = {label: i for i, label in enumerate(self._model.classes_.tolist())}

    def fall(self, before: Sequence[str], after: Sequence[str], labels: Sequence[str]) -> list[float]:
        """By how much each text's label lost in log odds against all others; below 0 where it gained. Natural log."""
        if not len(labels):
            return []
        columns = np.array([self._column[label] for label in labels])
        return (self._log_odds(before, columns) - self._log_odds(after, columns)).tolist()

    def _log_odds(self, texts: Sequence[str], columns: np.ndarray) -> np.ndarray:
        scores = self._model.predict_joint_log_proba(self._counts.transform(texts))  # (N, K)
        rows = np.arange(len(columns))
        own = scores[rows, columns]
        scores[rows, columns] = -np.inf
        return own - np.logaddexp.reduce(scores, axis=1)


def _words(text: str) -> list[str]:
    return [word.lower() for word in words_of(text)]
