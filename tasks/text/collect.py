"""Stage collect: text files of one document a line."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from tasks.artifacts import Draft, home
from tasks.config import FilesSource, LinesFile
from tasks.text import documents as tables
from tasks.text.charset import decode
from tasks.text.documents import CorpusError, content_id

RAW = "raw.parquet"
_DATE_ID = re.compile(r"\d{8}-\d{2}-\d{3}-\d{3}")  # People's Daily numbers its paragraphs: 19980101-01-001-001
_CLOSING = frozenset(".,;:!?%)]}'’”")
_OPENING = frozenset("([{‘“")


def collect(source: FilesSource, out: Draft, progress: Callable[[int, int], None]) -> None:
    """Read the files into raw.parquet: url (`path:line`), source (path), text as in the file, kind, label, group.

    The group is the line's own: content and how often it came before, not its number, so a line that is inserted above
    changes no identity.

    Raises:
        CorpusError: a file is missing, or all of them together hold no text.
    """
    rows: list[tuple[object, ...]] = []
    before: Counter[str] = Counter()
    for done, file in enumerate(source.files, 1):
        for number, text in _lines(file):
            out.rows["seen"] = out.rows.get("seen", 0) + 1
            if not text.strip():
                out.drop("blank line")
                continue
            content = content_id(file.kind, file.label or "", text)
            group = content_id(content, str(before[content]))
            before[content] += 1
            rows.append((f"{file.path}:{number}", file.path, "", text, file.kind, file.label, group))
        progress(done, len(source.files))
    out.rows["kept"] = len(rows)
    if not rows:
        raise CorpusError(f"no text in {', '.join(file.path for file in source.files)}: every line is blank")
    tables.check_balance(out)
    tables.write_table(out.path / RAW, tables.rows_table(rows, tables.RAW_SCHEMA))


def untagged(line: str) -> str:
    """The text of `word/tag word/tag …`. Blanks come back only where the script has them: not beside Han or kana."""
    text = ""
    for token in line.split():
        word = token.rpartition("/")[0] if "/" in token else token
        if word and not _DATE_ID.fullmatch(word):
            text += " " + word if text and _spaced(text[-1], word[0]) else word
    return text


def _lines(file: LinesFile) -> Iterator[tuple[int, str]]:
    path = Path(home() / file.path)
    if not path.is_file():
        raise CorpusError(f"{path}: no such file; `make data` fetches the data that the recipes of this project use")
    text, _ = decode(path.read_bytes())
    lines = text.removesuffix("\n").split("\n")  # not splitlines(): a U+2028 is part of a line
    for number, line in enumerate(lines, 1):
        line = line.removesuffix("\r")
        yield number, untagged(line) if file.format == "tagged" else line


def _spaced(before: str, after: str) -> bool:
    wide = any(unicodedata.east_asian_width(char) in "WF" for char in (before, after))
    return not wide and after not in _CLOSING and before not in _OPENING
