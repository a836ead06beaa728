"""The recipe's section [baselines]: classical models that every evaluation report shows beside ours."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from bert_core.config import Config

BASELINES: dict[str, tuple[str, ...]] = {
    "sequence": ("majority", "naive_bayes", "logistic_regression", "spacy_lemmas", "text_cnn", "bilstm"),
    "pair": (
        "majority", "hypothesis_only", "naive_bayes", "logistic_regression", "spacy_lemmas", "text_cnn", "bilstm",
    ),
    "token": ("majority", "crf", "bilstm"),
    "span": ("first_sentence", "lexical"),
    "choice": ("majority", "longest", "lexical", "logistic_regression"),
    "embedding": ("tfidf", "bm25", "word_vectors"),
    "seq2seq": ("copy", "lead", "nearest", "lexicon"),
    "causal": ("unigram", "trigram", "character_ngram", "nearest"),
}  # fmt: skip
"""Of each type of task, in the order of a report. Where the label is a number, `REGRESSION` holds instead."""

REGRESSION: dict[str, tuple[str, ...]] = {
    "sequence": ("mean", "ridge", "spacy_lemmas", "text_cnn", "bilstm"),
    "pair": ("mean", "hypothesis_only", "ridge", "spacy_lemmas", "text_cnn", "bilstm"),
}

_NAMES = sorted({name for names in (*BASELINES.values(), *REGRESSION.values()) for name in names})


def _known(models: Literal["auto"] | tuple[str, ...]) -> Literal["auto"] | tuple[str, ...]:
    if models == "auto":
        return models
    if not models or len(set(models)) != len(models):
        raise ValueError(f"{list(models)}: 'auto', or at least one name, each once; legal are {_NAMES}")
    if unknown := [name for name in models if name not in _NAMES]:
        raise ValueError(f"no baseline(s) {unknown}; legal are {_NAMES}, or 'auto' for all that fit the type of task")
    return models


def _ascending(ngrams: tuple[int, int]) -> tuple[int, int]:
    if not 1 <= ngrams[0] <= ngrams[1]:
        raise ValueError(f"n-grams {list(ngrams)}: [shortest, longest], such as [1, 2]")
    return ngrams


NgramRange = Annotated[tuple[int, int], AfterValidator(_ascending)]


class ClassicalConfig(Config):
    """Which baselines are fitted, and how large they may grow; what else they have is chosen on the validation side."""

    models: Annotated[Literal["auto"] | tuple[str, ...], AfterValidator(_known)] = Field(
        "auto", description="names, or 'auto': all that fit the type of task and the language"
    )
    budget_s: float = Field(
        120.0, gt=0, description="seconds for each baseline; one that needs more stops with what it has, and says so"
    )
    word_ngrams: NgramRange = (1, 2)
    character_ngrams: NgramRange = (2, 5)
    blankless_ngrams: NgramRange = Field((1, 3), description="of characters, in scripts without blanks between words")
    max_ngram_characters: int = Field(
        20_000_000, ge=1, description="larger training sides have no n-grams of characters beside those of words"
    )
    spacy_pipeline: str = Field("en_core_web_sm", description="package or folder whose lemmas stand for words")
    spacy_documents: int = Field(20_000, ge=1, description="training texts that are lemmatised at most")
    vectors: Literal["cbow", "skipgram", "glove", "random"] = Field(
        "skipgram",
        description="how word vectors are trained, on the training side's text: word2vec (arXiv:1301.3781), GloVe "
        "(Pennington et al., 2014), or not at all",
    )
    dimensions: int = Field(100, ge=2)
    window: int = Field(5, ge=1, description="words on either side that are a word's context")
    vector_epochs: int = Field(10, ge=1, description="passes over the text; GloVe: five steps on its matrix each")
    min_count: int = Field(2, ge=1, description="rarer words are unknown")
    max_vocabulary: int = Field(30_000, ge=1)
    glove_vocabulary: int = Field(
        2_000, ge=2, description="most frequent words that GloVe places: its matrix is dense, 8 bytes * this squared"
    )
    epochs: int = Field(10, ge=1)
    patience: int = Field(
        3, ge=1, description="epochs without a better score or loss on the validation side, after which training stops"
    )
    batch_size: int = Field(32, ge=1)
    learning_rate: float = Field(2e-3, gt=0)
    dropout: float = Field(0.5, ge=0, lt=1)
    max_tokens: int = Field(256, ge=8, description="of a text that TextCNN and BiLSTM read; the rest is cut off")
    filters: int = Field(100, ge=1, description="of each width of TextCNN")
    hidden_size: int = Field(100, ge=1, description="of BiLSTM, in each direction")
    max_tagging_tokens: int = Field(300_000, ge=1, description="of the sentences from which a tagger learns")
    max_aligned_words: int = Field(8_000_000, ge=1, description="pairs of words that the translation lexicon counts")
    max_model_characters: int = Field(2_000_000, ge=1, description="of the text that n-gram language models count")

    @model_validator(mode="after")
    def _reachable(self) -> ClassicalConfig:
        if self.glove_vocabulary > 20_000 and self.vectors == "glove":
            gigabytes = 8 * self.glove_vocabulary**2 / 1e9
            raise ValueError(
                f"glove_vocabulary = {self.glove_vocabulary}: {gigabytes:.0f} GB, several times; at most 20000"
            )
        return self
