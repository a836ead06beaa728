"""The files of a package's archive: a wheel (zip), an sdist or an npm package (tar), a Debian package (tar in ar)."""

from __future__ import annotations

import io
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Any, BinaryIO

from tasks.text.documents import CorpusError
from tasks.text.sources.compressed import BrokenStream, Caps, expanded

MAX_RATIO = 1000.0
MAX_MEMBERS = 1_000_000
_AR_MAGIC = b"!<arch>\n"


def unpack(archive: Path, patterns: Sequence[str], folder: Path, max_bytes: int) -> list[str]:
    """Write the files that match a pattern under `folder`; returns their paths there.

    Only regular files are written: no links, no devices; a path that leads outside is an error, whether it matches or
    not, since no honest package has one.

    Args:
        max_bytes: of the files together, as they are counted while they are read, not as the archive says.

    Raises:
        CorpusError: not a readable archive, a path outside it, too large, or nothing matches.
    """
    written: list[str] = []
    left = max_bytes
    try:
        for name, stream in _members(archive):
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or "\\" in name:
                raise CorpusError(f"{archive.name}: {name!r} leads outside the archive; nothing of it is used")
            if any(_matches(path, pattern) for pattern in patterns):
                left -= _write(stream, folder / path, left, archive.name)
                written.append(str(path))
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, BrokenStream, zlib.error, NotImplementedError) as error:
        raise CorpusError(f"{archive.name}: not a readable archive: {error!r}") from None
    if not written:
        raise CorpusError(f"{archive.name}: no file matches {', '.join(patterns)}")
    return sorted(written)


def _matches(path: PurePosixPath, pattern: str) -> bool:
    """Globs in which * does not cross a slash and ** does."""
    return _parts_match(path.parts, PurePosixPath(pattern).parts)


def _parts_match(parts: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    if not patterns:
        return not parts
    if patterns[0] == "**":
        return any(_parts_match(parts[skipped:], patterns[1:]) for skipped in range(len(parts) + 1))
    return bool(parts) and PurePosixPath(parts[0]).match(patterns[0]) and _parts_match(parts[1:], patterns[1:])


def _write(stream: IO[bytes], target: Path, left: int, archive: str) -> int:
    target.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with target.open("wb") as file:
        while block := stream.read(1 << 20):
            written += len(block)
            if written > left:
                raise CorpusError(f"{archive}: the files are larger than max_unpacked_bytes")
            file.write(block)
    return written


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """(name, content) of all regular files, in the archive's order; each is read before the next is asked for."""
    with archive.open("rb") as file:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as zipped:
                for entry in zipped.infolist():
                    if not entry.is_dir() and entry.external_attr >> 28 not in (0xA,):  # 0xA: a symbolic link
                        yield entry.filename, zipped.open(entry)
            return
        file.seek(0)
        is_debian = file.read(len(_AR_MAGIC)) == _AR_MAGIC
        data: Any = _debian_data(file, archive.name) if is_debian else _rewound(file)
        stream = expanded(data, Caps(1 << 50, MAX_RATIO))
        with tarfile.open(fileobj=stream, mode="r|") as tar:
            for count, member in enumerate(tar):
                if count > MAX_MEMBERS:
                    raise CorpusError(f"{archive.name}: more than {MAX_MEMBERS} members")
                content = tar.extractfile(member) if member.isreg() else None
                if content is not None:
                    yield member.name.removeprefix("./"), content


def _rewound(file: BinaryIO) -> BinaryIO:
    file.seek(0)
    return file


class _Part(io.RawIOBase):
    """Some bytes of a file, from where it stands."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        super().__init__()
        self._file, self._left = file, size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(min(len(buffer), self._left))
        buffer[: len(data)] = data
        self._left -= len(data)
        return len(data)


def _debian_data(file: BinaryIO, name: str) -> _Part:
    """The member data.tar.* of a .deb, an ar archive (deb(5)): headers of 60 bytes, contents padded to even."""
    while len(header := file.read(60)) == 60:
        try:
            size = int(header[48:58])
        except ValueError:
            break
        if header.startswith(b"data.tar"):
            return _Part(file, size)
        file.seek(size + size % 2, io.SEEK_CUR)
    raise CorpusError(f"{name}: a Debian package without data.tar")
