"""More training examples out of those that are there, and out of texts that nobody has labelled."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bert_core.config import Config

Rate = Annotated[float, Field(gt=0, le=1, description="share of the words that are changed; one at least")]
Typo = Literal["keyboard", "swap", "drop", "double"]


class Method(Config):
    """What every way of changing an example has."""

    rate: Rate = 0.1
    copies: int = Field(1, ge=1, le=64, description="changed copies of each example")


class Synonyms(Method):
    """Words give way to their synonyms, function words excepted (EDA's SR)."""

    type: Literal["synonyms"] = "synonyms"


class Insertion(Method):
    """A synonym of a word of the text stands at another place of it too (EDA's RI)."""

    type: Literal["insertion"] = "insertion"
    words: Literal["synonyms", "own"] = Field("synonyms", description="own: the text's own words, needs no thesaurus")


class Swap(Method):
    """Two words change places (EDA's RS)."""

    type: Literal["swap"] = "swap"
    max_distance: int | None = Field(None, ge=1, description="words between their places at most; None: as the paper")


class Deletion(Method):
    """Words are left out (EDA's RD)."""

    type: Literal["deletion"] = "deletion"


class Characters(Method):
    """Words are mistyped, each by one character and never in its first one."""

    type: Literal["characters"] = "characters"
    typos: tuple[Typo, ...] = Field(
        ("keyboard", "swap", "drop", "double"),
        min_length=1,
        description="keyboard: a neighbour on QWERTY; swap: with the next; drop: left out; double: typed twice",
    )
    min_characters: int = Field(4, ge=2, description="shorter words are left alone, but for scripts without blanks")


class Entities(Method):
    """Token tasks in BIO: an entity gives way to another of its type, from the training side."""

    type: Literal["entities"] = "entities"
    rate: Rate = 0.5


class Substitution(Method):
    """Words give way to what a masked language model would say there (Kobayashi, 2018, arXiv:1805.06201)."""

    type: Literal["mlm"] = "mlm"
    folder: str = Field(min_length=1, description="a model folder with a masked-word head: transformers' or ours")
    rate: Rate = 0.15
    top_k: int = Field(10, ge=1, description="drawn among the so many most probable words, by their probability")


class BackTranslation(Method):
    """The text is translated and translated back (Sennrich et al., 2016, arXiv:1511.06709); rate is not used."""

    type: Literal["back_translation"] = "back_translation"
    there: str = Field(min_length=1, description="a seq2seq model folder from the texts' language to another")
    back: str = Field(min_length=1, description="one from that language to the texts'")


AnyMethod = Annotated[
    Synonyms | Insertion | Swap | Deletion | Characters | Entities | Substitution | BackTranslation,
    Field(discriminator="type"),
]
NEED_SYNONYMS = ("synonyms", "insertion")


class SynonymFile(Config):
    """A file of one's own."""

    type: Literal["file"] = "file"
    path: str = Field(min_length=1, description="UTF-8; a line is a set: words or phrases, commas or tabs between them")


class WordNet(Config):
    """WordNet's database (Miller, 1995): the files data.* and index.*, as Debian's wordnet-base installs them."""

    type: Literal["wordnet"] = "wordnet"
    path: str = Field("/usr/share/wordnet", min_length=1)
    senses: int = Field(1, ge=1, description="so many of a word's most frequent meanings count")


class Vectors(Config):
    """Nearest neighbours among word vectors. Opposites are neighbours too: `label_guard` drops most of what they do.

    Measured by eye: 12,000 film reviews give fair synonyms (film: movie; funny: amusing), 2,400 give poor ones.
    """

    type: Literal["vectors"] = "vectors"
    path: str | None = Field(None, description="vectors in word2vec's text format; None: trained on the training side")
    dimensions: int = Field(100, ge=2)
    epochs: int = Field(30, ge=1)
    min_count: int = Field(10, ge=1, description="rarer words get no vector")
    top_k: int = Field(3, ge=1)
    min_similarity: float = Field(0.4, gt=0, lt=1)


AnyThesaurus = Annotated[SynonymFile | WordNet | Vectors, Field(discriminator="type")]


class AugmentConfig(Config):
    """Changed copies of the training examples, which keep their labels.

    The defaults are those of EDA for some thousand examples (Wei and Zou, 2019, arXiv:1901.11196): a tenth of the
    words, four copies, one by each operation; without a thesaurus, the two operations that need none.
    """

    methods: tuple[AnyMethod, ...] = Field((Swap(), Deletion()), min_length=1)
    thesaurus: AnyThesaurus | None = Field(None, description="where synonyms come from")
    language: str = Field("en", pattern=r"^[a-z]{2,3}$", description="whose function words are left alone")
    keep_negations: bool = Field(True, description="not, never, nobody, 不, ...: without them the label would be wrong")
    protected: tuple[str, ...] = Field((), description="further words that are never changed, in any case")
    min_words: int = Field(4, ge=1, description="shorter texts only get typos: their label hangs on each word")
    max_share: float = Field(0.9, gt=0, lt=1, description="changed copies among all examples of the result, at most")
    near: float = Field(
        0.6,
        gt=0,
        le=1,
        description="Jaccard similarity of word 3-grams from which two texts are nearly equal; one word of twenty "
        "replaced leaves 0.7",
    )
    label_guard: float | None = Field(
        2.0,
        gt=0,
        description="sequence tasks with one class: a copy goes where a naive Bayes model of the training side gives "
        "its label log odds lower by more than this; None: off",
    )

    @model_validator(mode="after")
    def _synonyms_from_somewhere(self) -> AugmentConfig:
        for method in self.methods:
            if self.thesaurus is None and (method.type == "synonyms" or getattr(method, "words", "") == "synonyms"):
                raise ValueError(
                    f"{method.type} needs a thesaurus: set thesaurus.type to file, wordnet or vectors"
                    + ("; or words = 'own'" if method.type == "insertion" else "")
                )
        return self


class PseudoLabelConfig(Config):
    """Which of a model's own answers become labels (Lee, 2013)."""

    threshold: float | None = Field(0.95, gt=0, le=1, description="probability from which an answer counts; None: off")
    top_share: float | None = Field(None, gt=0, le=1, description="of each class, so large a share: the surest")
    class_balanced: bool = Field(False, description="as many of each class as of the rarest that got any")
    max_per_class: int | None = Field(None, ge=1)
    min_agreement: float = Field(1.0, gt=0, le=1, description="share of the seeds that must name the class")
    temperature: float = Field(1.0, gt=0, description="probabilities are raised to 1 / this: a fitted one calibrates")
    near: float = Field(0.6, gt=0, le=1, description="texts nearly equal to validation or test texts are dropped")

    @model_validator(mode="after")
    def _some_rule(self) -> PseudoLabelConfig:
        if self.threshold is None and self.top_share is None:
            raise ValueError("set threshold, top_share or both: else every answer would become a label")
        return self


Strategy = Literal["least_confidence", "margin", "entropy", "vote_entropy", "kl", "k_center", "random"]


class ActiveLearningConfig(Config):
    """Which examples a person should label next (Settles, 2009, names the strategies; k-center: arXiv:1708.00489)."""

    strategy: Strategy = Field("margin", description="vote_entropy and kl need answers of two seeds or more")
    diverse_among: float | None = Field(
        None, gt=1, description="so many times n by the strategy, and of these n far from each other (k-center)"
    )
