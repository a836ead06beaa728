"""What a model must and must not do with texts of a known kind, as a recipe has it: behaviour, bias, robustness."""

from __future__ import annotations

import re
from itertools import chain
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from bert_core.config import Config

PLACEHOLDER = re.compile(r"\{(a:)?(\w+)\}")
"""{name} is a word of the list `name`; {a:name} the same with "a" or "an" before it."""


class Typos(Config):
    """Words mistyped by one character each."""

    type: Literal["typos"] = "typos"
    rate: float = Field(0.1, gt=0, le=1, description="share of the words; one at least")


class Casing(Config):
    type: Literal["casing"] = "casing"
    how: Literal["lower", "upper", "swap", "title"] = "lower"


class Punctuation(Config):
    type: Literal["punctuation"] = "punctuation"
    how: Literal["strip_final", "remove", "double"] = "strip_final"


class Whitespace(Config):
    """Blanks doubled, and some put at both ends."""

    type: Literal["whitespace"] = "whitespace"


class Contractions(Config):
    """English: don't becomes do not, or the other way round."""

    type: Literal["contractions"] = "contractions"
    how: Literal["expand", "contract"] = "expand"


class Words(Config):
    """A word of a list gives way to another of the same list, everywhere in the example."""

    type: Literal["words"] = "words"
    lists: tuple[tuple[str, ...], ...] = Field((), description="words or phrases that are as good as each other")
    shipped: tuple[Literal["names", "cities", "countries"], ...] = Field((), description="lists that come with us")

    @model_validator(mode="after")
    def _something(self) -> Words:
        if not self.lists and not self.shipped:
            raise ValueError("set lists, shipped or both")
        if short := [words for words in self.lists if len(set(words)) < 2]:
            raise ValueError(f"a list needs two words to swap between: {list(short[0])}")
        return self


class Sentence(Config):
    """A sentence that says nothing of the matter is added."""

    type: Literal["sentence"] = "sentence"
    sentences: tuple[str, ...] = Field(min_length=1)
    where: Literal["start", "end"] = "end"


class Regex(Config):
    """Python's re.sub."""

    type: Literal["regex"] = "regex"
    pattern: str = Field(min_length=1)
    replacement: str

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str) -> str:
        try:
            re.compile(pattern)
        except re.error as error:
            raise ValueError(f"not a regular expression: {error}") from None
        return pattern


class SynonymWords(Config):
    """Words replaced by synonyms, from the thesaurus that is handed in."""

    type: Literal["synonyms"] = "synonyms"
    rate: float = Field(0.1, gt=0, le=1)


class EntityNames(Config):
    """Token tasks in BIO: entities give way to others of their type."""

    type: Literal["entities"] = "entities"
    names: dict[str, tuple[str, ...]] = Field(
        {}, description="type -> names, blanks between their tokens; {}: those of the examples themselves"
    )


Perturbation = Annotated[
    Typos | Casing | Punctuation | Whitespace | Contractions | Words | Sentence | Regex | SynonymWords | EntityNames,
    Field(discriminator="type"),
]
Name = Annotated[str, Field(pattern=r"^[\w-]+$", description="of letters, digits, _ and -; gate rules use it")]


class MinimumFunctionality(Config):
    """Simple texts of which everybody knows the answer: templates with words filled in."""

    kind: Literal["mft"] = "mft"
    name: Name
    templates: tuple[str, ...] = Field(min_length=1, description="such as 'I {love} this {thing}.'")
    templates_b: tuple[str, ...] = Field((), description="pair tasks: the second text of each template")
    words: dict[str, tuple[str, ...]] = Field({}, description="the lists that the templates name")
    expected: str | tuple[str, ...] | None = Field(None, description="the label; kind multi: a list of labels")
    expected_between: tuple[float, float] | None = Field(None, description="regression: lowest and highest value")
    samples: int | None = Field(None, ge=1, description="drawn among all combinations; None: all, 10,000 at most")

    @model_validator(mode="after")
    def _templates_fit(self) -> MinimumFunctionality:
        named = {found[1] for text in (*self.templates, *self.templates_b) for found in PLACEHOLDER.findall(text)}
        if missing := sorted(named - set(self.words)):
            raise ValueError(f"templates name lists that words lacks: {missing}; it has {sorted(self.words)}")
        if unused := sorted(set(self.words) - named):
            raise ValueError(f"no template names these lists of words: {unused}")
        if empty := [name for name, words in self.words.items() if not words]:
            raise ValueError(f"lists without a word: {empty}")
        if self.templates_b and len(self.templates_b) != len(self.templates):
            raise ValueError(f"{len(self.templates)} templates and {len(self.templates_b)} templates_b: not in pairs")
        if (self.expected is None) == (self.expected_between is None):
            raise ValueError("set exactly one of expected (a label) and expected_between (regression)")
        return self


class Given(Config):
    """Examples that are changed: those named here, or else of the test side."""

    name: Name
    texts: tuple[str, ...] = Field((), description="sequence tasks; (): examples of the test side")
    max_examples: int = Field(500, ge=1, description="of those to which the change applies, drawn at random")


class Invariance(Given):
    """A change that means nothing must not change the answer."""

    kind: Literal["invariance"] = "invariance"
    perturbation: Perturbation
    tolerance: float = Field(0.0, ge=0, description="regression: by how much the value may change")


class Direction(Given):
    """A phrase that speaks for or against a label must not move its probability the other way."""

    kind: Literal["direction"] = "direction"
    add: tuple[str, ...] = Field(min_length=1, description="phrases; one of them is added to each example")
    where: Literal["start", "end"] = "end"
    label: str | None = Field(None, description="whose probability is looked at; regression: None, the value")
    must_not: Literal["fall", "rise"]
    tolerance: float = Field(0.1, ge=0, description="by how much it may all the same")


BehaviourTest = Annotated[MinimumFunctionality | Invariance | Direction, Field(discriminator="kind")]
Terms = dict[str, tuple[str, ...]]


class BiasConfig(Config):
    """Groups of people by the terms that name them; each axis holds two groups or more.

    The i-th term of a group is swapped for the i-th of another; an axis of a shipped name adds to what is shipped.
    """

    shipped: tuple[Literal["gender"], ...] = ("gender",)
    axes: dict[str, Terms] = Field({}, description="axis -> group -> terms; a term with a capital is a name")
    max_examples: int = Field(2_000, ge=1, description="that mention a group, for each axis, drawn at random")

    @model_validator(mode="after")
    def _groups_differ(self) -> BiasConfig:
        for axis, groups in self.axes.items():
            if len(groups) < 2 and axis not in self.shipped:
                raise ValueError(f"axis {axis!r} has groups {sorted(groups)}: two at least")
            terms = [term.lower() for term in chain.from_iterable(groups.values())]
            if twice := sorted({term for term in terms if terms.count(term) > 1}):
                raise ValueError(f"axis {axis!r}: terms of two groups, or twice: {twice}")
        if not self.axes and not self.shipped:
            raise ValueError("set axes, shipped or both")
        return self


ROBUSTNESS: dict[str, Perturbation] = {
    "typos": Typos(),
    "lower": Casing(how="lower"),
    "upper": Casing(how="upper"),
    "swapped_case": Casing(how="swap"),
    "no_punctuation": Punctuation(how="remove"),
    "double_punctuation": Punctuation(how="double"),
    "whitespace": Whitespace(),
    "expanded": Contractions(how="expand"),
    "contracted": Contractions(how="contract"),
    "synonyms": SynonymWords(),
}
"""Name -> change, of what is tried by default."""


class RobustnessConfig(Config):
    """The whole test side, changed in ways that a reader would not mind."""

    perturbations: dict[Name, Perturbation] = Field(ROBUSTNESS, description="name -> change")
    max_examples: int = Field(5_000, ge=1, description="of the test side, drawn at random")


class BehaviourConfig(Config):
    """What the metrics of the test side do not show. `bias` and `robustness` are off without their sections."""

    tests: tuple[BehaviourTest, ...] = ()
    bias: BiasConfig | None = None
    robustness: RobustnessConfig | None = None
    max_failures: int = Field(20, ge=0, description="shown of each test")
    confidence: float = Field(0.95, gt=0, lt=1)
    bootstrap_samples: int = Field(2_000, ge=100)
    language: str = Field("en", pattern=r"^[a-z]{2,3}$")

    @model_validator(mode="after")
    def _names_differ(self) -> BehaviourConfig:
        names = [test.name for test in self.tests]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"tests of one name: {twice}")
        return self
