"""Package registries on loopback, with tiny packages made here, for the real clients: pip, npm and apt-get."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tasks.config.sources import PackageSource

VERSION = "1.0.0"
GOOD = {"tiny/a.txt": b"hello", "tiny/b.md": b"# hello"}
EVIL = {"tiny/a.txt": b"hello", "../evil.txt": b"evil"}


@dataclass(frozen=True)
class Ecosystem:
    name: str
    archive: Callable[[str, dict[str, bytes]], bytes]
    """(package's name, its files) to the bytes of its archive."""
    pages: Callable[[str, dict[str, bytes]], dict[str, bytes]]
    """(the registry's address, archives by package) to what the registry serves, by path."""
    variables: Callable[[str, Path], dict[str, str]]
    """(the registry's address, an empty folder) to the environment in which the client asks nobody else."""
    purl: str
    """Its type in a package URL."""
    inside: str
    """The folder in the archive that the files are in."""
    missing: str
    """Part of what the client says of a version that is not there."""


@dataclass
class Registry:
    """A running one, which has the packages `tiny` and `evil` unless told otherwise."""

    ecosystem: Ecosystem
    archives: dict[str, bytes]
    asked: list[str] = field(default_factory=list)
    """The paths of all requests."""

    def sha256(self, package: str = "tiny") -> str:
        return hashlib.sha256(self.archives[package]).hexdigest()

    def source(
        self, package: str = "tiny", files: tuple[str, ...] = ("tiny/*",), sha256: str = "", version: str = VERSION
    ) -> PackageSource:
        return PackageSource.model_validate(
            {
                "ecosystem": self.ecosystem.name,
                "package": package,
                "version": version,
                "sha256": sha256 or self.sha256(package),
                "files": [self.ecosystem.inside + pattern for pattern in files],
            }
        )


@contextmanager
def running(ecosystem: Ecosystem, folder: Path, archives: dict[str, bytes] | None = None) -> Iterator[Registry]:
    """A registry, and the environment that leads its client there; `folder` is for the client's own state."""
    archives = archives or {
        name: ecosystem.archive(name, files) for name, files in {"tiny": GOOD, "evil": EVIL}.items()
    }
    registry = Registry(ecosystem, archives)
    pages: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append(self.path)
            body = pages.get(self.path)
            self.send_response(404 if body is None else 200)
            self.send_header("Content-Type", "application/json" if (body or b"")[:1] == b"{" else "text/html")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server, pytest.MonkeyPatch.context() as patch:
        base = f"http://127.0.0.1:{server.server_port}"
        pages.update(ecosystem.pages(base, archives))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            for variable in [name for name in os.environ if name.lower().startswith(("pip_", "npm_config_", "apt_"))]:
                patch.delenv(variable)
            for variable, value in {"no_proxy": "127.0.0.1", **ecosystem.variables(base, folder)}.items():
                patch.setenv(variable, value)
            if ecosystem is APT:
                subprocess.run(["apt-get", "--quiet", "update"], check=True, capture_output=True, timeout=60)
            yield registry
        finally:
            server.shutdown()
            thread.join()


def absent_client(ecosystem: Ecosystem) -> str:
    """Why this ecosystem's client cannot be tried on this machine; "" where it can."""
    if ecosystem is PIP:
        return (
            "" if subprocess.run([sys.executable, "-m", "pip", "-V"], capture_output=True).returncode == 0 else "no pip"
        )
    client = {"npm": "npm", "debian": "apt-get"}[ecosystem.name]
    return "" if shutil.which(client) else f"{client} is not installed"


def wheel(name: str, files: dict[str, bytes]) -> bytes:
    about = f"{name}-{VERSION}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {VERSION}\n"
    tags = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        own = {f"{about}/METADATA": metadata.encode(), f"{about}/WHEEL": tags.encode(), f"{about}/RECORD": b""}
        for path, data in (own | files).items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return buffer.getvalue()


def sdist(name: str, mark: Path) -> bytes:
    """A source distribution that brings its own build backend, which makes the file `mark` when it runs."""
    backend = f"""
import os, pathlib
def prepare_metadata_for_build_wheel(folder, settings=None):
    pathlib.Path({str(mark)!r}).touch()
    about = pathlib.Path(folder, "{name}-{VERSION}.dist-info")
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {VERSION}\\n")
    return about.name
def build_wheel(*arguments, **options):
    raise NotImplementedError
"""
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {"pyproject.toml": project.encode(), "backend.py": backend.encode(), "a.txt": b"hello"}
    return tarball({f"{name}-{VERSION}/{path}": data for path, data in files.items()})


def tarball(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:") as archive:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return gzip.compress(buffer.getvalue(), mtime=0)


def npm_package(name: str, files: dict[str, bytes]) -> bytes:
    about = json.dumps({"name": name, "version": VERSION}).encode()
    return tarball({"package/package.json": about, **{f"package/{path}": data for path, data in files.items()}})


def deb(name: str, files: dict[str, bytes]) -> bytes:
    archive = b"!<arch>\n"
    control = tarball({"./control": _control(name).encode()})
    data = tarball({f"./usr/share/{path}": data for path, data in files.items()})
    for member, content in {"debian-binary": b"2.0\n", "control.tar.gz": control, "data.tar.gz": data}.items():
        header = f"{member:<16}{0:<12}{0:<6}{0:<6}{'100644':<8}{len(content):<10}`\n"
        archive += header.encode() + content + b"\n" * (len(content) % 2)
    return archive


def _control(name: str) -> str:
    return f"Package: {name}\nVersion: {VERSION}\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"


def _pip_pages(base: str, archives: dict[str, bytes]) -> dict[str, bytes]:
    """PEP 503: a page of links for each package; the fragment is the hash, as real indexes give it."""
    pages = {}
    for name, data in archives.items():
        file = f"{name}-{VERSION}" + ("-py3-none-any.whl" if zipfile.is_zipfile(io.BytesIO(data)) else ".tar.gz")
        link = f'<!DOCTYPE html><a href="/files/{file}#sha256={hashlib.sha256(data).hexdigest()}">{file}</a>'
        pages.update({f"/simple/{name}/": link.encode(), f"/files/{file}": data})
    return pages


def _pip_variables(base: str, folder: Path) -> dict[str, str]:
    return {
        "PIP_CONFIG_FILE": os.devnull,  # no other configuration file is read then
        "PIP_INDEX_URL": f"{base}/simple",
        "PIP_NO_CACHE_DIR": "1",
        "PIP_RETRIES": "0",
    }


def _npm_pages(base: str, archives: dict[str, bytes]) -> dict[str, bytes]:
    pages = {}
    for name, data in archives.items():
        file = f"/{name}/-/{name}-{VERSION}.tgz"
        integrity = "sha512-" + base64.b64encode(hashlib.sha512(data).digest()).decode()
        dist = {"tarball": base + file, "integrity": integrity, "shasum": hashlib.sha1(data).hexdigest()}
        version = {"name": name, "version": VERSION, "dist": dist}
        about = {"name": name, "dist-tags": {"latest": VERSION}, "versions": {VERSION: version}}
        pages.update({f"/{name}": json.dumps(about).encode(), file: data})
    return pages


def _npm_variables(base: str, folder: Path) -> dict[str, str]:
    return {
        "npm_config_registry": base,
        "npm_config_userconfig": os.devnull,
        "npm_config_globalconfig": str(folder / "npmrc"),
        "npm_config_cache": str(folder / "cache"),
        "npm_config_fetch_retries": "0",
        "npm_config_update_notifier": "false",
    }


def _apt_pages(base: str, archives: dict[str, bytes]) -> dict[str, bytes]:
    """A flat repository (sources.list(5)): one list of packages, no Release file."""
    entries = [
        f"{_control(name)}Filename: ./{name}.deb\nSize: {len(data)}\nSHA256: {hashlib.sha256(data).hexdigest()}\n"
        for name, data in archives.items()
    ]
    return {"/./Packages": "\n".join(entries).encode()} | {f"/./{name}.deb": data for name, data in archives.items()}


def _apt_variables(base: str, folder: Path) -> dict[str, str]:
    for path in ("state/lists/partial", "cache/archives/partial", "etc/apt.conf.d", "etc/preferences.d", "log"):
        (folder / path).mkdir(parents=True)
    (folder / "status").touch()
    (folder / "etc/sources.list").write_text(f"deb [trusted=yes] {base} ./\n")
    settings = {
        name: str(folder / name.rpartition("::")[2].lower()) for name in ("Dir::State", "Dir::Cache", "Dir::Etc")
    }
    settings |= {"Dir::State::status": str(folder / "status"), "Dir::Log": str(folder / "log")}
    settings |= {"APT::Sandbox::User": "", "Acquire::Languages": "none", "Acquire::Retries": "0"}
    configuration = folder / "apt.conf"
    configuration.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return {"APT_CONFIG": str(configuration)}


PIP = Ecosystem("pypi", wheel, _pip_pages, _pip_variables, "pypi", "", "No matching distribution found")
NPM = Ecosystem("npm", npm_package, _npm_pages, _npm_variables, "npm", "package/", "No matching version found")
APT = Ecosystem(
    "debian", deb, _apt_pages, _apt_variables, "deb/debian", "usr/share/", "Version '9.9.9' for 'tiny' was not found"
)
