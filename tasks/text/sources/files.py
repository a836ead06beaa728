"""Source files: folders and globs of text, Markdown, HTML, PDF, JSON Lines, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tasks.config.sources import FilesSource, PackageSource, ReadingConfig
from tasks.text.charset import decode
from tasks.text.sources import locations
from tasks.text.sources.compressed import (
    SUFFIXES,
    BrokenStream,
    compression,
    read_capped,
    without_compression,
)
from tasks.text.sources.jsonl import jsonl_documents
from tasks.text.sources.lines import cuts, is_wide, line_documents
from tasks.text.sources.markdown import front_matter, markdown_lines
from tasks.text.sources.pdf import pdf_document
from tasks.text.sources.piece import Piece, Record
from tasks.text.sources.raw import Unit, Unreadable
from tasks.text.sources.separated import csv_documents, csv_header
from tasks.text.sources.tables import check_columns, open_parquet, parquet_documents

BY_SUFFIX = {
    ".txt": "txt",
    ".text": "txt",
    ".md": "md",
    ".markdown": "md",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".pdf": "pdf",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
    ".pq": "parquet",
}
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_BY_LINE = ("lines", "tagged", "jsonl")


def format_of(path: str, source: ReadingConfig) -> str:
    """The source's format, or the one of the path's suffix; "" where neither says."""
    if source.format != "auto":
        return source.format
    return BY_SUFFIX.get(PurePosixPath(without_compression(path)).suffix.lower(), "")


@dataclass(frozen=True)
class FilesReader:
    """Reads files under a root. A unit is a file, or a piece of a large one: lines by bytes, Parquet by row groups.

    Compressed files, CSV (whose quotes may hold newlines) and files in object storage are not cut.
    """

    source: FilesSource | PackageSource
    root: Path
    paths: tuple[str, ...]
    exclude: tuple[str, ...] = ()
    prefix: str = ""
    """Put before a path to name its records."""

    def units(self) -> list[Unit]:
        found = locations.find(self.paths, self.root, self.exclude)
        return [unit for path in found for unit in self._cut(path)]

    def read(self, unit: Unit) -> Iterator[Record]:
        with locations.open_binary(unit.path, self.root) as file:
            piece = Piece(
                self.prefix + unit.path,
                file,
                unit,
                self.source,
                self.source.kind,
                self.source.label,
                self.source.columns,
                self.source.limits,
                self.source.encoding,
            )
            try:
                yield from _FORMATS[format_of(unit.path, self.source)](piece)
            except BrokenStream as error:
                yield Unreadable(piece.name, error.reason, error.detail)

    def _cut(self, path: str) -> Iterator[Unit]:
        form = format_of(path, self.source)
        content = locations.content(path, self.root)
        whole = Unit(path, content)
        if form == "parquet":
            yield from self._row_groups(whole)
        elif form in _DELIMITERS:
            self._check_header(whole, _DELIMITERS[form])
            yield whole
        elif form in _BY_LINE and not locations.is_remote(path) and self._can_be_cut(path):
            pieces = list(cuts(self.root / path, self.source.unit_bytes))
            yield from (Unit(path, digest, start, stop) for start, stop, digest in pieces)
        else:
            yield whole

    def _can_be_cut(self, path: str) -> bool:
        with locations.open_binary(path, self.root) as file:
            head = file.read(6)
            return compression(head) is None and not is_wide(head)

    def _row_groups(self, whole: Unit) -> Iterator[Unit]:
        with locations.open_binary(whole.path, self.root) as file:
            metadata = open_parquet(file, self.prefix + whole.path, self.source.columns).metadata
            start = size = 0
            for group in range(metadata.num_row_groups):
                size += metadata.row_group(group).total_byte_size
                if size >= self.source.unit_bytes and group + 1 < metadata.num_row_groups:
                    yield Unit(whole.path, whole.content, start, group + 1)
                    start, size = group + 1, 0
            yield Unit(whole.path, whole.content, start, metadata.num_row_groups)

    def _check_header(self, whole: Unit, delimiter: str) -> None:
        """Before any work is done: a wrong column would cost the whole file."""
        with locations.open_binary(whole.path, self.root) as file:
            name = self.prefix + whole.path
            piece = Piece(name, file, whole, self.source, "", limits=self.source.limits, encoding=self.source.encoding)
            try:
                header = csv_header(piece, delimiter)
            except BrokenStream:  # told by `read`
                return
            if header:
                check_columns(name, header, self.source.columns)


def _body(piece: Piece, kind: str) -> Iterator[Record]:
    yield piece.whole(body=_whole_file(piece), content_type=_media(piece, kind))


def _whole_file(piece: Piece) -> bytes:
    return read_capped(piece.expanded(), piece.limits.max_record_bytes)


def _media(piece: Piece, kind: str) -> str:
    return f"text/{kind}" + (f"; charset={piece.encoding}" if piece.encoding else "")


def _markdown(piece: Piece) -> Iterator[Record]:
    text, _ = decode(_whole_file(piece), _media(piece, "markdown"))
    lines, levels = markdown_lines(text)
    fields = front_matter(text)
    title = fields.get("title") or next((line for line, level in zip(lines, levels, strict=True) if level == 1), "")
    yield piece.whole(text="\n".join(lines), levels=tuple(levels), title=title, date=fields.get("date", ""))


def _pdf(piece: Piece) -> Iterator[Record]:
    yield pdf_document(piece)


def _unknown(piece: Piece) -> Iterator[Record]:
    suffix = PurePosixPath(without_compression(piece.unit.path)).suffix
    legal = ", ".join(sorted({*BY_SUFFIX}))
    yield Unreadable(
        piece.name, "unknown file type", f"{suffix!r}; known: {legal}, each also with {', '.join(SUFFIXES)}"
    )


_FORMATS: dict[str, Callable[[Piece], Iterator[Record]]] = {
    "": _unknown,
    "txt": lambda piece: _body(piece, "plain"),
    "lines": line_documents,
    "tagged": lambda piece: line_documents(piece, tagged=True),
    "md": _markdown,
    "html": lambda piece: _body(piece, "html"),
    "pdf": _pdf,
    "jsonl": jsonl_documents,
    "csv": lambda piece: csv_documents(piece, ","),
    "tsv": lambda piece: csv_documents(piece, "\t"),
    "parquet": parquet_documents,
}
