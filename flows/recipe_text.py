"""A recipe's text with other values in it: its comments, its order and its layout stay."""

from __future__ import annotations

import json
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bert_core.config import ConfigError
from tasks.finetuning.space import with_values


@dataclass(frozen=True)
class _Entry:
    """A `key = value` of a TOML text, or a table's head (without a key)."""

    table: tuple[str, ...]
    key: tuple[str, ...]
    first: int
    """Its first line."""
    end: int
    """The line behind it."""

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.table, *self.key)


def with_recipe_values(text: str, values: Mapping[str, Any], *, drop: str | None = None) -> str:
    """TOML `text` with dotted keys set, and without the section `drop`; a value that changes loses no comment.

    Raises:
        ConfigError: the text is not TOML, or lays a key out in a way that cannot be changed in place.
    """
    wanted = with_values(_parsed(text), values)
    if drop is not None:
        text = _without(text, (drop,))
        wanted.pop(drop, None)
    for dotted, value in values.items():
        text = _with_value(text, tuple(dotted.split(".")), value)
    if _parsed(text) != wanted:
        raise ConfigError(
            f"{', '.join(values)}: cannot be set in this recipe's text; write them as plain `key = value`"
        )
    return text


def toml_value(value: Any) -> str:
    """A value as TOML writes it; a table inline.

    Raises:
        ConfigError: TOML has no such value.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and math.isfinite(value):
        written = repr(value)
        return written if any(mark in written for mark in ".e") else f"{written}.0"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_name(key)} = {toml_value(each)}' for key, each in value.items())} }}"
    raise ConfigError(f"{value!r}: TOML has no such value")


def toml_text(data: Mapping[str, Any], table: str = "") -> str:
    """A whole document of nested tables; what is None is left out."""
    plain = {key: value for key, value in data.items() if value is not None and not _is_table(value)}
    lines = [f"{_name(key)} = {toml_value(_without_none(value))}" for key, value in plain.items()]
    text = "".join(f"{line}\n" for line in lines)
    for key, value in data.items():
        if _is_table(value):
            name = f"{table}.{_name(key)}".lstrip(".")
            text += f"\n[{name}]\n{toml_text(value, name)}"
    return text


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) and bool(value)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_none(each) for key, each in value.items() if each is not None}
    return [_without_none(each) for each in value] if isinstance(value, list | tuple) else value


def _with_value(text: str, path: tuple[str, ...], value: Any) -> str:
    if any(not entry.key and entry.table[: len(path)] == path for entry in _entries(text)):
        text = _without(text, path)  # a whole section is replaced
    lines, entries = text.splitlines(keepends=True), _entries(text)
    for entry in entries:
        if entry.key and path[: len(entry.path)] == entry.path:
            statement = "".join(lines[entry.first : entry.end])
            inner = path[len(entry.path) :]
            if inner:  # the key lies within an inline table
                table = _at(tomllib.loads(statement), entry.key)
                value = with_values(table if isinstance(table, dict) else {}, {".".join(inner): value})
            lines[entry.first : entry.end] = [_replaced(statement, value)]
            return "".join(lines)
    heads = [entry for entry in entries if not entry.key and path[: len(entry.table)] == entry.table]
    head = max(heads, key=lambda entry: len(entry.table))
    new = f"{'.'.join(map(_name, path[len(head.table) :]))} = {toml_value(value)}\n"
    ends = [entry.end for entry in entries if entry.table == head.table]
    place = max(ends)
    if not head.table and place == 0:  # nothing stands before the first table
        place = _first_blank(lines)
    if place and not lines[place - 1].endswith("\n"):
        lines[place - 1] += "\n"
    return "".join([*lines[:place], new, *lines[place:]])


def _replaced(statement: str, value: Any) -> str:
    """The statement with another value; blanks and a comment behind it stay."""
    start = _value_start(statement)
    body, newline = statement[start:], "\n" if statement.endswith("\n") else ""
    for at, mark in enumerate(body):
        if mark == "#" and _is_toml(f"x = {body[:at]}"):
            kept = body[:at].rstrip()
            written = toml_value(value)
            gap = max(1, at - len(written)) if "\n" not in kept else 1
            return f"{statement[:start]}{written}{' ' * gap}{body[at:]}"
    return f"{statement[:start]}{toml_value(value)}{newline}"


def _value_start(statement: str) -> int:
    """Where the value begins: behind the first `=` that ends a whole key, and blanks."""
    for at, mark in enumerate(statement):
        if mark == "=" and _is_toml(f"{statement[:at]}= 0"):
            rest = statement[at + 1 :]
            return at + 1 + len(rest) - len(rest.lstrip(" \t"))
    raise ConfigError(f"{statement!r}: not a TOML statement")


def _without(text: str, section: tuple[str, ...]) -> str:
    """The text without a section, its sub-tables, and the comment right above its head."""
    lines, gone = text.splitlines(keepends=True), set[int]()
    entries = _entries(text)
    for number, entry in enumerate(entries):
        if entry.path[: len(section)] != section:
            continue
        following = entries[number + 1].first if number + 1 < len(entries) else len(lines)
        is_last = number + 1 < len(entries) and entries[number + 1].path[: len(section)] != section
        while is_last and following > entry.end and lines[following - 1].startswith("#"):
            following -= 1  # a comment right above what comes next is about that
        first = entry.first
        while not entry.key and first and lines[first - 1].startswith("#"):
            first -= 1
        gone |= set(range(first, following))
    return "".join(line for number, line in enumerate(lines) if number not in gone)


def _entries(text: str) -> list[_Entry]:
    """All statements in their order; the first stands for the document's own table."""
    lines = text.splitlines(keepends=True)
    found = [_Entry((), (), 0, 0)]
    table: tuple[str, ...] = ()
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        first = number
        number += 1
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            table = _path_of(tomllib.loads(line))
            found.append(_Entry(table, (), first, number))
            continue
        while not _is_toml("".join(lines[first:number])) and number < len(lines):
            number += 1
        found.append(_Entry(table, _key_of("".join(lines[first:number])), first, number))
    return found


def _key_of(statement: str) -> tuple[str, ...]:
    return _path_of(tomllib.loads(f"{statement[: _value_start(statement)]}0"))


def _path_of(data: Any) -> tuple[str, ...]:
    """The names down to the one leaf, or empty table, of nested tables."""
    if isinstance(data, list):
        return _path_of(data[0])
    if not isinstance(data, dict) or not data:
        return ()
    ((name, inner),) = data.items()
    return (name, *_path_of(inner))


def _at(data: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        data = data[name]
    return data


def _first_blank(lines: list[str]) -> int:
    """The end of the comment that opens a text."""
    return next((number for number, line in enumerate(lines) if not line.startswith("#")), len(lines))


def _name(key: str) -> str:
    is_bare = key and all(mark.isascii() and (mark.isalnum() or mark in "-_") for mark in key)
    return key if is_bare else json.dumps(key, ensure_ascii=False)


def _is_toml(text: str) -> bool:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return False
    return True


def _parsed(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from None
