"""From sources to token shards: a flow of its own, and the first half of the nightly run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime

from prefect import flow

from bert_core.files import file_sha256
from flows.look import publish_look
from flows.recipe import CorpusRecipe
from flows.reporting import publish_report
from infra import stack
from tasks import artifacts, takedown
from tasks.artifacts import ArtifactRef
from tasks.clean import CleanSpec, clean
from tasks.collect import CollectSpec, collect
from tasks.config import PretrainedTokenizer, Source, WebSource
from tasks.decontaminate import DecontaminateSpec, decontaminate
from tasks.dedup import DedupSpec, dedup
from tasks.encode import EncodeSpec, encode
from tasks.extract import ExtractSpec, extract
from tasks.scrape import ScrapeSpec, scrape
from tasks.split import SplitSpec, split
from tasks.stage import Stage
from tasks.text.sources.open import reader
from tasks.workers import corpus_workers

Refs = dict[str, ArtifactRef | None]


@flow(name="corpus", flow_run_name="{recipe.name} {as_of}", persist_result=False)
def corpus(recipe: CorpusRecipe, as_of: str | None = None) -> str:
    """Crawl or read the sources, extract, clean, deduplicate, decontaminate, split, encode.

    Args:
        recipe: the corpus; the page that starts a run shows and checks it.
        as_of: the night that the run stands for (YYYY-MM-DD), by default today's date in UTC. The same night again is
            the same run: what is done is found, what was interrupted continues.

    Returns:
        the report, as text.
    """
    started, night = begin(as_of)
    refs = build_corpus(recipe, night)
    return publish_report(recipe.name, night, refs, started) + publish_look(recipe.name, night, refs)


def begin(as_of: str | None = None) -> tuple[datetime, str]:
    """When a run starts, and the night that it stands for. Its stages measure this process and the servers."""
    Stage.memory_roots = staticmethod(lambda: [os.getpid(), *stack.current().pids()])
    started = datetime.now(UTC)
    return started, as_of or started.date().isoformat()


def build_corpus(recipe: CorpusRecipe, night: str, labels: tuple[str, ...] = ()) -> Refs:
    """The artifacts of every stage, by name; sources as `source <name>`.

    Args:
        labels: of the task that follows; every side of the split must hold each of them.
    """
    name = recipe.name
    with corpus_workers(recipe.workers):
        sources = {f"source {source.name}": _source(name, source, night) for source in recipe.sources.values()}
        before = artifacts.latest("extract", name, before=night)
        spec = ExtractSpec(sources=tuple(recipe.sources.values()), extract=recipe.extract)
        extracted = extract(name, spec, *sources.values(), before, as_of=night)
        away = takedown.current()
        lists = _contents(each.path for each in recipe.clean.quality.c4_bad_words)
        rules = CleanSpec(clean=recipe.clean, takedown=away.content, word_lists=lists)
        documents = clean(name, rules, extracted, as_of=night)
        others = [_corpus(other) for other in recipe.dedup.against]
        unique = dedup(
            name,
            DedupSpec(dedup=recipe.dedup, takedown=away.content),
            documents,
            artifacts.latest("dedup", name, before=night),
            *others,
            as_of=night,
        )
        refs: Refs = {**sources, "extract": extracted, "clean": documents, "dedup": unique}
        if recipe.decontaminate.sets:
            contents = _contents(each.path for each in recipe.decontaminate.sets)
            protected = DecontaminateSpec(decontaminate=recipe.decontaminate, contents=contents)
            refs["decontaminate"] = decontaminate(name, protected, unique, as_of=night)
        sides = SplitSpec(
            split=recipe.split,
            labels=labels,
            weights={source.name: source.weight for source in recipe.sources.values()},
        )
        rest = refs.get("decontaminate", unique)
        before = artifacts.latest("split", name, before=night)
        refs["split"] = split(name, sides, rest, unique, before, as_of=night)
        tokenizer = recipe.encode.tokenizer
        given = folder_content(tokenizer.path) if isinstance(tokenizer, PretrainedTokenizer) else None
        shards = EncodeSpec(encode=recipe.encode, labels=labels, tokenizer_content=given)
        before = artifacts.latest("encode", name, before=night)
        refs["encode"] = encode(name, shards, refs["split"], before, as_of=night)
        return refs


def folder_content(folder: str) -> str:
    """Content hash of a folder that a recipe names, relative to the home folder."""
    return artifacts.folder_content(artifacts.home() / folder)


def _source(name: str, source: Source, night: str) -> ArtifactRef:
    if isinstance(source, WebSource):
        previous = artifacts.latest("scrape", f"{name}-{source.name}", before=night)
        return scrape(f"{name}-{source.name}", ScrapeSpec(source=source, as_of=night), previous, as_of=night)
    units = "".join(unit.identity for unit in reader(source).units())
    spec = CollectSpec(source=source, units=hashlib.sha256(units.encode()).hexdigest())
    return collect(f"{name}-{source.name}", spec, as_of=night)


def _corpus(name: str) -> ArtifactRef:
    found = artifacts.latest("dedup", name)
    if found is None:
        raise artifacts.ArtifactError(f"dedup.against: no corpus {name!r} in {artifacts.store()}; build it first")
    return found


def _contents(paths: Iterable[str]) -> tuple[str, ...]:
    """sha256 of each file that the recipe has only the name of.

    Raises:
        ArtifactError: one is not there.
    """
    files = [artifacts.home() / path for path in paths]
    if missing := [str(file) for file in files if not file.is_file()]:
        raise artifacts.ArtifactError(
            f"no such file: {', '.join(missing)}; the recipe names it relative to the home folder"
        )
    return tuple(map(file_sha256, files))
