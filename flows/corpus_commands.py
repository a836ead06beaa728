"""`bert-foundry corpus | trace | forget`."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from tasks.artifacts import ArtifactRef
    from tasks.provenance import Trace
    from tasks.text.tracing import Row

MAX_ROWS = 10


@click.group()
def corpus() -> None:
    """Build a corpus without a model, and look at one."""


@corpus.command()
@click.argument("recipe")
@click.argument("overrides", nargs=-1)
@click.option("--as-of", metavar="NIGHT", help="The night that the run stands for, by default today (UTC).")
def run(recipe: str, overrides: Sequence[str], as_of: str | None) -> None:
    """Run RECIPE from its sources to token shards, and no further.

    Any recipe will do: one that ends with [encode], or one that goes on to a model. OVERRIDES change single keys:
    dedup.threshold=0.7. The same command again continues what was interrupted, and finds what is done.

    \b
      bert-foundry corpus run debian-docs
      bert-foundry corpus run my-corpus.toml workers=4
    """
    from flows.recipe import load_corpus_recipe

    loaded = load_corpus_recipe(recipe, overrides)
    from flows.running import run_corpus

    click.echo(run_corpus(loaded, as_of=as_of))


@corpus.command()
@click.argument("name")
@click.option("--as-of", metavar="NIGHT", help="Of that night; by default the latest.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="By default in the store.")
def report(name: str, as_of: str | None, output: Path | None) -> None:
    """Write a page about the corpus of the recipe NAME: one HTML file, to be read before the corpus is trusted.

    What was seen, kept and dropped at each stage and why, with samples of both; lengths, languages, hosts, duplicates,
    leaks, and what the vocabulary makes of it.

    \b
      bert-foundry corpus report debian-docs -o report.html
    """
    from flows.look import write_page
    from tasks import artifacts

    found = [ref for ref in artifacts.every("encode", name) if as_of in (None, ref.manifest["facts"].get("as_of"))]
    if not found:
        known = sorted({ref.name for ref in artifacts.every("encode")})
        raise click.UsageError(
            f"no corpus {name!r}{f' of {as_of}' if as_of else ''} in {artifacts.store()}; there are: "
            f"{', '.join(known) or 'none: `bert-foundry corpus run RECIPE` builds one'}"
        )
    newest = max(found, key=lambda ref: (str(ref.manifest["facts"].get("as_of", "")), ref.manifest["created_at"]))
    click.echo(f"looking at {newest.path} …", err=True)
    click.echo(write_page(name, artifacts.upstream(newest), output))


@click.command()
@click.argument("url", required=False)
@click.option("--shard", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A shard file, with --row.")
@click.option("--row", type=click.IntRange(0), help="A row of the shard, from 0.")
def trace(url: str | None, shard: Path | None, row: int | None) -> None:
    """Say which corpora, shards and models hold URL; or where a row of a shard came from.

    \b
      bert-foundry trace https://example.com/a-page
      bert-foundry trace --shard .foundry/store/encode/NAME-KEY/train/part-00000.arrow --row 17
    """
    from tasks import provenance

    if (url is None) == (shard is None) or (shard is None) != (row is None):
        raise click.UsageError("give a URL, or --shard with --row")
    if url is not None:
        lines = trace_lines(provenance.trace(url))
    else:
        assert shard is not None
        assert row is not None
        lines = _origin_lines(*provenance.origin(shard, row))
    click.echo("\n".join(lines))


@click.command()
@click.argument("url", required=False)
@click.option("--pattern", help="A regular expression instead: every address that it matches.")
@click.option("--id", "document", help="A document's id instead.")
@click.option("--why", required=True, help="Goes into the list, for whoever asks in a year.")
def forget(url: str | None, pattern: str | None, document: str | None, why: str) -> None:
    """Mark URL as one that must not be in a corpus: the next run builds without it.

    Says at once which corpora, shards and models hold it. Models that were trained on it are not changed: train again,
    from weights that have not seen it. The entry goes to the home folder's takedown.jsonl.

    \b
      bert-foundry forget https://example.com/a-page --why "the author asked on 2026-11-20"
      bert-foundry forget --pattern '^https://example\\.com/private/' --why "crawled by mistake"
    """
    from tasks import provenance, takedown
    from tasks.text.takedown import append

    target, value = _only({"url": url, "pattern": pattern, "id": document})
    found = provenance.trace(value) if target == "url" else None
    path = takedown.current().path
    signed = {"who": getpass.getuser(), "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}
    append(path, {target: value, "why": why, **signed})
    # What an earlier night kept and this one does not have is remembered by its id alone
    for each in sorted({row.document_id for sighting in found.sightings for row in sighting.rows} if found else ()):
        append(path, {"id": each, "why": f"{why} ({value})", **signed})
    click.echo(f"{value}: on the list {path}; the next run builds without it")
    if found:
        click.echo("\n".join(trace_lines(found)))


def _only(targets: dict[str, str | None]) -> tuple[str, str]:
    given = [(name, value) for name, value in targets.items() if value]
    if len(given) != 1:
        raise click.UsageError("give one of URL, --pattern and --id")
    return given[0]


def trace_lines(found: Trace) -> Iterator[str]:
    """What a trace says, line by line."""
    if not found.sightings:
        yield f"{found.url}: in no corpus of this store"
    for each in found.sightings:
        yield f"corpus {each.corpus.name}, night {each.night or '?'}: {each.corpus.path}"
        for row in each.rows[:MAX_ROWS]:
            yield f"  {row.split}/{row.shard} row {row.row}: {row.tokens:,} tokens, document {row.document_id}"
        if len(each.rows) > MAX_ROWS:
            yield f"  and {len(each.rows) - MAX_ROWS:,} more rows"
    for model in found.models:
        known = f" = {', '.join(model.versions)}" if model.versions else ""
        yield f"known to {model.training.stage} {model.training.name}, night {model.night or '?'}{known}"
    if found.sightings and not found.models:
        yield "no model was trained on it"
    if found.registry:
        yield f"which registered models these are, is not known: {found.registry}"


def _origin_lines(found: Row, stages: dict[str, ArtifactRef]) -> Iterator[str]:
    yield f"{found.url}"
    yield f"  document {found.document_id}, {found.tokens:,} tokens from token {found.first_token:,} of the shard"
    for name, ref in stages.items():
        yield f"  {name:<14} {ref.content[:16]}  {ref.path}"
