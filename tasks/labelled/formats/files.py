"""Which files a side has, and their rows."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from tasks.config.data import DataConfig
from tasks.config.sources import ReadLimits
from tasks.labelled.formats.columnar import arrow_rows, parquet_rows
from tasks.labelled.formats.conll import conll_rows
from tasks.labelled.formats.json_files import json_rows, jsonl_rows
from tasks.labelled.formats.row import Row
from tasks.labelled.formats.separated import separated_rows
from tasks.labelled.ledger import LabelledDataError
from tasks.text.charset import decode
from tasks.text.sources import locations
from tasks.text.sources.compressed import SUFFIXES, BrokenStream, Caps, expanded
from tasks.text.sources.dataset import DICTIONARY, STATE

FORMATS: Mapping[str, str] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".conll": "conll",
    ".conllu": "conll",
    ".bio": "conll",
    ".iob": "conll",
}
"""By suffix."""
SIDE_NAMES = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "dev": "validation",
    "val": "validation",
    "test": "test",
}
"""Names of files in a folder, and of splits of a saved dataset, that say which side they are."""


def find_sides(config: DataConfig, home: Path) -> dict[str, list[str]]:
    """The files of each side that there is, named relative to the home folder where they are under it.

    A folder given as `train` that holds files (or saved splits) named by sides gives all of them, those apart that the
    recipe names elsewhere.

    Raises:
        LabelledDataError: nothing is there, or one file is on two sides.
    """
    found = _sides_of_folder(config, home)
    named: dict[str, str | None] = {"train": config.train, "validation": config.validation, "test": config.test}
    for side, given in named.items():
        if given is not None and side not in found:
            found[side] = _files(given, home)
    sides = {side: found[side] for side in named if side in found}
    for side, files in sides.items():
        for other in sides:
            if other != side and (both := sorted(set(files) & set(sides[other]))):
                raise LabelledDataError(f"{both[0]}: on side {side} and on side {other}; a file is on one side")
    return sides


def _sides_of_folder(config: DataConfig, home: Path) -> dict[str, list[str]]:
    folder = home / config.train
    if locations.is_remote(config.train) or not folder.is_dir() or (folder / STATE).exists():
        return {}
    if (folder / DICTIONARY).exists():
        splits = json.loads((folder / DICTIONARY).read_text("utf-8"))["splits"]
        named = {SIDE_NAMES[name]: [f"{config.train}/{name}"] for name in splits if name in SIDE_NAMES}
        found = {side: _saved(paths[0], home) for side, paths in named.items()}
    else:
        found = {}
        for path in locations.find([config.train], home):
            stem = PurePosixPath(path).name.split(".")[0].lower()
            if stem in SIDE_NAMES:
                found.setdefault(SIDE_NAMES[stem], []).append(path)
    if found and "train" not in found:
        raise LabelledDataError(
            f"{folder}: holds {', '.join(sorted(found))} and no train; name one of its files in `train`"
        )
    given = {"validation": config.validation, "test": config.test}
    return {side: files for side, files in found.items() if given.get(side) is None}


def _files(pattern: str, home: Path) -> list[str]:
    if not locations.is_remote(pattern) and (home / pattern / STATE).exists():
        return _saved(pattern, home)
    return locations.find([pattern], home)


def _saved(folder: str, home: Path) -> list[str]:
    """Arrow files of one saved split."""
    path = home / folder / STATE
    try:
        names = [str(entry["filename"]) for entry in json.loads(path.read_text("utf-8"))["_data_files"]]
    except (FileNotFoundError, ValueError, KeyError, TypeError) as error:
        raise LabelledDataError(f"{path}: not what save_to_disk writes ({error!r})") from None
    return [f"{folder.rstrip('/')}/{name}" for name in names]


def format_of(config: DataConfig, path: str) -> str:
    """
    Raises:
        LabelledDataError: the suffix says nothing.
    """
    name = PurePosixPath(path)
    suffix = PurePosixPath(name.stem).suffix if name.suffix in SUFFIXES else name.suffix
    if suffix == ".arrow":
        return "saved"
    if config.format != "auto":
        return config.format
    if suffix.lower() not in FORMATS:
        raise LabelledDataError(
            f"{path}: suffix {suffix!r} says no format; legal are {', '.join(FORMATS)}, or set `format` to one of "
            f"{', '.join(dict.fromkeys(FORMATS.values()))}"
        )
    return FORMATS[suffix.lower()]


def read_rows(config: DataConfig, path: str, home: Path) -> Iterator[Row]:
    """The rows of one file, in order.

    Raises:
        LabelledDataError: it is not of its format, or not in its encoding.
    """
    kind = format_of(config, path)
    with locations.open_binary(path, home) as file:
        try:
            stream = expanded(file, Caps.of(ReadLimits())) if path.endswith(SUFFIXES) else file
            if kind in ("parquet", "saved"):
                whole = io.BytesIO(stream.read()) if stream is not file else file
                yield from (parquet_rows if kind == "parquet" else arrow_rows)(path, whole)
                return
            text = _decoded(path, stream, config.encoding)
        except BrokenStream as error:
            raise LabelledDataError(f"{path}: cannot be expanded: {error.reason} {error.detail}".rstrip()) from None
    if kind in ("csv", "tsv"):
        yield from separated_rows(path, text, "," if kind == "csv" else "\t", config.header)
    elif kind == "conll":
        yield from conll_rows(text, config.conll)
    else:
        yield from (jsonl_rows if kind == "jsonl" else json_rows)(path, text)


def _decoded(path: str, stream: BinaryIO, encoding: str | None) -> str:
    data = stream.read()
    try:
        return data.decode(encoding or "utf-8-sig")
    except LookupError:
        raise LabelledDataError(f"{path}: encoding {encoding!r} is not known; utf-8, latin-1, gb18030 are") from None
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        near = data[max(0, error.start - 20) : error.start + 20]
        raise LabelledDataError(
            f"{path}: line {line}: not {encoding or 'UTF-8'}: {near!r}. It looks like {decode(data)[1]}: "
            f"set `encoding` to what it is in"
        ) from None
