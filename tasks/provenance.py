"""Where a text went: which corpora, shards and models hold an address; and where a row of a shard came from."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from tasks import artifacts
from tasks.artifacts import ArtifactRef
from tasks.text.tracing import Row, locate_row, locate_url

TRAININGS = ("pretrain", "train-task")


@dataclass(frozen=True)
class Sighting:
    """A corpus that holds an address."""

    corpus: ArtifactRef
    """Its encode artifact."""
    night: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Model:
    """A training that has read a corpus, or that continues from one that has."""

    training: ArtifactRef
    night: str
    versions: tuple[str, ...] = ()
    """`name version (aliases)` of the registry."""


@dataclass(frozen=True)
class Trace:
    url: str
    sightings: tuple[Sighting, ...]
    models: tuple[Model, ...]
    registry: str = ""
    """Why the registry could not be asked; "" if it was."""


def trace(url: str) -> Trace:
    """Every corpus in the store whose shards hold documents of the address, and every model that knows them."""
    sightings = tuple(_sightings(url))
    contents = {each.corpus.content for each in sightings}
    trainings = list(_trained_on(contents))
    versions, trouble = _versions({ref.content for ref in trainings}) if trainings else ({}, "")
    models = tuple(Model(ref, _night(ref), versions.get(ref.content, ())) for ref in trainings)
    return Trace(url, sightings, models, trouble)


def origin(shard: Path, row: int) -> tuple[Row, dict[str, ArtifactRef]]:
    """What a row of a shard file is, and the artifacts that it came through, sources first.

    Raises:
        ArtifactError: the file is not in a published corpus.
        TraceError: no such shard or row.
    """
    folder = shard.resolve().parents[1]
    manifest = artifacts.read_manifest(folder)
    ref = artifacts.find(manifest["stage"], manifest["name"], manifest["key"])
    if ref is None:
        raise artifacts.ArtifactError(
            f"{folder} is not in the store {artifacts.store()}; set BERT_FOUNDRY_HOME to its home"
        )
    return locate_row(folder, shard.parent.name, shard.name, row), artifacts.upstream(ref)


def _sightings(url: str) -> Iterator[Sighting]:
    for ref in artifacts.every("encode"):
        if rows := tuple(locate_url(ref, url)):
            yield Sighting(ref, _night(ref), rows)


def _trained_on(contents: Collection[str]) -> Iterator[ArtifactRef]:
    """Trainings with one of the contents among their inputs, or a training that has; oldest first."""
    known = set(contents)
    trainings = (ref for stage in TRAININGS for ref in artifacts.every(stage))
    every = sorted(trainings, key=lambda ref: ref.manifest["created_at"])
    found: list[ArtifactRef] = []
    while True:
        more = [
            ref
            for ref in every
            if ref not in found and any(entry["content"] in known for entry in ref.manifest["inputs"])
        ]
        if not more:
            break
        found += more
        known |= {ref.content for ref in more}
    yield from (ref for ref in every if ref in found)


def _versions(contents: Collection[str]) -> tuple[dict[str, tuple[str, ...]], str]:
    """Registered versions by the content of the training that made them, and why the registry could not be asked."""
    from tasks.registry import server, versions

    try:
        if not server.answers():
            return {}, f"MLflow at {server.address()} does not answer"
        found: dict[str, tuple[str, ...]] = {}
        for version in versions.every():
            content = version.tags.get("finetune_content", "")
            if content in contents:
                aliases = "".join(f" @{alias}" for alias in version.aliases)
                found[content] = (*found.get(content, ()), f"{version.name} version {version.version}{aliases}")
        return found, ""
    except server.RegistryError as error:
        return {}, str(error)


def _night(ref: ArtifactRef) -> str:
    return str(ref.manifest["facts"].get("as_of", ""))
