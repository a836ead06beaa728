"""An inventory of text that lies in files: what there is, cut into units of work, with hashes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from bert_core.config import Config
from bert_core.files import write_json
from tasks.artifacts import Draft
from tasks.config import FileBasedSource
from tasks.stage import stage
from tasks.text.sources.open import reader

UNITS = "units.json"


class CollectSpec(Config):
    source: FileBasedSource
    units: str
    """sha256 over the units' identities: the recipe has only names."""


@stage("collect", code="tasks.text.sources.open")
def collect(config: CollectSpec, inputs: Sequence[Any], out: Draft) -> None:
    """List the files of a source and hash them: what later stages read, and what a model's lineage ends in."""
    units = reader(config.source).units()
    write_json(out.path / UNITS, [asdict(unit) for unit in units])
    out.rows |= {"files": len({unit.path for unit in units}), "units": len(units)}
