"""From pages to text: how the main text of a page is found, and what a page may cost."""

from __future__ import annotations

from typing import Literal

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


class ExtractConfig(Config):
    """Main text, headings, title, date and language of a page; labelled records where selectors are given."""

    engine: Literal["auto", "fast", "trafilatura"] = Field(
        "auto", description="auto: the fast one, and trafilatura where that is not sure of what it found"
    )
    records: tuple[RecordSelector, ...] = ()
    page_text: bool = Field(True, description="pages without records give their main text as one document")
    keep_tables: bool = Field(True, description="rows of data tables, one a line, cells parted by ' | '")
    dates: Literal["none", "meta", "search"] = Field(
        "meta", description="meta: what the page states; search: else htmldate's guess, ten times the page's time"
    )
    max_page_bytes: int = Field(10_000_000, ge=1_000, le=100_000_000, description="larger pages are dropped")
    max_depth: int = Field(250, ge=10, le=2_000, description="elements inside each other; deeper pages are dropped")
    timeout_s: float = Field(10.0, gt=0, le=600, description="for one page; it is dropped when this is over")
