"""The reader of a source. The crawl of a web site has its own (tasks/text/web)."""

from __future__ import annotations

from tasks.artifacts import home
from tasks.config.sources import (
    DatasetSource,
    FilesSource,
    PackageSource,
    WarcSource,
    WikipediaSource,
)
from tasks.text.sources.dataset import HubReader, SavedDatasetReader
from tasks.text.sources.files import FilesReader
from tasks.text.sources.package import PackageReader
from tasks.text.sources.raw import Reader
from tasks.text.sources.warc import WarcReader
from tasks.text.sources.wikipedia import WikipediaReader


def reader(source: FilesSource | WarcSource | WikipediaSource | DatasetSource | PackageSource) -> Reader:
    """A reader that pickles, with the home folder as it is now: a worker elsewhere needs no environment."""
    if isinstance(source, FilesSource):
        return FilesReader(source, home(), source.paths, source.exclude)
    if isinstance(source, WarcSource):
        return WarcReader(source, home())
    if isinstance(source, WikipediaSource):
        return WikipediaReader(source, home())
    if isinstance(source, PackageSource):
        return PackageReader(source, home())
    return SavedDatasetReader(source, home()) if source.path is not None else HubReader(source)
