"""The points of a search's space: all, or some drawn; and a training's config at one of them."""

from __future__ import annotations

import copy
import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from bert_core.config import TrainConfig, validate
from tasks.config.search import DEFAULT_TRIALS, Range, SearchConfig

Values = dict[str, Any]
"""Dotted key of the recipe -> its value in one trial."""
REPEATS = 200
"""Draws in a row that give nothing new, after which a space counts as exhausted."""


def points(search: SearchConfig) -> list[Values]:
    """What is tried, each point once, in order, where that depends on nothing that is found.

    grid: all of them, the last key fastest. Otherwise as many as `trials` says, or as there are.
    """
    if search.algorithm == "grid":
        choices = {key: values for key, values in search.space.items() if not isinstance(values, Range)}
        return [dict(zip(choices, each, strict=True)) for each in itertools.product(*choices.values())]
    rng = np.random.default_rng(search.seed)
    found: dict[str, Values] = {}
    repeats = 0
    while len(found) < (search.trials or DEFAULT_TRIALS) and repeats < REPEATS:
        values = {key: _draw(dimension, rng) for key, dimension in search.space.items()}
        repeats = repeats + 1 if trial_key(values) in found else 0
        found.setdefault(trial_key(values), values)
    return list(found.values())


def most_trials(search: SearchConfig) -> int:
    """Trials of the whole search."""
    return (search.trials or DEFAULT_TRIALS) if search.is_model_based else len(points(search))


def corners(search: SearchConfig) -> list[tuple[str, Any]]:
    """Every choice and both ends of every range, with its key: what a recipe must be able to take."""
    return [
        (key, value)
        for key, dimension in search.space.items()
        for value in ((dimension.low, dimension.high) if isinstance(dimension, Range) else dimension)
    ]


def trial_key(values: Mapping[str, Any]) -> str:
    """Names a point: the same for equal values, in whatever order."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def with_values(data: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config's nested tables with dotted keys set; a table that is absent, or null, is made."""
    changed = copy.deepcopy(dict(data))
    for dotted, value in values.items():
        *tables, last = dotted.split(".")
        table = changed
        for name in tables:
            if not isinstance(table.get(name), dict):
                table[name] = {}
            table = table[name]
        table[last] = copy.deepcopy(value)
    return changed


def train_config(base: TrainConfig, values: Mapping[str, Any]) -> TrainConfig:
    """`base` at a point of the space: [train] is spread over a TrainConfig's top, [method] and [task] lie below it.

    Raises:
        ConfigError: the values do not go together.
    """
    here = {key.removeprefix("train."): value for key, value in values.items()}
    return validate(TrainConfig, with_values(base.model_dump(mode="json"), here), source="trial")


def short(values: Mapping[str, Any]) -> str:
    """For people: `lr=0.0002 epochs=3`, each key as short as it stays apart from the others."""
    names = short_names(values)
    return " ".join(f"{names[key]}={shown(value)}" for key, value in values.items())


def short_names(keys: Mapping[str, Any]) -> dict[str, str]:
    found = {}
    for key in keys:
        parts = key.split(".")
        ends = [".".join(parts[-length:]) for length in range(1, len(parts) + 1)]
        found[key] = next(end for end in ends if sum(f".{other}".endswith(f".{end}") for other in keys) == 1)
    return found


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _draw(dimension: Range | tuple[Any, ...], rng: np.random.Generator) -> Any:
    if not isinstance(dimension, Range):
        return dimension[int(rng.integers(len(dimension)))]
    low, high, step = dimension.low, dimension.high, dimension.step
    if step is not None:
        drawn = low + step * int(rng.integers(math.floor((high - low) / step + 1e-9) + 1))
    elif dimension.log:
        drawn = math.exp(rng.uniform(math.log(low), math.log(high)))
    else:
        drawn = int(rng.integers(int(low), int(high) + 1)) if dimension.is_whole else rng.uniform(low, high)
    return within(dimension, drawn)


def within(dimension: Range, drawn: float) -> float:
    """A drawn number as a recipe has it: whole where the range is; else of four digits, as more would say nothing."""
    value = round(drawn) if dimension.is_whole else float(f"{drawn:.4g}")
    return type(value)(min(max(value, dimension.low), dimension.high))
