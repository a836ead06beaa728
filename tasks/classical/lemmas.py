"""A linear model on lemmas, so that "moves", "moved" and "moving" are one word."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from spacy.language import Language

from tasks.classical.features import Features
from tasks.classical.job import Job, OutOfTime, Rival, Unavailable
from tasks.classical.linear import columns, linear
from tasks.text.analysis import MissingModel, load
from tasks.text.language import identify_all

_NEEDED = ("tok2vec", "transformer", "tagger", "morphologizer", "attribute_ruler", "lemmatizer", "trainable_lemmatizer")
_BATCH = 256


def spacy_lemmas(job: Job) -> Rival:
    """Logistic regression (ridge, for numbers) on TF-IDF of n-grams of lemmas, punctuation left out.

    Raises:
        Unavailable: the pipeline is not installed, has no lemmatizer, or is of another language than the texts.
        OutOfTime: the budget does not suffice to read the validation and test sides.
    """
    nlp = _pipeline(job)
    read = {
        id(table): {name: _lemmas(job, nlp, table[name].to_pylist()) for name in columns(job)}
        for table in (job.validation, job.test)
    }
    # In a random order: what is read when the time runs out is a sample of the whole.
    order = np.random.default_rng((job.seed, 1)).permutation(len(job.train))[: job.config.spacy_documents]
    kept: dict[str, list[str]] = {name: [] for name in columns(job)}
    done = 0
    for start in range(0, len(order), _BATCH):
        if start and job.budget.used > 0.8 * job.budget.seconds:  # the rest is for the linear model
            break
        rows = job.train.take(pa.array(order[start : start + _BATCH]))
        for name in kept:
            kept[name] += _lemmas(job, nlp, rows[name].to_pylist(), limited=False)
        done = start + len(rows)
    if done < len(job.train):
        job.note(f"fitted on {done} of {len(job.train)} training texts, drawn at random: spacy_documents or the budget")
    train = job.train.take(pa.array(order[:done]))
    if job.labels and len({str(label) for label in train["label"].to_pylist()}) < 2:
        raise OutOfTime(f"{done} of {len(job.train)} training texts were lemmatised, all of one class: raise budget_s")
    read[id(train)] = kept
    vectorizer = TfidfVectorizer(
        tokenizer=str.split, token_pattern=None, lowercase=False, ngram_range=job.config.word_ngrams, sublinear_tf=True
    )
    features = Features(
        vectorizer, columns(job), train, read=lambda table, name: read[id(table)][name], statistics=True
    )
    return linear(job, features, train)


def _lemmas(job: Job, nlp: Language, texts: Sequence[str], *, limited: bool = True) -> list[str]:
    """Each text's lemmas in lower case, joined by blanks; with the tagger and lemmatizer alone, the parser left out."""
    skipped = [name for name in nlp.pipe_names if name not in _NEEDED]
    found = []
    for doc in nlp.pipe(texts, batch_size=64, disable=skipped):
        found.append(" ".join(token.lemma_.lower() for token in doc if not token.is_space and token.pos_ != "PUNCT"))
        if limited and job.budget.spent:
            raise OutOfTime(f"{len(found)} of {len(texts)} texts to be answered were lemmatised: raise budget_s")
    return found


def _pipeline(job: Job) -> Language:
    name = job.config.spacy_pipeline
    try:
        nlp = load(name, needs="lemmatizer")
    except MissingModel as missing:
        raise Unavailable(str(missing)) from None
    language, _ = identify_all(job.train["text"].to_pylist())
    if language and nlp.lang != language:
        raise Unavailable(
            f"the texts are in {language!r}, spacy_pipeline = {name!r} is of {nlp.lang!r}: name one of theirs"
        )
    return nlp
