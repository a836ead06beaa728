"""Real websites out of Debian packages: thousands of pages of prose and reference to crawl without a network.

    python -m infra.corpora fetch [NAME ...] [--folder F]
    python -m infra.corpora serve [NAME ...] [--port 8500]

Guarantees: a tree holds exactly the files of the pinned packages. Packages are fetched by apt-get and checked against
their sha256 before they are unpacked; a tree is published by rename. Running it again checks every file and fetches
only what is missing or damaged. `serve` is a plain static site on loopback, each tree under its name.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bert_core.files import file_sha256, write_json
from infra.data import DataError
from infra.deb import DebError, unpack
from infra.static_site import serve
from tasks.artifacts import home

APT_TIMEOUT_S = 900


@dataclass(frozen=True)
class DebianPackage:
    """Pinned to what Debian 12's last point release has: its archive keeps that, unlike the security updates."""

    name: str
    version: str
    sha256: str
    """Of the .deb."""
    prefix: str
    """The folder in the package that becomes the site's root."""

    @property
    def pin(self) -> str:
        return f"{self.name}={self.version}"


@dataclass(frozen=True)
class Corpus:
    """One site."""

    name: str
    about: str
    entry: str
    """The page to begin at, below the site's root."""
    packages: tuple[DebianPackage, ...]


CORPORA = (
    Corpus(
        "anarchism",
        "An Anarchist FAQ: 143 long pages of English prose (GFDL)",
        "index.html",
        (
            DebianPackage(
                "anarchism",
                "15.3-3",
                "cf21c10948b00e923c62eb31c39a3390413fa26c5ee0e3b925feb0ec7fe42948",
                "usr/share/doc/anarchism/html",
            ),
        ),
    ),
    Corpus(
        "linux-doc-6.1",
        "The Linux kernel's documentation: 3,186 pages by Sphinx (GPL-2)",
        "index.html",
        (
            DebianPackage(
                "linux-doc-6.1",
                "6.1.176-1",
                "0d843674607703b9ef8c1db5e715c38ed52ff23574feabfe0d961d552126859f",
                "usr/share/doc/linux-doc-6.1/html",
            ),
        ),
    ),
    Corpus(
        "libreoffice-help",
        "LibreOffice's help in English: 2,563 short pages, most of each page its menu (MPL-2)",
        "en-US/text/shared/05/new_help.html",
        (
            DebianPackage(
                "libreoffice-help-en-us",
                "4:7.4.7-1+deb12u14",
                "8faa840285734d6cfe1ed25537b48f07e74bd6412e3917bf8e5f8a653f7b3712",
                "usr/share/libreoffice/help",
            ),
            DebianPackage(
                "libreoffice-help-common",
                "4:7.4.7-1+deb12u14",
                "cb2614d0d6c55d58ad3a20b6d788ca93df8f4c70baeec269f078aa8ab3100f86",
                "usr/share/libreoffice/help",
            ),
        ),
    ),
    Corpus(
        "debian-handbook",
        "The Debian Administrator's Handbook in 26 languages: 3,302 pages by DocBook (GPL-2 or CC-BY-SA-3)",
        "en-US/index.html",
        (
            DebianPackage(
                "debian-handbook",
                "11.20220922",
                "3d5dbeac1f1afc9c094eab9d0f701f6ecff99c4927d5a4794cf6c85678134faa",
                "usr/share/doc/debian-handbook/html",
            ),
        ),
    ),
)


def ensure_corpora(folder: Path, corpora: Sequence[Corpus] = CORPORA) -> list[str]:
    """Bring `folder/<name>/` to hold each corpus; returns the names of those that had to be made.

    Raises:
        DataError: apt-get failed, the archive no longer has a pinned version, or a package has another sha256.
    """
    made = []
    for corpus in corpora:
        if not is_intact(folder, corpus):
            print(f"fetching {', '.join(package.pin for package in corpus.packages)}: {corpus.about}", flush=True)
            build(folder, corpus)
            made.append(corpus.name)
    return made


def is_intact(folder: Path, corpus: Corpus) -> bool:
    """Whether the tree has every byte that its packages put there, and no file more."""
    try:
        manifest = json.loads(_manifest(folder, corpus).read_text("utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return bool(manifest == {"packages": _pins(corpus), "files": hash_tree(folder / corpus.name)})


def build(folder: Path, corpus: Corpus) -> None:
    """Fetch, check and unpack the packages beside the tree, and put that in its place. The manifest comes last."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{corpus.name}.", dir=folder) as temporary:
        tree = Path(temporary) / "tree"
        for package in corpus.packages:
            try:
                unpack(download(package, Path(temporary) / package.name), package.prefix, tree)
            except DebError as error:
                raise DataError(f"{package.pin}: {error}; run it again") from None
        _manifest(folder, corpus).unlink(missing_ok=True)
        shutil.rmtree(folder / corpus.name, ignore_errors=True)
        os.replace(tree, folder / corpus.name)
    write_json(_manifest(folder, corpus), {"packages": _pins(corpus), "files": hash_tree(folder / corpus.name)})


def download(package: DebianPackage, folder: Path) -> Path:
    """The package's .deb, fetched by apt-get into `folder` and checked against its hash."""
    folder.mkdir(parents=True, exist_ok=True)
    problem = apt("download", package.pin, folder=folder)
    if problem:  # package lists that are absent or older than the mirror look the same: read them anew, once
        problem = apt("update", folder=folder)
        problem = apt("download", package.pin, folder=folder) + (f"\napt-get update: {problem}" if problem else "")
    debs = list(folder.glob("*.deb"))
    if not debs:
        raise DataError(
            f"{package.pin}: apt-get download failed: {problem}\n"
            f"The package lists of this machine offer: {offered(package.name)}. If the pinned version is gone from "
            f"the archive (or this is not Debian 12), pin one that is offered: in infra/corpora.py, the version and "
            f"the SHA256 that `apt-cache show {package.name}` prints for it. Where the lists are empty, "
            f"run `sudo apt-get update` first"
        )
    if (found := file_sha256(debs[0])) != package.sha256:
        raise DataError(
            f"{debs[0].name}: expected sha256 {package.sha256}, found {found}. Nothing was unpacked. "
            f"Run it again; if the hash stays wrong, the mirror serves another file than the one that was pinned"
        )
    return debs[0]


def apt(*arguments: str, folder: Path) -> str:
    """Run apt-get in `folder`; returns its complaint, "" when it succeeded."""
    try:
        result = subprocess.run(
            ["apt-get", "--quiet", *arguments], cwd=folder, capture_output=True, text=True, timeout=APT_TIMEOUT_S
        )
    except FileNotFoundError:
        return "there is no apt-get here; these packages are fetched on Debian or a system made from it"
    except subprocess.TimeoutExpired:
        return f"it took more than {APT_TIMEOUT_S} s; run it again"
    return (result.stderr.strip() or f"exit code {result.returncode}")[-2000:] if result.returncode else ""


def offered(name: str) -> str:
    """The versions that the machine's package lists have of a package."""
    try:
        result = subprocess.run(["apt-cache", "madison", name], capture_output=True, text=True, timeout=60)
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return "nothing"
    versions = [line.split("|")[1].strip() for line in result.stdout.splitlines() if line.count("|") == 2]
    return ", ".join(dict.fromkeys(versions)) or "nothing"


def hash_tree(tree: Path) -> dict[str, str]:
    """sha256 of each file by its path below `tree`, sorted."""
    return {path.relative_to(tree).as_posix(): file_sha256(path) for path in sorted(tree.rglob("*")) if path.is_file()}


def _manifest(folder: Path, corpus: Corpus) -> Path:
    return folder / f"{corpus.name}.json"  # beside the tree, so that it is no page of the site


def _pins(corpus: Corpus) -> dict[str, str]:
    return {package.pin: package.sha256 for package in corpus.packages}


def main(arguments: list[str] | None = None) -> int:
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.names) - set(names()):
        parser.error(f"{', '.join(sorted(unknown))}: not one of {', '.join(names())}")
    folder = (options.folder or home() / "data" / "corpora").resolve()
    chosen = [corpus for corpus in CORPORA if corpus.name in (options.names or names())]
    if options.command == "serve":
        absent = [corpus.name for corpus in chosen if not (folder / corpus.name).is_dir()]
        if absent:
            message = f"{folder}: lacks {', '.join(absent)}; `make corpora` (python -m infra.corpora) fetches them"
            print(message, file=sys.stderr)
            return 1
        serve(folder, {corpus.name: corpus.entry for corpus in chosen}, options.host, options.port, options.log)
        return 0
    try:
        ensure_corpora(folder, chosen)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    for corpus in chosen:
        pages = list((folder / corpus.name).rglob("*.html"))
        size = sum(page.stat().st_size for page in pages)
        print(f"{len(pages):>6,} pages {size:>12,} bytes  {folder / corpus.name}")
    return 0


def names() -> list[str]:
    return [corpus.name for corpus in CORPORA]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m infra.corpora",
        description="Fetch real sites out of Debian packages, or serve them on loopback.",
        epilog="Corpora: " + "; ".join(f"{corpus.name}: {corpus.about}" for corpus in CORPORA),
    )
    parser.add_argument("command", nargs="?", choices=("fetch", "serve"), default="fetch")
    parser.add_argument("names", nargs="*", metavar="NAME", help="default: all of them")
    parser.add_argument("--folder", type=Path, help="default: data/corpora in the home folder (BERT_FOUNDRY_HOME)")
    parser.add_argument("--port", type=int, default=8500, help="of serve (default: %(default)s)")
    parser.add_argument("--host", default="127.0.0.1", help="of serve: address to listen on (default: %(default)s)")
    parser.add_argument("--log", type=Path, metavar="FILE", help="of serve: append one JSON line a request to FILE")
    return parser


if __name__ == "__main__":
    sys.exit(main())
