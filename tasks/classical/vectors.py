"""Word vectors trained on the task's own text: CBOW and skip-gram by gensim, GloVe by mittens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tasks.classical.job import Fact, Job

PADDING, UNKNOWN = 0, 1
_SPECIAL = 2
_ALPHA, _LAST_ALPHA = 0.025, 1e-4  # gensim's
_SPREAD = 0.144  # standard deviation of Kim's uniform [-0.25, 0.25], from which unknown words start
_XMAX = 10.0  # of GloVe; the paper's 100 is for billions of words
_SHARE_OF_BUDGET = 0.4
_GLOVE_STEPS = 5


@dataclass(frozen=True)
class WordVectors:
    """Rows of `matrix`: 0 is padding and zero, 1 stands for every unknown word, then words by falling frequency."""

    index: dict[str, int]
    matrix: NDArray[np.float32]
    """(V, D)"""
    facts: dict[str, Fact]

    def ids(self, tokens: Iterable[str]) -> list[int]:
        return [self.index.get(token, UNKNOWN) for token in tokens]


def word_vectors(job: Job, sentences: Sequence[Sequence[str]]) -> WordVectors:
    """Vectors of all frequent words of `sentences`, the same for the same seed; made once for all who ask in a job.

    At most two fifths of the budget go into them; a note says so if that cut the training short. Words that the
    method did not place, and all under vectors = "random", start at random with the others' spread.
    """
    made: WordVectors = job.shared("word_vectors", lambda: _trained(job, sentences))
    return made


def _trained(job: Job, sentences: Sequence[Sequence[str]]) -> WordVectors:
    config = job.config
    frequency = Counter(word for sentence in sentences for word in sentence)
    common = sorted(
        (word for word in frequency if frequency[word] >= config.min_count), key=lambda w: (-frequency[w], w)
    )
    if not common:
        job.note(f"min_count = {config.min_count} leaves no word: all words are kept")
        common = sorted(frequency, key=lambda w: (-frequency[w], w))
    words = common[: config.max_vocabulary]
    rng = np.random.default_rng((job.seed, 2))
    matrix = rng.normal(0, _SPREAD, (len(words) + _SPECIAL, config.dimensions)).astype(np.float32)
    matrix[PADDING] = 0
    start = job.budget.used
    placed: NDArray[np.floating] = np.zeros((0, config.dimensions))
    if config.vectors == "glove":
        placed = _glove(job, sentences, words[: config.glove_vocabulary], rng)
    elif config.vectors != "random":
        placed = _word2vec(job, sentences, words)
    if len(placed):
        # Centred and of one spread: small corpora give vectors that differ in length by orders of magnitude.
        placed = placed - placed.mean(axis=0)
        matrix[_SPECIAL : _SPECIAL + len(placed)] = placed * (_SPREAD / max(1e-12, float(placed.std())))
    index = {word: row for row, word in enumerate(words, _SPECIAL)}
    facts: dict[str, Fact] = {
        "vectors": config.vectors, "vocabulary": len(words), "vectors_s": round(job.budget.used - start, 2)
    }  # fmt: skip
    return WordVectors(index, matrix, facts)


def _word2vec(job: Job, sentences: Sequence[Sequence[str]], words: Sequence[str]) -> NDArray[np.floating]:
    from gensim.models import Word2Vec

    config, known = job.config, set(words)
    text = [[word for word in sentence if word in known] for sentence in sentences]
    model = Word2Vec(
        vector_size=config.dimensions, window=config.window, sg=int(config.vectors == "skipgram"), min_count=1,
        negative=5, workers=1, seed=job.seed + 1,
    )  # fmt: skip
    model.build_vocab(text)
    for epoch in range(config.vector_epochs):
        alphas = [_ALPHA - (_ALPHA - _LAST_ALPHA) * step / config.vector_epochs for step in (epoch, epoch + 1)]
        model.train(text, total_examples=len(text), epochs=1, start_alpha=alphas[0], end_alpha=alphas[1])
        if _cut_short(job, epoch + 1, config.vector_epochs):
            break
    return np.stack([model.wv[word] for word in words])


def _glove(
    job: Job, sentences: Sequence[Sequence[str]], words: Sequence[str], rng: np.random.Generator
) -> NDArray[np.floating]:
    from mittens import GloVe

    config, n = job.config, len(words)
    state = {
        "W": rng.uniform(-0.5, 0.5, (n, config.dimensions)) / config.dimensions,
        "C": rng.uniform(-0.5, 0.5, (n, config.dimensions)) / config.dimensions,
        "bw": np.zeros((n, 1)),
        "bc": np.zeros((n, 1)),
    }
    matrix = cooccurrences(sentences, words, config.window)
    model = GloVe(n=config.dimensions, xmax=_XMAX, max_iter=_GLOVE_STEPS, display_progress=0, test_mode=True)
    found: NDArray[np.floating] = np.zeros((n, config.dimensions))
    unchanged = np.random.get_state()  # mittens seeds numpy's global generator anew, from the system
    try:
        for epoch in range(config.vector_epochs):
            found = model.fit(matrix, fixed_initialization=state)  # goes on: the optimizer is kept by the model
            state = {"W": model.W, "C": model.C, "bw": model.bw, "bc": model.bc}
            if _cut_short(job, epoch + 1, config.vector_epochs):
                break
    finally:
        np.random.set_state(unchanged)
    return found


def cooccurrences(sentences: Sequence[Sequence[str]], words: Sequence[str], window: int) -> NDArray[np.float64]:
    """(n, n), symmetric: how often two words stand within `window` of each other, each time as 1 / their distance."""
    place = {word: i for i, word in enumerate(words)}
    ids = [i for sentence in sentences for i in [*(place.get(word, -1) for word in sentence), *[-1] * window]]
    row = np.array(ids, dtype=np.int64)
    counts = np.zeros(len(words) ** 2)
    for distance in range(1, window + 1):
        left, right = row[:-distance], row[distance:]
        both = (left >= 0) & (right >= 0)
        counts += np.bincount(left[both] * len(words) + right[both], minlength=len(words) ** 2) / distance
    square = counts.reshape(len(words), len(words))
    return square + square.T


def _cut_short(job: Job, done: int, wanted: int) -> bool:
    if done < wanted and job.budget.used > _SHARE_OF_BUDGET * job.budget.seconds:
        job.note(f"word vectors: {done} of {wanted} passes, {_SHARE_OF_BUDGET:.0%} of the {job.budget.seconds:g} s")
        return True
    return False
