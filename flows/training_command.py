"""`bert-foundry train`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tasks.config import Workers


@click.command()
@click.argument("config", type=click.Path(exists=True, dir_okay=False))
@click.argument("overrides", nargs=-1)
@click.option("--workers", default="2", show_default=True, help="A number, or FEWEST-MOST, such as 1-3.")
@click.option("--mirror", metavar="FOLDER", help="Copy every checkpoint there as well.")
@click.option("--experiment", help="Of MLflow; by default the config's name.")
def train(config: str, overrides: Sequence[str], workers: str, mirror: str | None, experiment: str | None) -> None:
    """Train CONFIG on Ray, shown in Prefect and kept in MLflow: a TOML file with the keys of
    bert_core.config.TrainConfig, its folders as seen from here.

    The same file trains on a laptop without any of them, to the same weights with one worker:

    \b
      bert-foundry train run.toml --workers 1
      python -m bert_core.train run.toml --out runs/a
    """
    from bert_core.config import TrainConfig, load

    loaded = load(config, TrainConfig, overrides)
    asked = _workers(workers)
    from flows.running import run_train

    click.echo(run_train(loaded, workers=asked, mirror=mirror, experiment=experiment))


def _workers(text: str) -> Workers:
    if not (found := re.fullmatch(r"([1-9]\d*)(?:-([1-9]\d*))?", text)):
        raise click.BadParameter(f"--workers {text!r}: a number from 1, or FEWEST-MOST such as 1-3")
    fewest, most = found.groups()
    if most is None:
        return int(fewest)
    if int(fewest) > int(most):
        raise click.BadParameter(f"--workers {text!r}: {fewest} is more than {most}")
    return int(fewest), int(most)
