"""Debian packages read without dpkg: a .deb is an `ar` archive that holds a tar of the files (deb(5))."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import BinaryIO

MAGIC = b"!<arch>\n"
HEADER_BYTES = 60
COMPRESSIONS = (".xz", ".gz", ".bz2", "")


class DebError(ValueError):
    """Not a .deb that can be read: torn, or compressed with something else."""


def unpack(deb: Path, prefix: str, folder: Path) -> int:
    """Write the files that lie under `prefix` in the package into `folder`, with their times; returns how many.

    Only regular files and hard links to them leave the archive, and none can land outside `folder`: symbolic links,
    devices and names with `..` are passed over.

    Raises:
        DebError: the archive cannot be read to its end, or has no such file.
    """
    written: dict[str, Path] = {}
    with _data(deb) as archive:
        for member in archive:
            name = _inside(member.name, prefix)
            if name is None or not (member.isreg() or member.islnk()):
                continue
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if member.islnk():
                # A link can only point backwards, but a stream cannot go back to read it: link what was written.
                if (source := written.get(_plain(member.linkname))) is None:
                    continue
                os.link(source, target)
            else:
                _write(archive, member, target)
            written[_plain(member.name)] = target
    if not written:
        raise DebError(f"{deb.name}: holds no file under {prefix}")
    return len(written)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, target: Path) -> None:
    source = archive.extractfile(member)
    assert source is not None  # a regular member has contents
    with target.open("xb") as out:
        shutil.copyfileobj(source, out)
    os.utime(target, (member.mtime, member.mtime))


@contextmanager
def _data(deb: Path) -> Iterator[tarfile.TarFile]:
    """The tar of the package's files, read as a stream: seeking back in xz would unpack from its start again."""
    try:
        with deb.open("rb") as file:
            suffix = _seek_data(file, deb.name)
            if suffix not in COMPRESSIONS:
                raise DebError(f"{deb.name}: data.tar{suffix}: only {', '.join(COMPRESSIONS[:-1])} or none can be read")
            with tarfile.open(fileobj=file, mode=f"r|{suffix[1:]}") as archive:  # type: ignore[call-overload]
                yield archive
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DebError(f"{deb.name}: not a readable package ({error})") from None


def _seek_data(file: BinaryIO, name: str) -> str:
    """Stand at the first byte of data.tar; returns what follows `data.tar` in its name."""
    if file.read(len(MAGIC)) != MAGIC:
        raise DebError(f"{name}: does not start with {MAGIC!r}: not a Debian package")
    while len(header := file.read(HEADER_BYTES)) == HEADER_BYTES:
        member, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58]
        if member.startswith("data.tar"):
            return member.removeprefix("data.tar")
        if not size.strip().isdigit():
            break
        file.seek(int(size) + int(size) % 2, os.SEEK_CUR)  # members start at even offsets
    raise DebError(f"{name}: torn, or no data.tar in it")


def _inside(name: str, prefix: str) -> PurePosixPath | None:
    """The name below `prefix`; None for others and for names that would climb out."""
    path = PurePosixPath(_plain(name))
    if ".." in path.parts or not path.is_relative_to(prefix) or path == PurePosixPath(prefix):
        return None
    return path.relative_to(prefix)


def _plain(name: str) -> str:
    return name.removeprefix("./").lstrip("/")
