"""What metrics do not show: behaviour tests, bias, robustness, and why the model says what it says."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from bert_core.config import ChoiceTask, Config, EmbeddingTask, SequenceTask, SpanTask, Task, TokenTask
from bert_core.explain import as_html, explain
from bert_core.files import write_json
from bert_core.intervals import Interval
from bert_core.metrics.spans import exact_match
from bert_core.predict import Predictor, open_model
from tasks.artifacts import Draft
from tasks.behaviour import measure_bias, measure_robustness, run_tests
from tasks.config.behaviour import BehaviourConfig
from tasks.finetuning.prepare import side, task_of
from tasks.stage import stage

Measured = dict[str, Interval]


class ExamineSpec(Config):
    behaviour: BehaviourConfig
    explained: int
    seed: int


@stage("examine", code="tasks.finetuning.examine")
def examine(config: ExamineSpec, inputs: Sequence[Any], out: Draft) -> None:
    """Run the recipe's behaviour tests on the shipped model, swap groups, disturb texts, explain examples."""
    prepared, trained = inputs
    task, gold = task_of(prepared), side(prepared, "test")
    predictor = open_model(trained / "model")
    sections: list[tuple[str, str]] = []
    measured: Measured = {}
    settings = config.behaviour
    if settings.tests:
        tests = run_tests(settings, task, gold, predictor.answer, seed=config.seed)
        measured |= {f"behaviour/{one.name}": one.rate for one in tests.tests if one.rate is not None}
        sections.append(("Behaviour", tests.html()))
        write_json(out.path / "behaviour.json", tests.model_dump(mode="json"))
    if settings.bias is not None:
        bias = measure_bias(settings, task, gold, predictor.answer, seed=config.seed)
        measured |= _exact({name.replace("bias.", "bias/", 1): value for name, value in bias.flat().items()})
        sections.append(("Bias", bias.html()))
        write_json(out.path / "bias.json", bias.model_dump(mode="json"))
    if settings.robustness is not None and _is_scored(task):
        robust = measure_robustness(
            settings, task, gold, predictor.answer, lambda g, a: right(task, g, a), seed=config.seed
        )
        for one in robust.results:
            loss = one.difference
            measured[f"robustness/{one.name}"] = Interval(-loss.estimate, -loss.high, -loss.low)
        sections.append(("Robustness", robust.html()))
        write_json(out.path / "robustness.json", robust.model_dump(mode="json"))
    if config.explained and isinstance(predictor, Predictor) and not isinstance(task, EmbeddingTask):
        explained = explain(predictor, gold[: config.explained])
        sections.append(("Why it says so", as_html(explained)))
    for number, (_, html) in enumerate(sections):
        (out.path / f"section-{number}.html").write_text(html, "utf-8")
    write_json(out.path / "measured.json", {name: [v.estimate, v.low, v.high] for name, v in measured.items()})
    out.facts |= {
        "sections": [[title, f"section-{number}.html"] for number, (title, _) in enumerate(sections)],
        "measured": {name: [v.estimate, v.low, v.high] for name, v in measured.items()},
    }


def right(task: Task, gold: pa.Table, answers: pa.Table) -> NDArray[np.float64]:
    """(N,): how right each answer is, from 0 to 1; of numbers, minus the distance."""
    order = {name: row for row, name in enumerate(answers["id"].to_pylist())}
    said = answers.take(pa.array([order[name] for name in gold["id"].to_pylist()]))

    def pairs(true: str, given: str) -> list[tuple[Any, Any]]:
        return list(zip(gold[true].to_pylist(), said[given].to_pylist(), strict=True))

    match task:
        case SequenceTask(kind="regression"):
            return np.array([-abs(a - b) for a, b in pairs("label", "value")])
        case SequenceTask(kind="multi"):
            return np.array([float(set(a) == set(b)) for a, b in pairs("label", "labels")])
        case SequenceTask():
            return np.array([float(a == b) for a, b in pairs("label", "label")])
        case ChoiceTask():
            return np.array([float(a == b) for a, b in pairs("label", "choice")])
        case TokenTask():
            return np.array([np.mean([x == y for x, y in zip(a, b, strict=True)]) for a, b in pairs("tags", "tags")])
        case SpanTask():
            return np.array([exact_match(b, [one["text"] for one in a] or [""]) for a, b in pairs("answers", "answer")])
    raise ValueError(f"answers of a {task.type} task are not right or wrong one by one")


def _is_scored(task: Task) -> bool:
    return isinstance(task, SequenceTask | ChoiceTask | TokenTask | SpanTask)


def _exact(values: dict[str, float]) -> Measured:
    return {name: Interval(value, value, value) for name, value in values.items()}
