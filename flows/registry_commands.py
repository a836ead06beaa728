"""`bert-foundry promote | rollback | history | predict`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from bert_core.predict import Generator, Predictor
    from tasks.registry.promotion import History

MODEL = click.option("--model", "model_name", metavar="NAME", help="Registered model; needed if there are several.")
BATCH = 256


@click.command()
@click.argument("version", required=False)
@click.option("--why", required=True, help="Goes into the log, for whoever asks in a year.")
@MODEL
def promote(version: str | None, why: str, model_name: str | None) -> None:
    """Make VERSION the champion: a number, by default the one with the alias @candidate.

    The champion until then becomes @previous, so that `rollback` can restore it. This overrules the gate: a nightly run
    promotes what passes by itself. Who, when and why are written to the promotion log.

    \b
      bert-foundry promote --why "passes; the regression is in plots only"
      bert-foundry promote 3 --why "the one that legal has approved"
    """
    from tasks.registry import promotion, versions

    name = _model(model_name)
    chosen = version or versions.aliases(name).candidate
    if chosen is None:
        raise click.UsageError(f"{name} has no @candidate now: name the VERSION to promote")
    click.echo(promotion.promote(name, chosen, why=why).sentence)


@click.command()
@click.option("--why", required=True, help="Goes into the log, for whoever asks in a year.")
@MODEL
def rollback(why: str, model_name: str | None) -> None:
    """Make the previous champion the champion again.

    The two swap places: @previous is then the version that was rolled back from, and a second rollback takes the first
    one back.

    \b
      bert-foundry rollback --why "calls every documentary rotten"
    """
    from tasks.registry import promotion

    click.echo(promotion.rollback(_model(model_name), why=why).sentence)


@click.command()
@click.option("--at", metavar="TIME", help="Only who was champion then: ISO 8601, UTC unless it says otherwise.")
@click.option("--json", "as_json", is_flag=True, help="For programs: everything, with the evidence.")
@MODEL
def history(at: str | None, as_json: bool, model_name: str | None) -> None:
    """Show who was champion when, by whose hand, and why; and what the gate refused.

    \b
      bert-foundry history
      bert-foundry history --at 2026-11-22T03:00
    """
    from tasks.registry import promotion

    record = promotion.history(_model(model_name), at=_time(at) if at else None)
    if as_json:
        click.echo(json.dumps(_history_json(record), indent=2, ensure_ascii=False))
        return
    for line in _history_lines(record, at):
        click.echo(line)


@click.command()
@click.argument("text", required=False)
@click.option("--file", type=click.File(encoding="utf-8"), help="One text a line; '-' is standard input.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the probability of every label.")
@click.option("--version", metavar="NUMBER", help="Ask this version instead of @champion.")
@click.option("--folder", type=click.Path(exists=True, file_okay=False), help="Ask the model in this folder instead.")
@MODEL
def predict(
    text: str | None,
    file: IO[str] | None,
    as_json: bool,
    version: str | None,
    folder: str | None,
    model_name: str | None,
) -> None:
    """Ask the model in production about TEXT, or about each line of a file; '-' reads standard input.

    \b
      bert-foundry predict "A neat trick, bundling perversity and romance into a tempting bouquet."
      bert-foundry predict --file reviews.txt --json
      head reviews.txt | bert-foundry predict -
      bert-foundry predict --model vitaminc '{"text": "Sales doubled.", "text_b": "Sales rose."}'

    Where the model reads more than one text (pairs, questions and contexts, choices), each line is a JSON object
    with these columns. Blank lines are passed over. The model is fetched from MLflow once and kept in the store.
    """
    if (text is None) == (file is None):
        raise click.UsageError("give a TEXT, '-' for standard input, or --file: exactly one of them")
    source = click.File(encoding="utf-8").convert("-", None, None) if text == "-" else file
    lines = [text or ""] if source is None else _texts(source)
    predictor = None
    for batch in _batches(lines):
        predictor = predictor or predictor_of(folder, model_name, version)
        examples = [as_example(line, predictor) for line in batch]
        for each, example, answer in zip(batch, examples, predictor.serve(examples), strict=True):
            if as_json:
                click.echo(json.dumps({**example, **answer}, ensure_ascii=False))
            else:
                click.echo(_answer(answer) + (f"\t{each}" if source is not None else ""))
    if predictor is None:
        raise click.ClickException("there is no text in the input")


def _model(name: str | None) -> str:
    """The model meant: the one named, or the only one there is. Finds the local stack where no server is named."""
    from infra import stack
    from tasks.registry import versions

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        os.environ["MLFLOW_TRACKING_URI"] = stack.current().mlflow_tracking_uri
    if name is not None:
        return name
    names = versions.model_names()
    if len(names) == 1:
        return names[0]
    if names:
        raise click.UsageError(f"several models are registered: say which by --model ({', '.join(names)})")
    raise click.ClickException("no model is registered yet: `bert-foundry run` makes one")


def predictor_of(folder: str | None, name: str | None, version: str | None) -> Predictor | Generator:
    from bert_core.predict import open_model
    from tasks.registry import versions

    if folder is not None:
        return open_model(folder)
    model_name = _model(name)
    chosen = versions.get(model_name, version) if version else versions.champion(model_name)
    if chosen is None:
        raise click.ClickException(
            f"{model_name} has no champion yet: `bert-foundry promote` makes one, and --version asks any other"
        )
    return open_model(versions.download(chosen))


def as_example(line: str, predictor: Predictor | Generator) -> dict[str, Any]:
    """A line as what the model is asked: a text, or the columns of its task in a JSON object."""
    columns = predictor.inputs
    if columns == ("text",):
        return {"text": line}
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(name in found for name in columns):
        wanted = ", ".join(f'"{name}": …' for name in columns)
        raise click.ClickException(
            f"a {predictor.task.type} model is asked JSON objects {{{wanted}}}, not {line[:60]!r}"
        )
    return {name: found[name] for name in columns}


def _texts(source: IO[str]) -> Iterator[str]:
    """The lines that hold something, without their ends."""
    try:
        yield from (stripped for line in source if (stripped := line.strip()))
    except UnicodeDecodeError as error:
        raise click.ClickException(f"the input is not UTF-8: byte {error.object[error.start]:#04x}") from None


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """Some at a time, so that a file of any size takes little memory."""
    source = iter(lines)
    while batch := list(islice(source, BATCH)):
        yield batch


def _answer(answer: Mapping[str, Any]) -> str:
    """For a person: the label and its probability, or whatever else the task answers with."""
    note = f"\t({answer['note']})" if answer.get("note") else ""
    if "label" in answer:
        return f"{answer['label']}\t{answer['score']:.3f}{note}"
    first = next(iter(answer.values()))
    shown = (
        f"{first:.4g}" if isinstance(first, float) else " ".join(map(str, first)) if isinstance(first, list) else first
    )
    return f"{shown}{note}"


def _time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(f"--at {text!r}: expected ISO 8601, such as 2026-11-22 or 2026-11-22T03:00") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _history_lines(record: History, at: str | None) -> list[str]:
    lines = [f"note: {note}" for note in record.notes]
    if not record.reigns:
        lines.append(f"{record.model}: nobody was champion{f' at {at}' if at else ' so far'}")
    for reign in record.reigns:
        until = f"{reign.until:%Y-%m-%d %H:%M:%S}" if reign.until else "now"
        lines.append(
            f"{reign.since:%Y-%m-%d %H:%M:%S} to {until:<19}  version {reign.version or '(none)'}  "
            f"{reign.entry.action} by {reign.entry.who}: {reign.entry.why}"
        )
    for entry in record.refusals:
        at_second = f"{datetime.fromisoformat(entry.at):%Y-%m-%d %H:%M:%S}"
        lines.append(f"{at_second}{'':<24}version {entry.version}  refused by {entry.who}: {entry.why}")
    return lines


def _history_json(record: History) -> dict[str, Any]:
    return {
        "model": record.model,
        "reigns": [
            {
                "version": reign.version,
                "since": reign.since.isoformat(),
                "until": reign.until and reign.until.isoformat(),
                "entry": reign.entry.model_dump(),
            }
            for reign in record.reigns
        ],
        "refusals": [entry.model_dump() for entry in record.refusals],
        "notes": list(record.notes),
    }
