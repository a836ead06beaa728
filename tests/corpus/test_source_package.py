"""Source package: the real clients against registries on loopback, and archives that try to write elsewhere."""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.text.documents import CorpusError
from tasks.text.sources.archives import unpack
from tasks.text.sources.fetching import NoClient, fetch
from tasks.text.sources.package import ensure_package, kept_archive, package_folder
from tests.corpus.registries import APT, NPM, PIP, VERSION, Ecosystem, Registry, absent_client, running, sdist
from tests.corpus.source_reading import read_all


@pytest.fixture(scope="module", params=[PIP, NPM, APT], ids=lambda ecosystem: ecosystem.name)
def registry(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    ecosystem: Ecosystem = request.param
    if why := absent_client(ecosystem):
        pytest.skip(why)
    with running(ecosystem, tmp_path_factory.mktemp("client")) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_package_is_fetched_once_and_read_as_files_are(registry: Registry, home: Path) -> None:
    source = registry.source()
    documents, unreadable = read_all(source)
    url = f"pkg:{registry.ecosystem.purl}/tiny@{VERSION}!{registry.ecosystem.inside}tiny/"
    assert [each.url for each in documents] == [url + "a.txt", url + "b.md"]
    assert [(each.body, each.text) for each in documents] == [(b"hello", None), (None, "hello")]
    assert unreadable == []
    asked = list(registry.asked)
    assert asked
    assert read_all(source) == (documents, unreadable)
    other = ensure_package(registry.source(files=("tiny/*.txt",)), home)  # from the archive that is kept
    assert [path.name for path in other.rglob("*") if path.is_file()] == ["a.txt"]
    assert registry.asked == asked


def test_a_damaged_archive_is_fetched_again(registry: Registry, home: Path) -> None:
    ensure_package(registry.source(), home)
    archive = kept_archive(home, registry.sha256())
    assert archive is not None
    archive.write_bytes(archive.read_bytes()[:-100])
    assert kept_archive(home, registry.sha256()) is None
    assert ensure_package(registry.source(files=("tiny/*.md",)), home).is_dir()
    assert kept_archive(home, registry.sha256()) == archive


def test_another_hash_is_refused_and_shown(registry: Registry, home: Path) -> None:
    with pytest.raises(CorpusError, match=f"expected sha256 {'0' * 64}, found {registry.sha256()}"):
        ensure_package(registry.source(sha256="0" * 64), home)
    assert not [path for path in home.rglob("*") if path.is_file()]


def test_a_version_that_is_not_there(registry: Registry, home: Path) -> None:
    with pytest.raises(CorpusError, match=f"(?s)9.9.9: .* failed; check name.*{registry.ecosystem.missing}"):
        ensure_package(registry.source(version="9.9.9"), home)


def test_a_package_with_a_path_outside_is_refused_whole(registry: Registry, home: Path) -> None:
    source = registry.source("evil")
    with pytest.raises(CorpusError, match=r"evil\.txt' leads outside the archive; nothing of it is used"):
        ensure_package(source, home)
    assert not package_folder(source, home).exists()
    assert not [path for path in home.parent.rglob("*.txt") if path.is_file()]


def test_no_file_matches(registry: Registry, home: Path) -> None:
    with pytest.raises(CorpusError, match=r"no file matches .*nothing/\*\*"):
        ensure_package(registry.source(files=("nothing/**",)), home)


def test_nothing_of_a_source_distribution_runs_before_its_hash_is_right(tmp_path: Path) -> None:
    """pip asks an sdist's build backend for its metadata; this one leaves a mark."""
    if why := absent_client(PIP):
        pytest.skip(why)
    mark = tmp_path / "mark"
    with running(PIP, tmp_path, {"tiny": sdist("tiny", mark)}) as registry:
        with pytest.raises(CorpusError, match=f"found {registry.sha256()}"):
            ensure_package(registry.source(sha256="0" * 64), tmp_path)
        assert not mark.exists()
        folder = ensure_package(registry.source(files=(f"tiny-{VERSION}/*.txt",)), tmp_path)
        assert [path.name for path in folder.rglob("*.txt")] == ["a.txt"]
        assert mark.exists()


@pytest.mark.parametrize(("ecosystem", "message"), [("npm", "npm is not inst"), ("debian", "apt-get is not inst")])
def test_a_client_that_is_not_installed(
    ecosystem: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoClient, match=message):
        fetch(ecosystem, "tiny", VERSION, "0" * 64, tmp_path)


def test_a_python_without_pip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "venv/bin/python"))
    with pytest.raises(NoClient, match="has no pip"):
        fetch("pypi", "tiny", VERSION, "0" * 64, tmp_path)


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
    if not shutil.which("dpkg-deb"):
        pytest.skip("dpkg-deb is not installed")
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
