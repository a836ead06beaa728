"""What pretraining and fine-tuning share: one training config to its end on Ray, shown in Prefect, kept in MLflow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

from bert_core.config import Config, TrainConfig
from bert_core.train import live_line, read_metrics
from tasks.artifacts import ArtifactRef, Draft, verify
from tasks.config import StepsConfig
from tasks.stage import progress
from tasks.text.plots import loss_curves
from tasks.tracking import TrackedRun
from tasks.training import fit


class StepsOnRay(Config):
    """Common part of a training stage's identity."""

    name: str
    seed: int
    experiment: str
    init_content: str | None = None
    """Content hash of the folder that `init` names: the recipe has only its path."""

    def shared(self, steps: StepsConfig, shards: ArtifactRef) -> dict[str, Any]:
        """What a stage's section hands to `TrainConfig` as it is, and where the encode stage put its output."""
        lengths = ("steps", "epochs", "eval_every", "checkpoint_every", "log_every")
        names = ("optimizer", "batch", "precision", "keep", *lengths)
        data = {"train_data": "train", "eval_data": "validation", "tokenizer": "tokenizer"}
        return {name: getattr(steps, name) for name in names} | {key: str(shards / name) for key, name in data.items()}


def train_stage(
    config: TrainConfig, spec: StepsOnRay, sources: Sequence[ArtifactRef | None], out: Draft, *, workers: int
) -> None:
    """Train into `out`; the loss curve, the summary and every metric end in MLflow as well.

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

    try:
        summary = fit(config, out, workers=workers, follow=follow)
    except BaseException:
        tracked.fail()
        raise
    picture = out.path / "loss.png"
    metrics = read_metrics(out.path / "metrics.jsonl")
    loss_curves(metrics, picture)
    out.volatile.add(picture.name)
    tracked.finish(metrics, summary, [picture])
    out.rows = {"samples": summary["samples"], "steps": summary["steps"]}
    out.facts |= summary | {"mlflow_run": tracked.run_id}
