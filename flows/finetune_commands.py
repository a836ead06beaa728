"""`bert-foundry finetune | evaluate | explain`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.registry_commands import MODEL, predictor_of

if TYPE_CHECKING:
    from tasks.evidence.schema import EvalReport

FOLDER = click.option(
    "--folder", type=click.Path(exists=True, file_okay=False), help="The model in this folder, without any server."
)
VERSION = click.option("--version", metavar="NUMBER", help="This version instead of @champion.")


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option("--as-of", metavar="NIGHT", help="The night that the run stands for, by default today (UTC).")
def finetune(recipe: str, overrides: Sequence[str], as_of: str | None) -> None:
    """Fine-tune as RECIPE says (a file, or the name of a shipped one), from labelled files to the gate.

    \b
      bert-foundry finetune trec-questions
      bert-foundry finetune my-task.toml train.epochs=3 'seeds=[1,2,3,4,5]'

    Checks the data, fits classical baselines, trains once for each seed, compares all of them on the test side, and
    registers and promotes what passes the gate. The same command again continues what was interrupted.

    Sections that a recipe may have besides, each with examples in trec-questions and tweet-ner: [pseudo_labels] learns
    from unlabelled texts too, [select] writes a sheet of what to label next, [auxiliary.NAME] is another task on the
    same encoder.
    """
    from flows.finetune_recipe import load_finetune_recipe

    loaded = load_finetune_recipe(recipe, overrides)
    from flows.running import run_finetune

    click.echo(run_finetune(loaded, as_of=as_of))


@click.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@FOLDER
@VERSION
@MODEL
@click.option("--side", default="test", type=click.Choice(["train", "validation", "test"]), show_default=True)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page (HTML).")
@click.option("--json", "as_json", is_flag=True, help="The whole report, for programs.")
def evaluate(
    recipe: str,
    overrides: Sequence[str],
    folder: str | None,
    version: str | None,
    model_name: str | None,
    side: str,
    output: Path | None,
    as_json: bool,
) -> None:
    """Measure a model on the labelled data of RECIPE: @champion, another version, or the model in a folder.

    \b
      bert-foundry evaluate trec-questions
      bert-foundry evaluate my-task.toml data.test=data/new-labels.csv --folder runs/a/model --output report.html

    Trains nothing, and changes nothing in the registry.
    """
    from flows.finetune_recipe import load_finetune_recipe

    loaded = load_finetune_recipe(recipe, overrides)
    predictor = predictor_of(folder, model_name or loaded.registry.model_name, version)
    from tasks import artifacts
    from tasks.evidence.page import page
    from tasks.evidence.report import CANDIDATE, Draw, Evidence, build_report
    from tasks.labelled import load_dataset

    sides = load_dataset(loaded.data, predictor.task, home=artifacts.home(), seed=loaded.seeds[0]).sides
    settings = loaded.evaluate
    report = build_report(
        Evidence(
            task=predictor.task,
            gold=sides[side],
            answers={CANDIDATE: [predictor.answer(sides[side])]},
            title=f"{loaded.name}, {side} side",
            slice_by=settings.slices,
            time_column=settings.time_column,
            draw=Draw(settings.bootstrap_samples, settings.confidence, settings.seed),
        )
    )
    if output is not None:
        output.write_text(page(report), "utf-8")
    click.echo(json.dumps(report.model_dump(mode="json"), ensure_ascii=False) if as_json else _figures(report))
    if output is not None:
        click.echo(f"\nthe page: {output}", err=True)


@click.command()
@click.argument("example")
@FOLDER
@VERSION
@MODEL
@click.option(
    "--method",
    default="integrated_gradients",
    type=click.Choice(["integrated_gradients", "leave_one_out", "attention"]),
    show_default=True,
)
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Where to write the page (HTML).")
def explain(
    example: str, folder: str | None, version: str | None, model_name: str | None, method: str, output: Path | None
) -> None:
    """Show which words of EXAMPLE made the model say what it says.

    \b
      bert-foundry explain "Who wrote Hamlet ?"
      bert-foundry explain --method leave_one_out --output why.html "A neat trick."
      bert-foundry explain --model vitaminc '{"text": "Sales doubled.", "text_b": "Sales rose."}'

    integrated_gradients: how the score grows from a masked text to this one; leave_one_out: how it falls without each
    word; attention: where the model looked, which is not the same as why.
    """
    from flows.registry_commands import as_example

    predictor = predictor_of(folder, model_name, version)
    import pyarrow as pa

    from bert_core.explain import as_html
    from bert_core.explain import explain as explained
    from bert_core.predict import Predictor

    if not isinstance(predictor, Predictor):
        raise click.ClickException(
            f"a {predictor.task.type} model writes texts: there is no score of a label to explain"
        )
    given = as_example(example, predictor)
    found = explained(
        predictor, pa.table({"id": ["0"], **{name: [value] for name, value in given.items()}}), method=method
    )
    for each in found:
        click.echo(each.text())
    if output is not None:
        output.write_text(f"<!doctype html><meta charset=utf-8><title>explained</title>{as_html(found)}", "utf-8")
        click.echo(f"\nthe page: {output}", err=True)


def _figures(report: EvalReport) -> str:
    lines = [f"{report.title}: {report.examples:,} examples, {report.confidence:.0%} intervals", ""]
    for name, figure in report.candidate.metrics.items():
        lead = "*" if name == report.primary else " "
        lines.append(f"{lead} {name:<28} {figure.interval}")
    for one in report.slices:
        mark = "  worse than the rest" if one.is_worse else ""
        lines.append(f"  {one.column} = {one.value} ({one.examples:,}): {report.primary} {one.interval}{mark}")
    return "\n".join(lines)
