"""A recipe's search space against the recipe, and the recipe with what a search found. Needs no Prefect."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from bert_core.config import ConfigError, validate
from bert_core.config.base import different_values
from flows.finetune_recipe import FinetuneRecipe
from flows.recipe_text import toml_text, with_recipe_values
from tasks.finetuning.space import corners, with_values


def check_space(recipe: FinetuneRecipe) -> None:
    """Every choice and both ends of every range are values that the recipe can take.

    Raises:
        ConfigError: one is not; names the key, the value and what is legal.
    """
    if recipe.search is None:
        raise ConfigError(
            f"{recipe.name}: no section [search]: name settings to try, for example\n"
            '[search]\nspace = { "train.optimizer.lr" = [1e-4, 2e-4, 4e-4], "train.epochs" = [2, 3] }'
        )
    written = _written(recipe)
    for key, value in corners(recipe.search):
        validate(FinetuneRecipe, with_values(written, {key: value}), source=f"search.space: {key} = {value!r}")


def best_recipe(recipe: FinetuneRecipe, text: str | None, values: Mapping[str, Any]) -> str:
    """The recipe as TOML with `values` in place of its own, without [search].

    Raises:
        ConfigError: `text` is not that of `recipe`.
    """
    changed = with_values(_written(recipe), values)
    changed.pop("search", None)
    given = toml_text(changed) if text is None else with_recipe_values(text, values, drop="search")
    wanted = validate(FinetuneRecipe, changed, source=recipe.name)
    found = validate(FinetuneRecipe, tomllib.loads(given), source=f"{recipe.name}-best")
    other = different_values(wanted.model_dump(mode="json"), found.model_dump(mode="json"))
    if other:
        raise ConfigError(f"the text given is not that of the recipe {recipe.name}: {', '.join(other)}")
    return given


def _written(recipe: FinetuneRecipe) -> dict[str, Any]:
    """What the recipe's file says, without defaults: they may change with what is searched."""
    return recipe.model_dump(mode="json", exclude_unset=True)
