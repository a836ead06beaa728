"""Classical models on the same sides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow.parquet as pq

from bert_core.config import Config
from tasks.artifacts import Draft
from tasks.classical import fit
from tasks.config.classical import ClassicalConfig
from tasks.finetuning.prepare import SIDES, side, task_of
from tasks.stage import progress, stage


class ClassicalSpec(Config):
    baselines: ClassicalConfig
    seed: int


@stage("classical", code="tasks.finetuning.baselines")
def classical(config: ClassicalSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Fit the classical baselines of the task, choose their settings on validation, and ask them about test."""
    (prepared,) = inputs
    sides = {name: side(prepared, name) for name in SIDES}
    show = progress("baselines")
    rivals = fit(
        config.baselines,
        task_of(prepared),
        sides,
        seed=config.seed,
        on_progress=lambda name, done, total: show(done, total),
    )
    for name, rival in rivals.items():
        (out.path / name).mkdir()
        pq.write_table(rival.answers, out.path / name / "test.parquet")
        pq.write_table(rival.validation, out.path / name / "validation.parquet")
    out.rows = {"baselines": len(rivals), "test": sides["test"].num_rows}
    out.facts |= {
        "baselines": list(rivals),
        "skipped": rivals.skipped,
        "facts": {name: dict(rival.facts) for name, rival in rivals.items()},
        "notes": {name: list(rival.notes) for name, rival in rivals.items()},
    }
