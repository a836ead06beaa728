"""Which texts and lines are good enough, and how text is spelt."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from bert_core.config import Config

Preset = Literal["gopher", "c4", "fineweb"]
CharacterPolicy = Literal["keep", "drop", "space"]
Share = Field(None, ge=0, le=1)
NGRAM_SIZES = (2, 3, 4, 5, 6, 7, 8, 9, 10)

PUBLISHED: dict[Preset, dict[str, Any]] = {
    "gopher": {
        "gopher_min_words": 50,
        "gopher_max_words": 100_000,
        "gopher_mean_word_length": (3.0, 10.0),
        "gopher_max_symbol_ratio": 0.1,
        "gopher_max_bullet_lines": 0.9,
        "gopher_max_ellipsis_lines": 0.3,
        "gopher_min_alpha_words": 0.8,
        "gopher_min_stop_words": 2,
        "gopher_max_duplicate_lines": 0.3,
        "gopher_max_duplicate_paragraphs": 0.3,
        "gopher_max_duplicate_line_characters": 0.2,
        "gopher_max_duplicate_paragraph_characters": 0.2,
        "gopher_max_top_ngrams": (0.20, 0.18, 0.16),
        "gopher_max_duplicate_ngrams": (0.15, 0.14, 0.13, 0.12, 0.11, 0.10),
    },
    "c4": {
        "c4_terminal_punctuation": True,
        "c4_min_words_per_line": 3,
        "c4_max_word_length": 1_000,
        "c4_min_sentences": 5,
        "c4_curly_brackets": True,
        "c4_lorem_ipsum": True,
        "c4_javascript_lines": True,
        "c4_policy_lines": True,
        "c4_citations": True,
    },
    "fineweb": {
        "fineweb_min_punctuated_lines": 0.12,
        "fineweb_max_short_lines": 0.67,
        "fineweb_max_duplicate_characters": 0.01,
        "fineweb_max_newlines_per_word": 0.3,
    },
}
"""As published: Gopher, arXiv 2112.11446, appendix A.1.1 and table A1; C4, arXiv 1910.10683, section 2.2, and its code
in TensorFlow Datasets, `c4_utils.py`; FineWeb, arXiv 2406.17557, section 3.6, and its code in datatrove."""


class BadWords(Config):
    """A list of words of which one is enough to drop a page."""

    language: str = Field(pattern=r"^[a-z]{2,3}$", description="ISO 639 code of the texts that it is for")
    path: str = Field(min_length=1, description="UTF-8, one word or phrase a line; relative to the home folder")


class QualityConfig(Config):
    """One threshold a rule; None = the rule is off, or as a preset has it. `tasks/text/quality` says what each does."""

    presets: tuple[Preset, ...] = Field((), description="published thresholds, where the recipe sets none")
    off: tuple[str, ...] = Field((), description="rules that stay off although a preset has them")

    min_characters: int | None = Field(10, ge=1)
    max_characters: int | None = Field(100_000, ge=1)
    min_letter_share: float | None = Field(0.6, ge=0, le=1, description="letters among the non-blank characters")
    min_sentenced_share: float | None = Field(0.5, ge=0, le=1, description="characters in lines that end a sentence")

    gopher_min_words: int | None = Field(None, ge=1)
    gopher_max_words: int | None = Field(None, ge=1)
    gopher_mean_word_length: tuple[float, float] | None = Field(None, description="characters: at least, at most")
    gopher_max_symbol_ratio: float | None = Field(None, ge=0, description="'#', or '…', to each word")
    gopher_max_bullet_lines: float | None = Share
    gopher_max_ellipsis_lines: float | None = Share
    gopher_min_alpha_words: float | None = Share
    gopher_min_stop_words: int | None = Field(None, ge=1, description="different ones")
    gopher_max_duplicate_lines: float | None = Field(0.3, ge=0, le=1)
    gopher_max_duplicate_paragraphs: float | None = Share
    gopher_max_duplicate_line_characters: float | None = Share
    gopher_max_duplicate_paragraph_characters: float | None = Share
    gopher_max_top_ngrams: tuple[float, float, float] | None = Field(None, description="of 2, 3 and 4 words")
    gopher_max_duplicate_ngrams: tuple[float, float, float, float, float, float] | None = Field(
        None, description="of 5, 6, 7, 8, 9 and 10 words"
    )

    c4_terminal_punctuation: bool | None = Field(None, description="drop lines without a terminal mark")
    c4_min_words_per_line: int | None = Field(None, ge=1)
    c4_max_word_length: int | None = Field(None, ge=1, description="characters; longer ones take their line along")
    c4_min_sentences: int | None = Field(None, ge=1)
    c4_curly_brackets: bool | None = Field(None, description="drop texts with {")
    c4_lorem_ipsum: bool | None = Field(None, description="drop texts with it")
    c4_javascript_lines: bool | None = Field(None, description="drop lines that mention it")
    c4_policy_lines: bool | None = Field(None, description="drop lines on cookies and terms of use")
    c4_citations: bool | None = Field(None, description="take [1], [edit] and [citation needed] out of lines")
    c4_bad_words: tuple[BadWords, ...] = Field((), description="none is shipped and no preset has one")

    fineweb_min_punctuated_lines: float | None = Share
    fineweb_max_short_lines: float | None = Share
    fineweb_max_duplicate_characters: float | None = Share
    fineweb_max_newlines_per_word: float | None = Field(None, ge=0)

    @model_validator(mode="after")
    def _known_rules(self) -> QualityConfig:
        legal = sorted(set(type(self).model_fields) - {"presets", "off"})
        if unknown := sorted(set(self.off) - set(legal)):
            raise ValueError(f"off names no rule: {unknown}; legal are {legal}")
        return self

    def resolved(self) -> QualityConfig:
        """With the presets' thresholds filled in and the rules of `off` gone; of two presets the first counts."""
        values = self.model_dump() | {"presets": (), "off": ()}
        for preset in self.presets:
            values |= {name: value for name, value in PUBLISHED[preset].items() if values[name] is None}
        values |= {name: type(self).model_fields[name].default if name == "c4_bad_words" else None for name in self.off}
        return type(self).model_validate(values)


class NormaliseConfig(Config):
    """How text is spelt. The defaults repair what is damaged and leave the author's characters alone."""

    form: Literal["NFC", "NFKC"] = Field("NFC", description="NFKC also folds width, ligatures, superscripts: lossy")
    repair_mojibake: bool = Field(True, description="text that was decoded with the wrong charset")
    control_characters: CharacterPolicy = Field("drop", description="and format characters, but for joiners")
    remnants: bool = Field(False, description="unescape entities again and again, take stray HTML tags out of text")
    private_use: CharacterPolicy = Field("drop", description="characters that mean what a font says")
    emoji: CharacterPolicy = "keep"
    box_drawing: CharacterPolicy = Field("keep", description="lines, blocks and shapes that draw tables")
    symbols: CharacterPolicy = Field("keep", description="arrows, dingbats, mathematical and technical signs")
