"""`bert-foundry`: the command line. Every command prints what to do next when it cannot do what was asked."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import ClassVar

import click

from bert_core.config import dump_json
from infra.interrupts import keep_interrupts

RECIPE = "film-reviews"
OURS = {"bert_core", "tasks", "flows", "infra"}


class Commands(click.Group):
    """Imports a command's module when it is asked for: `--help` must not wait seconds for torch and Prefect."""

    lazy: ClassVar = {
        "up": "infra.commands:up",
        "status": "infra.commands:status",
        "down": "infra.commands:down",
        "corpus": "flows.corpus_commands:corpus",
        "train": "flows.training_command:train",
        "finetune": "flows.finetune_commands:finetune",
        "search": "flows.search_command:search",
        "evaluate": "flows.finetune_commands:evaluate",
        "explain": "flows.finetune_commands:explain",
        "trace": "flows.corpus_commands:trace",
        "forget": "flows.corpus_commands:forget",
        "deploy": "flows.deployments:deploy",
        "promote": "flows.registry_commands:promote",
        "rollback": "flows.registry_commands:rollback",
        "history": "flows.registry_commands:history",
        "predict": "flows.registry_commands:predict",
    }

    def list_commands(self, context: click.Context) -> list[str]:
        return [
            "up",
            "status",
            "down",
            "run",
            "corpus",
            "train",
            "finetune",
            "search",
            "evaluate",
            "explain",
            "trace",
            "forget",
            "deploy",
            "predict",
            "promote",
            "rollback",
            "history",
            "recipes",
            "check",
        ]

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in self.lazy:
            return super().get_command(context, name)
        module, _, attribute = self.lazy[name].partition(":")
        command: click.Command = getattr(__import__(module, fromlist=[attribute]), attribute)
        return command


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def cli() -> None:
    """Turn growing text into a promoted encoder model, again every night.

    \b
    A first tour:
      bert-foundry up                     start Prefect, MLflow and Ray on this machine
      bert-foundry run film-reviews       crawl, train, evaluate, and promote what passes the gate
      bert-foundry predict "A bore."      ask the model in production
      bert-foundry history                who was in production when, and why
      bert-foundry down                   stop what `up` started

    State lives in .foundry of the working folder, or where BERT_FOUNDRY_HOME says.
    """


@cli.command()
@click.argument("recipe", default=RECIPE)
@click.argument("overrides", nargs=-1)
@click.option("--as-of", metavar="NIGHT", help="The night that the run stands for, by default today (UTC).")
@click.option("--ablate", is_flag=True, help="Also fine-tune from random weights and without continued pretraining.")
def run(recipe: str, overrides: Sequence[str], as_of: str | None, ablate: bool) -> None:
    """Run RECIPE (a file, or the name of a shipped one) from source to gate, or to weights if it ends with [pretrain].

    OVERRIDES change single keys: pretrain.steps=10 train.optimizer.lr=5e-5. The same command again continues what
    was interrupted, and finds what is done. The local stack is started where the environment names no servers.
    """
    from flows.recipe import PretrainRecipe, load_runnable

    loaded = load_runnable(recipe, overrides)
    from flows.running import run_pretrain, run_retrain

    if isinstance(loaded, PretrainRecipe):
        if ablate:
            raise click.UsageError(f"--ablate compares classifiers, and {recipe} ends with pretraining")
        click.echo(run_pretrain(loaded, as_of=as_of))
    else:
        click.echo(run_retrain(loaded, as_of=as_of, ablate=ablate))


@cli.command()
def recipes() -> None:
    """List the recipes that come with the project."""
    from flows.recipe import shipped

    for name, path in shipped().items():
        comment = path.read_text().splitlines()[0].lstrip("# ")
        click.echo(f"{name:<20} {comment}\n{'':<20} {path}")


@cli.command()
@click.argument("recipe", default=RECIPE)
@click.argument("overrides", nargs=-1)
def check(recipe: str, overrides: Sequence[str]) -> None:
    """Check RECIPE without running anything, and print it resolved, every default filled in, as JSON."""
    from flows.recipe import load_any

    click.echo(dump_json(load_any(recipe, overrides)))


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point; exit status 1 for a fault that is explained, 2 for wrong usage, 130 for Ctrl-C."""
    keep_interrupts()
    try:
        cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.Abort:
        click.echo("stopped; the same command continues", err=True)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Exception as error:
        if not _is_expected(error):
            raise
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _is_expected(error: Exception) -> bool:
    """Our own errors say all that a person needs and are shown without a traceback; any other is a fault of ours."""
    return any(kind.__module__.split(".")[0] in OURS for kind in type(error).__mro__)


if __name__ == "__main__":
    main()
