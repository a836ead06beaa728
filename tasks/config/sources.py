"""Where text comes from: one section a source, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from bert_core.config import Config
from tasks.config.web import WebSource


class LinesFile(Config):
    """A text file of one document a line."""

    path: str = Field(description="relative to the home folder (BERT_FOUNDRY_HOME, by default .foundry)")
    kind: str = Field("text", description="what the documents are, for example review")
    label: str | None = Field(None, description="label of every line")
    format: Literal["plain", "tagged"] = Field("plain", description="tagged: word/tag word/tag ...; the tags go")


class FilesSource(Config):
    """Text files that are already on disk."""

    type: Literal["files"] = "files"
    files: tuple[LinesFile, ...] = Field(min_length=1)


Source = Annotated[WebSource | FilesSource, Field(discriminator="type")]
