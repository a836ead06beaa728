"""Frozen, strict schemas, and the one way in and out of them: TOML in, resolved JSON out."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError


class ConfigError(ValueError):
    """A recipe that cannot be run; the message names the key, the value and what is legal."""


class Config(BaseModel):
    """Base of every schema: immutable, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


C = TypeVar("C", bound=BaseModel)


def validate(schema: type[C], data: dict[str, Any], *, source: str = "config") -> C:
    """`data` as a `schema`.

    Raises:
        ConfigError: one line for each fault, with its dotted key, the value that was given and what is legal.
    """
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        lines = [_fault(schema, fault) for fault in error.errors()]
        raise ConfigError(f"{source}: {len(lines)} fault(s)\n" + "\n".join(lines)) from None


def load(path: str | Path, schema: type[C], overrides: Sequence[str] = ()) -> C:
    """The TOML file at `path`, with dotted `overrides` such as `pretrain.steps=10`, as a `schema`.

    Raises:
        ConfigError: the file is missing, is not TOML, or breaks the schema.
    """
    try:
        data = tomllib.loads(Path(path).read_text("utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such recipe") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    for override in overrides:
        apply_override(data, override)
    return validate(schema, data, source=str(path))


def apply_override(data: dict[str, Any], override: str) -> None:
    """Set one dotted `key=value` in `data`, in place; the value is read as TOML, else as a plain string."""
    dotted, separator, text = override.partition("=")
    keys = dotted.strip().split(".")
    if not separator or not all(keys):
        raise ConfigError(f"override {override!r}: expected key=value, for example pretrain.steps=10")
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()
    for key in keys[:-1]:
        data = data.setdefault(key, {})
        if not isinstance(data, dict):
            raise ConfigError(f"override {override!r}: {key!r} is a value, not a section")
    data[keys[-1]] = value


def dump_json(config: BaseModel) -> str:
    """The resolved config as canonical JSON: sorted keys, so that equal configs are equal bytes."""
    return json.dumps(config.model_dump(mode="json"), sort_keys=True, indent=2, ensure_ascii=False)


def config_hash(config: BaseModel) -> str:
    """sha256 of `dump_json`, in hexadecimal."""
    return hashlib.sha256(dump_json(config).encode()).hexdigest()


def differences(a: BaseModel, b: BaseModel) -> list[str]:
    """The dotted keys in which two configs differ, each as `key: a's value != b's value`."""
    different = different_values(a.model_dump(mode="json"), b.model_dump(mode="json"))
    return [f"{key}: {left!r} != {right!r}" for key, (left, right) in different.items()]


def different_values(a: Mapping[str, Any], b: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> a's value and b's, where they differ; what one of them lacks is "(unset)"."""
    left, right, missing = _flat(dict(a)), _flat(dict(b)), "(unset)"
    pairs = {key: (left.get(key, missing), right.get(key, missing)) for key in sorted(left.keys() | right.keys())}
    return {key: (mine, other) for key, (mine, other) in pairs.items() if mine != other}


def _flat(data: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(data, dict):
        return {prefix: data}
    return {
        key: value for name, child in data.items() for key, value in _flat(child, f"{prefix}.{name}".strip(".")).items()
    }


def _fault(schema: type[BaseModel], fault: Any) -> str:
    key = ".".join(str(part) for part in fault["loc"]) or "(top level)"
    if fault["type"] == "extra_forbidden":
        legal = _legal_keys(schema, fault["loc"][:-1])
        hint = f"; legal keys here: {', '.join(legal)}" if legal else ""
        return f"  {key} = {fault['input']!r}: unknown key{hint}"
    if fault["type"] == "missing":
        return f"  {key}: required, and not given"
    message = fault["msg"].removeprefix("Value error, ")
    if isinstance(fault["input"], dict):  # a rule over several keys; the message names them
        return f"  {key}: {message}"
    return f"  {key} = {fault['input']!r}: {message}"


def _legal_keys(schema: Any, location: tuple[Any, ...]) -> list[str]:
    """Field names at `location`; empty where a union of several makes the answer ambiguous."""
    for part in location:
        if isinstance(part, int):
            continue
        if isinstance(schema, tuple):  # a union, whose members pydantic names by their `type`
            members = [each for each in schema if each.model_fields["type"].default == part]
            if len(members) != 1:
                return []
            schema = members[0]
            continue
        field = getattr(schema, "model_fields", {}).get(part)
        if field is None:
            return []
        schema = field.annotation
        models = [each for each in getattr(schema, "__args__", ()) if isinstance(each, type)]
        models = [each for each in models if issubclass(each, BaseModel)]
        if field.discriminator == "type":
            schema = tuple(models)
        elif models:
            schema = models[0]
    return sorted(getattr(schema, "model_fields", {}))
