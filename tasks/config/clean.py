"""From raw pages or lines to documents."""

from __future__ import annotations

from pydantic import Field

from bert_core.config import Config


class RecordSelector(Config):
    """How to read labelled records out of a page, by CSS selectors.

    A page on which `item` matches nothing has no records of this kind. Selectors other than `item` are relative to it.
    """

    kind: str = Field(description="for example review or plot")
    item: str = Field(description="one match a record")
    text: str = Field(description="the record's text, inside the item; '' is the item itself")
    label: str | None = Field(None, description="element whose text, lower-cased, is the label")


class CleanConfig(Config):
    """From raw pages or lines to documents: extraction, normalisation, sentences, language, quality."""

    language: str = Field("en", pattern=r"^[a-z]{2,3}$", description="ISO 639 code; other languages are dropped")
    min_language_score: float = Field(0.5, ge=0, le=1)
    records: tuple[RecordSelector, ...] = ()
    labels: tuple[str, ...] = Field((), description="legal labels; a record with another one is dropped")
    page_text: bool = Field(True, description="pages without records give their main text as one document")
    min_characters: int = Field(10, ge=1)
    max_characters: int = Field(100_000, ge=1)
    min_letter_share: float = Field(0.6, ge=0, le=1, description="letters among the non-blank characters")
    max_repeated_line_share: float = Field(0.3, ge=0, le=1, description="Gopher: lines that repeat in a document")
    boilerplate_pages: int = Field(20, ge=2, description="a line seen on this many pages is boilerplate")
