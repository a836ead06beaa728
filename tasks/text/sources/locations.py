"""Files wherever they are: on disk relative to a root, or behind an fsspec URI such as s3:// or https://."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, BinaryIO, cast

import fsspec

from bert_core.files import file_sha256
from tasks.text.documents import CorpusError


def find(patterns: Sequence[str], root: Path, exclude: Sequence[str] = ()) -> list[str]:
    """The files that the patterns name: in the patterns' order, sorted within each, none twice, hidden ones left out.

    A pattern is a file, a folder (all files under it) or a glob (`**` for any depth). Local files under `root` are
    named relative to it, so that names do not depend on the machine.

    Raises:
        CorpusError: a pattern names nothing.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        matches = sorted(_remote(pattern) if is_remote(pattern) else _local(pattern, root))
        if not matches:
            raise CorpusError(
                f"{pattern if is_remote(pattern) else root / pattern}: no such file, folder or match; "
                f"`make data` fetches the data that the recipes of this project use"
            )
        found |= dict.fromkeys(matches)
    return [path for path in found if not any(fnmatch(path, pattern) for pattern in exclude)]


def is_remote(path: str) -> bool:
    return "://" in path


def open_binary(path: str, root: Path) -> BinaryIO:
    """
    Raises:
        CorpusError: the file is gone.
    """
    try:
        if not is_remote(path):
            return (root / path).open("rb", buffering=0)
        filesystem, inner = _filesystem(path)
        return cast(BinaryIO, filesystem.open(inner, "rb"))
    except FileNotFoundError:
        raise CorpusError(f"{path if is_remote(path) else root / path}: no such file") from None


def content(path: str, root: Path) -> str:
    """What the bytes are: sha256 of a local file, otherwise what the store says (ETag, checksum, or time) and size."""
    if not is_remote(path):
        return file_sha256(root / path)
    filesystem, inner = _filesystem(path)
    info = filesystem.info(inner)
    for key in ("ETag", "etag", "md5Hash", "content_md5", "checksum", "blob_id"):
        if info.get(key):
            return f"{key.lower()} {info[key]} size {info.get('size')}"
    return f"key {filesystem.ukey(inner)} size {info.get('size')}"


def size(path: str, root: Path) -> int:
    if not is_remote(path):
        return (root / path).stat().st_size
    filesystem, inner = _filesystem(path)
    return int(filesystem.info(inner)["size"])


def _filesystem(path: str) -> tuple[Any, str]:
    try:
        return fsspec.core.url_to_fs(path)
    except (ImportError, ValueError) as error:  # ValueError: unknown protocol
        raise CorpusError(f"{path}: {error}") from None


def _remote(pattern: str) -> Iterator[str]:
    filesystem, inner = _filesystem(pattern)
    if glob.has_magic(inner):
        found = [path for path, info in filesystem.glob(inner, detail=True).items() if info["type"] == "file"]
    elif filesystem.isfile(inner):
        found = [inner]
    else:
        found = filesystem.find(inner)
    yield from (str(filesystem.unstrip_protocol(path)) for path in found if not _hidden(path))


def _local(pattern: str, root: Path) -> Iterator[str]:
    path = root / pattern
    if path.is_file():
        files: Iterator[str] = iter([str(path)])
    elif path.is_dir():
        files = _walk(path)
    else:
        files = (name for name in glob.iglob(str(path), recursive=True) if os.path.isfile(name))
    for name in files:
        yield Path(name).relative_to(root).as_posix() if Path(name).is_relative_to(root) else name


def _walk(folder: Path) -> Iterator[str]:
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not _hidden(name)]
        yield from (os.path.join(parent, name) for name in names if not _hidden(name))


def _hidden(path: str) -> bool:
    return path.rsplit("/", 1)[-1].startswith(".")
