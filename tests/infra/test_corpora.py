import hashlib
import io
import json
import os
import stat
import subprocess
import sys
import tarfile
import time
import urllib.error
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from infra.corpora import Corpus, DebianPackage, build, download, ensure_corpora, is_intact, main
from infra.data import DataError
from infra.deb import DebError, unpack
from tests.sites import free_port, get

PREFIX = "usr/share/doc/neat/html"
INDEX = b'<!DOCTYPE html><html><body><a href="guide/one.html">one</a></body></html>'
FILES = {
    f"./{PREFIX}/index.html": INDEX,
    f"./{PREFIX}/guide/index.html": b"<h1>guide</h1>",
    f"./{PREFIX}/guide/one.html": b"<h1>one</h1>",
    "./usr/share/doc/neat/copyright": b"outside of the site",
    f"./{PREFIX}/../../../../../../escaped.html": b"evil",
}


def ar(*members: tuple[str, bytes]) -> bytes:
    archive = b"!<arch>\n"
    for name, data in members:
        archive += f"{name + '/':<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(data):<10}`\n".encode() + data
        archive += b"\n" * (len(data) % 2)
    return archive


def deb_bytes(compression: str = "xz", files: dict[str, bytes] = FILES) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=f"w:{compression}") as archive:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(data), 1_700_000_000
            archive.addfile(info, io.BytesIO(data))
        for name, kind, target in (
            ("hard.html", tarfile.LNKTYPE, f"./{PREFIX}/guide/one.html"),
            ("stray.html", tarfile.LNKTYPE, "./usr/share/doc/neat/copyright"),
            ("soft.html", tarfile.SYMTYPE, "/etc/passwd"),
        ):
            info = tarfile.TarInfo(f"./{PREFIX}/{name}")
            info.type, info.linkname = kind, target
            archive.addfile(info)
    suffix = f".{compression}" if compression else ""
    return ar(("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), (f"data.tar{suffix}", buffer.getvalue()))


def corpus_of(deb: bytes) -> Corpus:
    package = DebianPackage("neat", "1.0-1", hashlib.sha256(deb).hexdigest(), PREFIX)
    return Corpus("neat", "test", "index.html", (package,))


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose .deb files are what `apt-get download` finds; each call adds a line to its `calls`."""
    pool = tmp_path / "pool"
    pool.mkdir()
    scripts = tmp_path / "bin"
    scripts.mkdir()
    (scripts / "apt-get").write_text(
        f'#!/bin/sh\necho "$@" >> {pool}/calls\n[ "$2" = update ] && exit 0\n'
        f'cp {pool}/*.deb . 2>/dev/null || {{ echo "E: Version for neat was not found" >&2; exit 100; }}\n'
    )
    (scripts / "apt-cache").write_text("#!/bin/sh\necho ' neat | 2.0-1 | http://mirror main Packages'\n")
    for script in scripts.iterdir():
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{scripts}:{os.environ['PATH']}")
    return pool


def offer(pool: Path, deb: bytes) -> Corpus:
    (pool / "neat_1.0-1_all.deb").write_bytes(deb)
    return corpus_of(deb)


def tree(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("compression", ["xz", "gz", "bz2", ""])
def test_only_files_below_the_prefix_leave_the_package(tmp_path: Path, compression: str) -> None:
    deb = tmp_path / "neat.deb"
    deb.write_bytes(deb_bytes(compression))
    assert unpack(deb, PREFIX, tmp_path / "deep" / "er" / "site") == 4
    site = tmp_path / "deep" / "er" / "site"
    assert tree(site) == ["guide/index.html", "guide/one.html", "hard.html", "index.html"]
    assert (site / "hard.html").read_bytes() == b"<h1>one</h1>"
    assert (site / "index.html").stat().st_mtime == 1_700_000_000
    assert not list(tmp_path.rglob("escaped.html"))


def test_the_reader_agrees_with_dpkg(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN/control").write_text(
        "Package: neat\nVersion: 1.0\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: test\n"
    )
    (root / PREFIX).mkdir(parents=True)
    (root / PREFIX / "index.html").write_bytes(INDEX)
    try:
        subprocess.run(["dpkg-deb", "-Zxz", "--build", root, tmp_path / "n.deb"], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no dpkg-deb here")
    assert unpack(tmp_path / "n.deb", PREFIX, tmp_path / "site") == 1
    assert (tmp_path / "site/index.html").read_bytes() == INDEX


def test_what_is_no_package_is_named(tmp_path: Path) -> None:
    deb = tmp_path / "neat.deb"
    whole = deb_bytes()
    for data, message in (
        (b"<html>404</html>", "not a Debian package"),
        (whole[:100], "torn, or no data.tar"),
        (whole[:-200], "not a readable package"),
        (ar(("data.tar.lzma", b"")), r"data.tar.lzma: only"),
    ):
        deb.write_bytes(data)
        with pytest.raises(DebError, match=message):
            unpack(deb, PREFIX, tmp_path / "site" / str(len(data)))
    deb.write_bytes(whole)
    with pytest.raises(DebError, match="holds no file under usr/share/other"):
        unpack(deb, "usr/share/other", tmp_path / "other")


def test_fetched_once_and_again_only_when_damaged(apt: Path, tmp_path: Path) -> None:
    corpus, folder = offer(apt, deb_bytes()), tmp_path / "corpora"
    assert ensure_corpora(folder, [corpus]) == ["neat"]
    assert ensure_corpora(folder, [corpus]) == []
    assert (apt / "calls").read_text().splitlines() == ["--quiet download neat=1.0-1"]
    for damage in (
        lambda: (folder / "neat/index.html").write_bytes(INDEX[:-1] + b"x"),
        lambda: (folder / "neat/guide/one.html").unlink(),
        lambda: (folder / "neat/more.html").write_bytes(b"not from the package"),
        lambda: (folder / "neat.json").write_bytes(b'{"torn'),
        lambda: (folder / "neat.json").unlink(),
    ):
        damage()
        assert not is_intact(folder, corpus)
        assert ensure_corpora(folder, [corpus]) == ["neat"]
        assert tree(folder / "neat") == ["guide/index.html", "guide/one.html", "hard.html", "index.html"]
        assert (folder / "neat/index.html").read_bytes() == INDEX
    assert sorted(path.name for path in folder.iterdir()) == ["neat", "neat.json"]


def test_another_pin_builds_anew(apt: Path, tmp_path: Path) -> None:
    corpus, folder = offer(apt, deb_bytes()), tmp_path / "corpora"
    build(folder, corpus)
    newer = offer(apt, deb_bytes(files={f"./{PREFIX}/only.html": b"new", f"./{PREFIX}/guide/one.html": b""}))
    assert ensure_corpora(folder, [newer]) == ["neat"]
    assert tree(folder / "neat") == ["guide/one.html", "hard.html", "only.html"]


def test_a_version_that_is_gone_names_what_is_offered_and_how_to_pin_it(apt: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        download(corpus_of(b"").packages[0], tmp_path / "debs")
    for part in ("neat=1.0-1", "E: Version for neat was not found", "offer: 2.0-1", "apt-cache show neat", "SHA256"):
        assert part in str(caught.value)
    assert (apt / "calls").read_text().splitlines() == [
        "--quiet download neat=1.0-1",
        "--quiet update",
        "--quiet download neat=1.0-1",
    ]


def test_a_wrong_package_changes_nothing(apt: Path, tmp_path: Path) -> None:
    corpus, folder = offer(apt, deb_bytes()), tmp_path / "corpora"
    build(folder, corpus)
    before = (folder / "neat.json").read_bytes()
    wrong = replace(corpus, packages=(replace(corpus.packages[0], sha256="f" * 64),))
    with pytest.raises(DataError, match="expected sha256 ffff"):
        ensure_corpora(folder, [wrong])
    assert is_intact(folder, corpus)
    assert (folder / "neat.json").read_bytes() == before
    assert sorted(path.name for path in folder.iterdir()) == ["neat", "neat.json"]


def test_a_machine_without_apt_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match="there is no apt-get here"):
        download(corpus_of(b"").packages[0], tmp_path / "debs")


def wait_for(url: str) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            get(url)
            return
        except urllib.error.URLError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Address of `serve anarchism`, and the folder that it serves from."""
    folder = tmp_path_factory.mktemp("corpora")
    (folder / "neat.deb").write_bytes(deb_bytes())
    unpack(folder / "neat.deb", PREFIX, folder / "anarchism")
    unpack(folder / "neat.deb", PREFIX, folder / "debian-handbook")
    port = free_port()
    command = [sys.executable, "-m", "infra.corpora", "serve", "anarchism", "--folder", str(folder)]
    server = subprocess.Popen([*command, "--port", str(port), "--log", str(folder / "log")])
    try:
        wait_for(f"http://127.0.0.1:{port}/")
        yield f"http://127.0.0.1:{port}", folder
    finally:
        server.terminate()
        server.wait(20)


def test_it_is_a_static_site(site: tuple[str, Path]) -> None:
    base, _ = site
    status, headers, body = get(base + "/anarchism/index.html")
    assert (status, body) == (200, INDEX)
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["last-modified"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    for known in ({"If_None_Match": headers["etag"]}, {"If_Modified_Since": headers["last-modified"]}):
        assert get(base + "/anarchism/index.html", **known)[::2] == (304, b"")
    assert get(base + "/anarchism/index.html", If_None_Match='"other"')[0] == 200


def test_folders_have_their_index_and_their_slash(site: tuple[str, Path]) -> None:
    base, _ = site
    assert get(base + "/anarchism/")[2] == INDEX
    status, headers, _ = get(base + "/anarchism/guide")
    assert (status, headers["location"]) == (307, f"{base}/anarchism/guide/")
    assert get(base + "/anarchism/guide/")[2] == b"<h1>guide</h1>"
    assert b'href="/anarchism/index.html"' in get(base + "/")[2]


def test_nothing_else_is_served(site: tuple[str, Path]) -> None:
    base, _ = site
    for path in ("/robots.txt", "/anarchism/robots.txt", "/anarchism/absent.html", "/anarchism/%2e%2e/neat.deb"):
        assert get(base + path)[0] == 404, path
    for path in ("/neat.deb", "/log", "/debian-handbook/", "/debian-handbook/index.html"):
        assert get(base + path)[0] == 404, path


def test_requests_are_logged(site: tuple[str, Path]) -> None:
    base, folder = site
    before = len((folder / "log").read_text().splitlines())
    get(base + "/anarchism/index.html")
    get(base + "/anarchism/absent.html")
    found, absent = [json.loads(line) for line in (folder / "log").read_text().splitlines()[before:]]
    assert found == {"method": "GET", "path": "/anarchism/index.html", "status": 200, "bytes": len(INDEX)}
    assert (absent["path"], absent["status"]) == ("/anarchism/absent.html", 404)


def test_an_unknown_corpus_names_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["fetch", "linux-doc-5.10"])
    assert "linux-doc-5.10: not one of anarchism, linux-doc-6.1," in capsys.readouterr().err


def test_serving_what_was_not_fetched_names_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "anarchism", "--folder", str(tmp_path)]) == 1
    assert "make corpora" in capsys.readouterr().err
