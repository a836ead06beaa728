"""CoNLL files: a token a line, columns, a blank line after each sentence; also CoNLL-U."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tasks.config.data import ConllConfig
from tasks.labelled.formats.row import Row

NO_TAG = "token without a tag"
_MERGED = re.compile(r"\d+[-.]\d+\t")
"""CoNLL-U: words that are written together (1-2), and words that are not written (1.1)."""
_COMMENT = re.compile(r"#\s*([\w.-]+)\s*=\s*(.*)|#\s+id\b.*")


def conll_rows(text: str, config: ConllConfig) -> Iterator[Row]:
    """A row for each sentence, with `tokens`, `tags` and what its comments say (`# sent_id = 3`).

    Lines `-DOCSTART-` separate documents and hold nothing; a line without both columns makes its sentence unreadable.
    Where tokens are not in the first column, as in CoNLL-U, all lines from # on are comments, and numbers such as 1-2
    and 1.1 in that column are of no words.
    """
    first = 1
    lines: list[tuple[int, str]] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line or line.isspace() or line.startswith("-DOCSTART-"):
            if lines:
                yield from _sentence(first, lines, config)
            first, lines = number + 1, []
        else:
            lines.append((number, line))
    if lines:
        yield from _sentence(first, lines, config)


def _sentence(first: int, lines: list[tuple[int, str]], config: ConllConfig) -> Iterator[Row]:
    tokens: list[str] = []
    tags: list[str] = []
    row = Row(first, {"tokens": tokens, "tags": tags})
    most = max(_needed(config.token_column), _needed(config.tag_column), 2)
    separator = "\t" if config.separator == "tab" else None
    for number, line in lines:
        if line[0] == "#" and not tokens and _is_comment(line, row, config):
            continue
        if config.token_column != 0 and _MERGED.match(line):
            continue
        columns = line.rstrip("\r").split(separator)
        if len(columns) < most:
            row.problem = NO_TAG
            row.detail = row.detail or f"line {number}: {line!r} has {len(columns)} column(s), {most} are needed"
            tokens.append(columns[0])
        else:
            tokens.append(columns[config.token_column])
            tags.append(columns[config.tag_column])
    if tokens:
        yield row


def _is_comment(line: str, row: Row, config: ConllConfig) -> bool:
    found = _COMMENT.fullmatch(line.rstrip("\r"))
    if found and found[1]:
        row.values.setdefault(found[1], found[2].strip())
    return found is not None or config.token_column != 0


def _needed(column: int) -> int:
    return column + 1 if column >= 0 else -column
