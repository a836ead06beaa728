"""The report on a candidate, from its answers, those of others, and what else was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from bert_core.config import PairTask, SequenceTask, Task, TokenTask
from bert_core.intervals import EvaluationError
from bert_core.metrics import Metric, Resampled, Scores, aligned, primary_metric, score
from tasks.evidence.calibration import calibration
from tasks.evidence.draw import Draw, lead
from tasks.evidence.examples import example_figures, judged
from tasks.evidence.schema import (
    CANDIDATE,
    ClassFigures,
    Confusion,
    Costs,
    CurvePoint,
    EvalReport,
    ExampleFigures,
    MetricFigure,
    ModelFigures,
    Suspects,
)
from tasks.evidence.slice_figures import slice_figures
from tasks.evidence.slices import slice_columns
from tasks.evidence.suspects import suspects
from tasks.evidence.tag_errors import tag_errors

__all__ = ["CANDIDATE", "Draw", "EvalReport", "Evidence", "build_report"]

HARDEST = 12
TYPICAL = 6
Answers = Mapping[str, Sequence[pa.Table]]


@dataclass(frozen=True)
class Evidence:
    """What a report is made of."""

    task: Task
    """With its labels."""
    gold: pa.Table
    """The test side."""
    answers: Answers
    """By model, each run's answers to it; the candidate is "model", the one in production "champion"."""
    ablations: tuple[str, ...] = ()
    """Of the models, those that are neither baselines nor in production."""
    title: str = "Fine-tuned model"
    facts: Mapping[str, str] = field(default_factory=dict)
    validation: tuple[pa.Table, Sequence[pa.Table]] | None = None
    """Gold table and the candidate's answers, run by run, to fit temperatures on."""
    out_of_sample: Mapping[str, tuple[pa.Table, Sequence[pa.Table]]] = field(default_factory=dict)
    """Side -> gold table and answers of models that have not seen it, to find wrong labels in; the test side is
    always looked at."""
    slice_by: Sequence[str] = ()
    time_column: str | None = None
    learning_curves: Mapping[str, Sequence[CurvePoint]] = field(default_factory=dict)
    costs: Mapping[str, Costs] = field(default_factory=dict)
    machine: str = ""
    price_per_hour: float | None = None
    """Of that machine: gives the price of a thousand predictions."""
    data_report: str = ""
    draw: Draw = field(default_factory=Draw)


def build_report(evidence: Evidence) -> EvalReport:
    """Equal evidence gives an equal report.

    Raises:
        EvaluationError: no answers of the candidate, or answers that do not fit the examples; names them.
    """
    task, gold = evidence.task, evidence.gold
    if not evidence.answers.get(CANDIDATE):
        raise EvaluationError(f"no answers of {CANDIDATE!r}, the candidate; there are: {', '.join(evidence.answers)}")
    names = [CANDIDATE, *(name for name in evidence.answers if name != CANDIDATE)]
    scored = {name: [score(task, gold, one) for one in evidence.answers[name]] for name in names}
    scored = _with_like_perplexities(gold, evidence.answers, scored)
    resampled = evidence.draw.of(scored)
    primary = primary_metric(task, resampled.metrics(CANDIDATE))
    ours = [aligned(gold, one) for one in evidence.answers[CANDIDATE]]
    columns = slice_columns(task, gold, evidence.slice_by, evidence.time_column)
    slices, left_out = slice_figures(scored, columns, primary, evidence.draw)
    hardest, typical = _examples(task, gold, ours)
    return EvalReport(
        title=evidence.title,
        task=task,
        facts=dict(evidence.facts),
        examples=len(gold),
        primary=primary,
        models={name: _model(name, scored[name], resampled) for name in names},
        classes=_classes(scored[CANDIDATE], resampled),
        ablations=evidence.ablations,
        slices=slices,
        slices_left_out=left_out,
        calibration=calibration(task, gold, ours, evidence.validation, evidence.draw),
        confusion=_confusion(task, gold, ours),
        tag_errors=tag_errors(gold, ours) if isinstance(task, TokenTask) and task.scheme == "bio" else None,
        hardest=hardest,
        typical=typical,
        suspects=_suspects(evidence),
        learning_curves={name: tuple(points) for name, points in evidence.learning_curves.items()},
        costs={name: _priced(one, evidence.price_per_hour) for name, one in evidence.costs.items()},
        machine=evidence.machine,
        data_report=evidence.data_report,
        confidence=evidence.draw.confidence,
        bootstrap_samples=evidence.draw.samples,
        seed=evidence.draw.seed,
    )


def _with_like_perplexities(
    gold: pa.Table, answers: Answers, scored: dict[str, list[Scores]]
) -> dict[str, list[Scores]]:
    """Without the perplexity, which is one a token, of those whose tokens are not the candidate's."""

    def sizes(table: pa.Table) -> list[int]:
        return list(aligned(gold, table)["num_tokens"].to_pylist())

    if "perplexity" not in scored[CANDIDATE][0].metrics:
        return scored
    of_candidate = sizes(answers[CANDIDATE][0])
    others = [name for name in scored if any(sizes(table) != of_candidate for table in answers[name])]
    return scored | {name: [_without_perplexity(run) for run in scored[name]] for name in others}


def _without_perplexity(run: Scores) -> Scores:
    kept = {name: metric for name, metric in run.metrics.items() if name != "perplexity"}
    return Scores(kept, {**run.left_out, "perplexity": "its tokens are not those of this model"})


def _model(name: str, runs: Sequence[Scores], resampled: Resampled) -> ModelFigures:
    metrics = resampled.metrics(name)
    undefined = {one: "not defined on these examples" for one in runs[0].metrics if one not in metrics}
    shared = [] if name == CANDIDATE else [one for one in metrics if one in resampled.metrics(CANDIDATE)]
    return ModelFigures(
        runs=len(runs),
        metrics={
            one: MetricFigure(
                interval=resampled.interval(name, one),
                runs=tuple(float(value) for value in resampled.observed[name][one]),
                higher_is_better=runs[0].metrics[one].higher_is_better,
                unit=runs[0].metrics[one].unit,
            )
            for one in metrics
        },
        left_out={**runs[0].left_out, **undefined},
        leads={one: lead(resampled, name, one) for one in shared},
    )


def _classes(runs: Sequence[Scores], resampled: Resampled) -> tuple[ClassFigures, ...]:
    """Of every metric that has a class: columns of its statistics are what is right, what was said, and both."""
    first = runs[0].metrics
    labels = [metric.label for metric in first.values() if metric.name == "f1" and metric.label is not None]
    found = []
    for place, label in enumerate(labels):
        counts = []
        for run in runs:
            metric = run.metrics[f"f1/{label}"]
            assert isinstance(metric, Metric)
            counts.append(metric.statistics[:, [place, len(labels) + place]].sum(axis=0))
        found.append(
            ClassFigures(
                name=label,
                precision=resampled.interval(CANDIDATE, f"precision/{label}"),
                recall=resampled.interval(CANDIDATE, f"recall/{label}"),
                f1=resampled.interval(CANDIDATE, f"f1/{label}"),
                support=int(counts[0][0]),
                said=float(np.mean([one[1] for one in counts])),
            )
        )
    return tuple(found)


def _confusion(task: Task, gold: pa.Table, runs: Sequence[pa.Table]) -> Confusion | None:
    """Of classes, and of tags that stand for themselves."""
    if isinstance(task, SequenceTask | PairTask) and task.kind == "single":
        pairs = [zip(gold["label"].to_pylist(), run["label"].to_pylist(), strict=True) for run in runs]
    elif isinstance(task, TokenTask) and task.scheme == "plain":
        true = [tag for tags in gold["tags"].to_pylist() for tag in tags]
        pairs = [zip(true, [tag for tags in run["tags"].to_pylist() for tag in tags], strict=True) for run in runs]
    else:
        return None
    place = {label: i for i, label in enumerate(task.labels)}
    counts = np.zeros((len(place), len(place)), dtype=np.int64)
    for each in pairs:
        for right, said in each:
            counts[place[right], place[said]] += 1
    return Confusion(labels=task.labels, counts=tuple(tuple(row) for row in counts.tolist()), runs=len(runs))


def _examples(
    task: Task, gold: pa.Table, runs: Sequence[pa.Table]
) -> tuple[tuple[ExampleFigures, ...], tuple[ExampleFigures, ...]]:
    """The hardest first; and, of what was generated, the typical."""
    each = [judged(task, gold, run) for run in runs]
    loss = np.mean([one.loss for one in each], axis=0)
    order = np.argsort(-loss, kind="stable")
    hardest = [int(row) for row in order[:HARDEST] if loss[row] > 0]
    middle = len(order) // 2
    is_text = task.type in ("seq2seq", "causal")
    typical = order[max(0, middle - TYPICAL // 2) : middle + TYPICAL // 2].tolist() if is_text else []
    return example_figures(task, gold, each, hardest), example_figures(task, gold, each, typical)


def _suspects(evidence: Evidence) -> tuple[Suspects, ...]:
    sides = {"test": (evidence.gold, evidence.answers[CANDIDATE]), **evidence.out_of_sample}
    found = [suspects(side, evidence.task, gold, runs) for side, (gold, runs) in sides.items()]
    return tuple(one for one in found if one is not None)


def _priced(costs: Costs, price_per_hour: float | None) -> Costs:
    if price_per_hour is None or costs.seconds_per_thousand is None:
        return costs
    return costs.model_copy(update={"price_per_thousand": costs.seconds_per_thousand * price_per_hour / 3600})
