"""All models on the same test examples, over seeds: the report, its page, and the seed whose model is shipped."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from bert_core.config import Config, Task
from bert_core.files import write_json
from bert_core.hf import read_task
from bert_core.metrics import primary_metric, resample, score
from tasks.artifacts import ArtifactRef, Draft
from tasks.config.finetune import EvidenceConfig
from tasks.evidence.report import CANDIDATE, Draw, EvalReport, Evidence, build_report
from tasks.evidence.schema import Costs, CurvePoint
from tasks.finetuning.prepare import side, task_of
from tasks.stage import stage


class EvidenceSpec(Config):
    name: str
    evaluate: EvidenceConfig
    seeds: tuple[int, ...]
    has_champion: bool
    ablations: tuple[str, ...] = ()
    """Names of trainings from other weights."""
    curve: tuple[int, ...] = ()
    """Training examples of each further model among the inputs, and of the first seed's, for the learning curve."""


@stage("evidence", code="tasks.finetuning.evidence")
def evidence(config: EvidenceSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Metrics over seeds and examples against baselines and champion, slices, calibration, hardest examples, costs."""
    prepared, classical, *answered = inputs
    candidates, rest = answered[: len(config.seeds)], answered[len(config.seeds) :]
    champion, rest = (rest[:1], rest[1:]) if config.has_champion else ([], rest)
    ablated, rest = rest[: len(config.ablations)], rest[len(config.ablations) :]
    task, gold, validation = task_of(prepared), side(prepared, "test"), side(prepared, "validation")
    said = [_read(each, "test") for each in candidates]
    on_validation = [_read(each, "validation") for each in candidates]
    answers = {CANDIDATE: said}
    if champion:
        answers["champion"] = [_read(champion[0], "test")]
    answers |= {name: [_read(each, "test")] for name, each in zip(config.ablations, ablated, strict=True)}
    answers |= {
        name: [pq.read_table(classical / name / "test.parquet")] for name in classical.manifest["facts"]["baselines"]
    }
    settings = config.evaluate
    report = build_report(
        Evidence(
            task=task,
            gold=gold,
            answers=answers,
            ablations=config.ablations,
            title=config.name,
            validation=(validation, on_validation),
            out_of_sample={"validation": (validation, on_validation)},
            slice_by=settings.slices,
            time_column=settings.time_column,
            learning_curves=_curve(config, task, gold, [_read(each, "test") for each in rest], said[0]),
            costs={CANDIDATE: _costs(candidates)},
            machine=f"{platform.machine()}, {torch.get_num_threads()} threads",
            price_per_hour=settings.price_per_hour,
            data_report=(prepared / "data.md").read_text("utf-8"),
            draw=Draw(settings.bootstrap_samples, settings.confidence, settings.seed),
        )
    )
    write_json(out.path / "report.json", report.model_dump(mode="json"))
    best = shipped_seed(task, validation, on_validation)
    pq.write_table(said[best], out.path / "answers.parquet")
    out.rows = {"test": gold.num_rows}
    out.facts |= {
        "seed": config.seeds[best],
        "primary": report.primary,
        "metrics": flat_metrics(report),
        "size_mb": candidates[best].manifest["facts"]["size_mb"],
        "latency_ms": candidates[best].manifest["facts"]["latency_ms"],
    }


def shipped_seed(task: Task, gold: pa.Table, answers: Sequence[pa.Table]) -> int:
    """The run that is best on the validation side; the earlier of equals. The test side is not asked."""
    scores = [score(task, gold, each) for each in answers]
    values = [each.values() for each in scores]
    name = primary_metric(task, values[0])
    sign = 1 if scores[0].metrics[name].higher_is_better else -1
    return max(range(len(values)), key=lambda run: sign * values[run].get(name, -sign * float("inf")))


def flat_metrics(report: EvalReport) -> dict[str, float]:
    """The candidate's figures, for MLflow: the mean over seeds, and both ends of the leading one's interval."""
    metrics = report.models[CANDIDATE].metrics
    flat = {f"test_{name.replace(' ', '_')}": figure.interval.estimate for name, figure in metrics.items()}
    leading = metrics[report.primary].interval
    return {**flat, "test_primary_low": leading.low, "test_primary_high": leading.high}


def read_report(ref: ArtifactRef) -> EvalReport:
    return EvalReport.model_validate_json((ref / "report.json").read_text("utf-8"))


def _curve(
    config: EvidenceSpec, task: Task, gold: pa.Table, less: Sequence[pa.Table], whole: pa.Table
) -> dict[str, list[CurvePoint]]:
    """The leading metric of the first seed, by how many examples it was trained on."""
    if not less:
        return {}
    settings, points = config.evaluate, []
    for examples, said in zip(config.curve, [*less, whole], strict=True):
        scored = score(task, gold, said)
        name = primary_metric(task, scored.metrics)
        drawn = resample(
            {CANDIDATE: [scored]},
            samples=settings.bootstrap_samples,
            confidence=settings.confidence,
            seed=settings.seed,
        )
        points.append(CurvePoint(examples=examples, interval=drawn.interval(CANDIDATE, name)))
    return {CANDIDATE: points}


def _read(answered: ArtifactRef, name: str) -> pa.Table:
    return pq.read_table(answered / f"{name}.parquet")


def _costs(candidates: Sequence[ArtifactRef]) -> Costs:
    facts = [each.manifest["facts"] for each in candidates]
    return Costs(
        latency_ms=sorted(fact["latency_ms"] for fact in facts)[len(facts) // 2],
        seconds_per_thousand=sorted(fact["ms_per_example"] for fact in facts)[len(facts) // 2],
        size_mb=facts[0]["size_mb"],
        parameters=facts[0]["parameters"],
    )


def same_task(folder: Any, task: Task) -> bool:
    """Whether the model in `folder` answers what `task` asks."""
    tuned = read_task(folder)
    return tuned is not None and tuned.is_same_head(task)
