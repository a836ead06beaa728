"""Where synonyms come from: a file of one's own, WordNet, or word vectors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tasks.augment.function_words import function_words, is_negation
from tasks.augment.units import is_unspaced, words_of
from tasks.augment.wordnet import WordNetDatabase
from tasks.config.augment import AnyThesaurus, SynonymFile, Vectors, WordNet

if TYPE_CHECKING:
    from gensim.models import KeyedVectors


class ThesaurusError(ValueError):
    """A source of synonyms that cannot be read; the message names the file, the line and what is expected."""


class Thesaurus(ABC):
    """Synonyms of a word; none for one that it lacks."""

    phrases: frozenset[str] = frozenset()
    """Its entries of several characters in scripts without blanks, for `units.split`."""

    @abstractmethod
    def __call__(self, word: str) -> tuple[str, ...]:
        """`word` is in lower case; the answer never holds it, and is the same for the same word."""


class FileThesaurus(Thesaurus):
    """A line of `path` is a set of synonyms, commas or tabs between them; # begins a comment.

    A word in several sets has the synonyms of all.

    Raises:
        ThesaurusError: no such file, not UTF-8, a set of one word, or none at all.
    """

    def __init__(self, path: str | Path) -> None:
        try:
            lines = Path(path).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ThesaurusError(f"{path}: {error}; expected UTF-8 text, a set of synonyms a line") from None
        self._sets: dict[str, list[str]] = {}
        for number, line in enumerate(lines, 1):
            words = [word.strip() for word in line.partition("#")[0].replace("\t", ",").split(",") if word.strip()]
            if len(words) == 1:
                raise ThesaurusError(f"{path}, line {number}: {line!r} has one word; expected at least two, by commas")
            for word in words:
                self._sets.setdefault(word.lower(), []).extend(words)
        if not self._sets:
            raise ThesaurusError(f"{path}: holds no set of synonyms; expected lines such as: film, movie, picture")
        self.phrases = _phrases(self._sets)

    def __call__(self, word: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(each for each in self._sets.get(word, ()) if each.lower() != word))


class WordNetThesaurus(Thesaurus):
    """English, from WordNet's database; see `wordnet.WordNetDatabase`."""

    def __init__(self, folder: str | Path, senses: int = 1) -> None:
        try:
            self._synonyms = cache(WordNetDatabase(Path(folder), senses).synonyms)
        except OSError as error:
            raise ThesaurusError(
                f"{folder}: {error}; expected WordNet's files data.noun, index.noun and so on, "
                "as Debian's package wordnet-base has them in /usr/share/wordnet"
            ) from None

    def __call__(self, word: str) -> tuple[str, ...]:
        return self._synonyms(word)


class VectorThesaurus(Thesaurus):
    """Words that are among each other's `top_k` nearest neighbours by cosine, most similar first.

    The mean vector and the first principal component are taken out (Mu and Viswanath, 2018, arXiv:1702.01417): in
    vectors of a small corpus all words are near each other, and near the frequent ones.
    """

    def __init__(self, vectors: KeyedVectors, top_k: int, min_similarity: float, language: str) -> None:
        self._words: list[str] = vectors.index_to_key
        self._row: dict[str, int] = vectors.key_to_index
        self._top_k, self._min, self._language = top_k, min_similarity, language
        centred = vectors.vectors - vectors.vectors.mean(axis=0)
        first = np.linalg.eigh(centred.T @ centred)[1][:, -1]  # (D,)
        centred -= np.outer(centred @ first, first)
        self._vectors = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-12)  # (V, D)
        self._nearest = cache(self._neighbours)
        self.phrases = _phrases(self._row)

    def __call__(self, word: str) -> tuple[str, ...]:
        row = self._row.get(_spelt(word))
        if row is None:
            return ()
        near = (other for other in self._nearest(row) if row in self._nearest(other))
        return tuple(self._words[other] for other in near if self._may_stand_in(self._words[other]))

    def _may_stand_in(self, word: str) -> bool:
        """No name, contraction, function word or negation."""
        low = word.lower()
        plain = word == low and "'" not in word
        return plain and low not in function_words(self._language) and not is_negation(low, self._language)

    def _neighbours(self, row: int) -> tuple[int, ...]:
        similarity = self._vectors @ self._vectors[row]
        similarity[row] = -1.0
        order = np.argsort(-similarity, kind="stable")[: self._top_k]
        return tuple(int(i) for i in order if similarity[i] >= self._min)


def open_thesaurus(
    config: AnyThesaurus, texts: Sequence[str], seed: int, language: str = "en", home: Path = Path()
) -> Thesaurus:
    """The thesaurus that `config` names; vectors without a path are trained on `texts` (skip-gram, arXiv:1301.3781).

    Args:
        language: whose function words and negations are no neighbours of anything.
        home: what relative paths are relative to.

    Raises:
        ThesaurusError: it cannot be read, or `texts` hold no word often enough for a vector.
    """
    if isinstance(config, SynonymFile):
        return FileThesaurus(home / config.path)
    if isinstance(config, WordNet):
        return WordNetThesaurus(home / config.path, config.senses)
    vectors = _trained(config, texts, seed) if config.path is None else _read(home / config.path)
    return VectorThesaurus(vectors, config.top_k, config.min_similarity, language)


def _spelt(word: str) -> str:
    return word.replace("’", "'")


def _phrases(words: Iterable[str]) -> frozenset[str]:
    return frozenset(word for word in words if len(word) > 1 and is_unspaced(word))


def _trained(config: Vectors, texts: Sequence[str], seed: int) -> KeyedVectors:
    from gensim.models import Word2Vec  # seconds to import, for one of three kinds of thesaurus

    spoken = [[_spelt(word) for word in words_of(text)] for text in texts]
    lower = {word for words in spoken for word in words if word.islower()}
    # what is never in lower case is a name: it keeps its capital, by which it is known below
    sentences = [[low if (low := word.lower()) in lower else word for word in words] for words in spoken]
    counts = Counter(word for words in sentences for word in words)
    if max(counts.values(), default=0) < config.min_count:
        raise ThesaurusError(
            f"{len(texts)} texts hold no word {config.min_count} times, thesaurus.min_count: lower it, or name a path"
        )
    # one worker: two give other vectors each time
    model = Word2Vec(
        sentences,
        vector_size=config.dimensions,
        min_count=config.min_count,
        epochs=config.epochs,
        window=2,  # a wide one finds words of the same subject, not of the same kind
        sg=1,
        seed=seed,
        workers=1,
    )
    return model.wv


def _read(path: Path) -> KeyedVectors:
    from gensim.models import KeyedVectors

    try:
        return KeyedVectors.load_word2vec_format(str(path), binary=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise ThesaurusError(f"{path}: {error}; expected word vectors in word2vec's text format") from None
