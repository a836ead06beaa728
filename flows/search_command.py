"""`bert-foundry search`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from bert_core.config import apply_override


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="The best recipe; by default NAME-best.toml here."
)
@click.option("--as-of", metavar="NIGHT", help="The night that the run stands for, by default today (UTC).")
def search(recipe: str, overrides: Sequence[str], output: Path | None, as_of: str | None) -> None:
    """Try the settings that [search] of RECIPE names, and write the recipe with the best of them.

    \b
      bert-foundry search my-task.toml
      bert-foundry search my-task.toml search.algorithm=asha search.trials=30 search.minutes=20
      bert-foundry finetune my-task-best.toml

    Trials train one seed, and are compared on the validation side; the test side is never asked. Ctrl-C writes down
    what is best so far; the same command again continues, and no trial that is done runs twice.
    """
    from flows.finetune_recipe import load_finetune_recipe
    from flows.recipe import recipe_path

    loaded = load_finetune_recipe(recipe, overrides)
    from flows.recipe_text import with_recipe_values
    from flows.searching import check_space

    check_space(loaded)
    text = with_recipe_values(recipe_path(recipe).read_text("utf-8"), _values(overrides))
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # two lines for each trial
    from flows.running import run_search

    click.echo(run_search(loaded, text=text, output=output or Path(f"{loaded.name}-best.toml"), as_of=as_of))


def _values(overrides: Sequence[str]) -> dict[str, Any]:
    """By dotted key, as `load` reads them."""
    found = {}
    for override in overrides:
        key = override.partition("=")[0].strip()
        data: dict[str, Any] = {}
        apply_override(data, override)
        for name in key.split("."):
            data = data[name]
        found[key] = data
    return found
