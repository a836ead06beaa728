"""What pretraining and fine-tuning share: one training config to its end on Ray, shown in Prefect, kept in MLflow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from pydantic import SerializerFunctionWrapHandler, model_serializer

from bert_core.config import HOW_IT_RUNS, Config, StepsConfig, TrainConfig
from bert_core.journal import read_metrics
from bert_core.progress import live_line
from tasks.artifacts import ArtifactRef, Draft, verify
from tasks.config import StepsOnRayConfig, Workers
from tasks.stage import progress
from tasks.text.plots import training_curves
from tasks.tracking import TrackedRun
from tasks.training import fit

CARRYING_OUT = {"workers", "mirror", *HOW_IT_RUNS}
"""Keys of a section that say how a run is carried out: it continues, and is found again, under others."""


class TrackedSpec(Config):
    """A training stage's identity: what it trains, without how that is carried out."""

    name: str
    experiment: str

    @model_serializer(mode="wrap")
    def _identity(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {
            name: {key: each for key, each in value.items() if key not in CARRYING_OUT}
            if isinstance(value, dict)
            else value
            for name, value in dump(self).items()
        }


class StepsOnRay(TrackedSpec):
    """Common part of the stages whose section is a `StepsOnRayConfig`."""

    seed: int
    init_content: str | None = None
    """Content hash of the folder that `init` names: the recipe has only its path."""

    def shared(self, steps: StepsOnRayConfig, shards: ArtifactRef) -> dict[str, Any]:
        """What a stage's section hands to `TrainConfig` as it is, and where the encode stage put its output."""
        names = StepsConfig.model_fields
        data = {"train_data": "train", "eval_data": "validation", "tokenizer": "tokenizer"}
        return {name: getattr(steps, name) for name in names} | {key: str(shards / name) for key, name in data.items()}


def train_stage(
    config: TrainConfig,
    spec: TrackedSpec,
    sources: Sequence[ArtifactRef | None],
    out: Draft,
    *,
    workers: Workers,
    mirror: str | None = None,
) -> None:
    """Train into `out`; curves, summary, every metric and the machine's load end in MLflow as well.

    Args:
        mirror: folder for copies of the checkpoints, which get one of their own there.

    Raises:
        ArtifactError: the bytes of a shard or of the weights to start from changed; hours of training would be lost.
        RegistryUnreachable: MLflow was away too long at the start, or at the end, where nothing is trained again.
    """
    for source in filter(None, sources):
        verify(source)
    key = out.path.name.removesuffix(".partial")
    tracked = TrackedRun(spec.experiment, f"{config.name} {spec.name}", key, config.model_dump(mode="json"))
    show_progress = progress(f"{config.name} steps")

    def follow(line: dict[str, Any]) -> None:
        tracked.log(line)
        show_progress(line["step"], line["total_steps"])
        if line["kind"] != "checkpoint":
            print(live_line(line), file=sys.stderr, flush=True)

    copies = f"{mirror.rstrip('/')}/{key}" if mirror else None
    try:
        summary = fit(config, out, workers=workers, follow=follow, beat=tracked.sample_system, mirror=copies)
    except BaseException:
        tracked.fail()
        raise
    picture = out.path / "curves.png"
    metrics = read_metrics(out.path / "metrics.jsonl")
    training_curves(metrics, picture)
    out.volatile.add(picture.name)
    tracked.finish(metrics, summary, [picture])
    out.rows = {"samples": summary["samples"], "steps": summary["steps"]}
    out.facts |= summary | {"mlflow_run": tracked.run_id}
