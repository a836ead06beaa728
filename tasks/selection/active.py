"""Which texts a person should label next: what the models are least sure of, or what is least like the rest.

Shapes: S models, N texts, K classes, D dimensions of an embedding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from tasks.augment.units import words_of
from tasks.config.augment import ActiveLearningConfig
from tasks.config.finetune import COMMITTEE
from tasks.selection.opinions import Floats, SelectionError, opinions

_TINY = 1e-12
FARTHEST = 2.0
"""Between opposite points of length 1: the score of a first point, of which nothing is known."""
KNOWN_AT_ONCE = 256


def least_confidence(probabilities: Floats) -> Floats:
    """(S, N, K) -> (N,): 1 minus the highest mean probability."""
    return 1.0 - probabilities.mean(axis=0).max(axis=1)


def margin(probabilities: Floats) -> Floats:
    """(N,): 1 minus the distance between the two highest mean probabilities; 1 is a tie."""
    ordered = np.sort(probabilities.mean(axis=0), axis=1)
    return 1.0 - (ordered[:, -1] - ordered[:, -2])


def entropy(probabilities: Floats) -> Floats:
    """(N,): of the mean probabilities, in nats."""
    return _entropy(probabilities.mean(axis=0))


def vote_entropy(probabilities: Floats) -> Floats:
    """(N,): of the models' votes, in nats (Dagan and Engelson, 1995); 0 where all name the same class."""
    votes = np.eye(probabilities.shape[2])[probabilities.argmax(axis=2)]
    return _entropy(votes.mean(axis=0))


def kl(probabilities: Floats) -> Floats:
    """(N,): mean Kullback-Leibler divergence of each model from their mean, in nats (McCallum and Nigam, 1998)."""
    return _entropy(probabilities.mean(axis=0)) - _entropy(probabilities).mean(axis=0)


SCORES: dict[str, Callable[[Floats], Floats]] = {
    "least_confidence": least_confidence,
    "margin": margin,
    "entropy": entropy,
    "vote_entropy": vote_entropy,
    "kl": kl,
}
"""The higher, the more a label would tell."""


def select(
    config: ActiveLearningConfig,
    answers: Sequence[pa.Table],
    texts: pa.Table,
    n: int,
    seed: int,
    *,
    embeddings: NDArray[np.floating] | None = None,
    labelled: NDArray[np.floating] | Sequence[str] | None = None,
) -> pa.Table:
    """`n` texts, most wanted first: columns id, score and strategy; all of them if there are fewer.

    Ties are broken at random by `seed`, so that no order of the file decides.

    Args:
        answers: canonical answers of kind single, one table a seed; not needed for k_center and random.
        texts: canonical table of unlabelled sequences or pairs.
        embeddings: (N, D) in the order of `texts`, for k-center; None: TF-IDF of words (characters, without blanks).
        labelled: what has a label already, for k-center to stay away from: (M, D), or without `embeddings` its texts.

    Raises:
        SelectionError: n below 1, answers that do not fit, or a committee of one.
    """
    if n < 1:
        raise SelectionError(f"n = {n}: at least one text must be chosen")
    ids = texts["id"].to_pylist()
    rng = np.random.default_rng(seed)
    if config.strategy in COMMITTEE and len(answers) < 2:
        raise SelectionError(f"{config.strategy} needs answers of two seeds or more, got {len(answers)}")
    if config.strategy == "k_center":
        points, known = _points(texts, embeddings, labelled)
        order, scores = k_center(points, known, n, rng)
    else:
        scores = (
            rng.random(len(ids)) if config.strategy == "random" else SCORES[config.strategy](opinions(ids, answers))
        )
        order = np.lexsort((rng.random(len(ids)), -scores))
        if config.diverse_among is not None:
            pool = order[: int(np.ceil(config.diverse_among * n))]
            points, known = _points(texts, embeddings, labelled)
            order = pool[k_center(points[pool], known, n, rng)[0]]
    order = order[:n]
    columns = {
        "id": pa.array([ids[i] for i in order], pa.string()),
        "score": pa.array(scores[order], pa.float64()),
        "strategy": pa.array([config.strategy] * len(order), pa.string()),
    }
    return pa.table(columns)


def k_center(
    points: Floats | csr_matrix, known: Floats | csr_matrix | None, n: int, rng: np.random.Generator
) -> tuple[NDArray[np.int64], Floats]:
    """Greedy k-center (Sener and Savarese, 2018, arXiv:1708.00489): each next point is farthest from all before.

    Args:
        points: (N, D), rows of length 1.
        known: (M, D) likewise, from which the first ones are to be far; None: the first is drawn by `rng`.

    Returns:
        Places of at most n points in the order of choice; and (N,) each point's Euclidean distance from what was
        chosen before it (for those not chosen, from all).
    """
    size = points.shape[0]
    distance = np.full(size, np.inf)
    if known is not None:
        for start in range(0, known.shape[0], KNOWN_AT_ONCE):
            distance = np.minimum(distance, _distances(points, known[start : start + KNOWN_AT_ONCE]).min(axis=1))
    scores, order = distance.copy(), []
    for _ in range(min(n, size)):
        is_first = bool(np.isinf(distance).all())
        chosen = int(rng.integers(size)) if is_first else int(distance.argmax())
        scores[chosen] = FARTHEST if is_first else distance[chosen]
        order.append(chosen)
        distance = np.minimum(distance, _distances(points, points[[chosen]])[:, 0])
        distance[chosen] = -1.0  # never again, even among duplicates
    rest = np.setdiff1d(np.arange(size), order)
    scores[rest] = distance[rest]
    return np.array(order, dtype=np.int64), scores


def _distances(points: Floats | csr_matrix, others: Floats | csr_matrix) -> Floats:
    """(N, M): Euclidean, between rows of length 1."""
    cosine = points @ others.T
    dense: Floats = cosine.toarray() if issparse(cosine) else np.asarray(cosine)  # type: ignore[union-attr]
    return np.sqrt(np.maximum(0.0, 2.0 - 2.0 * dense))


def _entropy(probabilities: Floats) -> Floats:
    return -(probabilities * np.log(np.maximum(probabilities, _TINY))).sum(axis=-1)


def _points(
    texts: pa.Table,
    embeddings: NDArray[np.floating] | None,
    labelled: NDArray[np.floating] | Sequence[str] | None,
) -> tuple[Floats | csr_matrix, Floats | csr_matrix | None]:
    if embeddings is not None:
        if embeddings.ndim != 2 or len(embeddings) != texts.num_rows:
            raise SelectionError(f"embeddings have shape {embeddings.shape}, expected ({texts.num_rows}, dimensions)")
        known = None if labelled is None else normalize(np.asarray(labelled, np.float64))
        return normalize(np.asarray(embeddings, np.float64)), known
    columns = [texts[name].to_pylist() for name in ("text", "text_b") if name in texts.column_names]
    joined = [" ".join(parts) for parts in zip(*columns, strict=True)]
    vectorizer = TfidfVectorizer(analyzer=_words)
    points = vectorizer.fit_transform(joined)
    return points, None if labelled is None else vectorizer.transform(list(labelled))


def _words(text: str) -> list[str]:
    return [word.lower() for word in words_of(text)]
