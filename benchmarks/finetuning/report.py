"""What was measured, compared: pairs of models on the same sets, seeds and test examples."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from finetuning import sets
from finetuning.results import Ledger, Record
from finetuning.tables import figure

from bert_core.intervals import Interval
from bert_core.metrics import resample, score
from bert_core.metrics.metric import Scores

RATIO = 0.6
"""Share of Trainer's time that is asked for."""


@dataclass(frozen=True)
class Row:
    """One model against the one it is compared with, over the seeds that both have."""

    name: str
    metric: str
    is_higher_better: bool
    train_examples: int
    test_examples: int
    seeds: tuple[int, ...]
    base: str
    other: str
    base_value: Interval
    other_value: Interval
    gain: Interval
    """How much better `other` is, whichever way the metric points; paired over examples, and over seeds."""
    p: float
    base_s: float
    """Median of the seeds, as all seconds and bytes."""
    other_s: float
    ratio: float
    """Median of the seeds' ratios: the two of a seed ran one after the other."""
    whole_ratio: float
    """The same with loading the weights, and with saving the model and, ours, a checkpoint."""
    tokenize_s: tuple[float, float]
    peak_bytes: tuple[float, float]
    trained_parameters: tuple[int, int]
    baseline: str
    """Name and figure of the classical model; empty: not measured."""

    @property
    def is_as_good(self) -> bool:
        """The difference lies inside its interval's reach of 0, or above."""
        return self.gain.high >= 0

    @property
    def is_better(self) -> bool:
        return self.gain.low > 0

    @property
    def is_fast_enough(self) -> bool:
        return self.ratio <= RATIO


def label_of(record: Record) -> str:
    """What a model is called: the same for all its seeds."""
    spec = record["spec"]
    if spec["kind"] == "trainer":
        return f"Trainer {spec['precision']}{', grouped' if spec['grouped'] else ''}"
    precision = spec["precision"]
    return str(spec["variant"]) + ("" if precision == "auto" else f" {precision}")


def rows(
    ledger: Ledger,
    pairs: Callable[[Sequence[str]], Iterable[tuple[str, str]]],
    *,
    samples: int = 2_000,
    root: Path | None = None,
) -> list[Row]:
    """Args:
    pairs: of the models of one set, by label: which is compared with which, the first being the base.
    root: where prepared sets lie.
    """
    found = []
    for records in _groups(ledger.records):
        spec, about = records[0]["spec"], records[0]
        folder = (root or sets.home() / "bench/finetuning") / about["prepared"]
        prepared = sets.opened(sets.EVERY[spec["set"]], folder)
        if prepared.sha256 != about["sha256"]:
            raise ValueError(f"{folder}: not the examples that these answers are to: prepare the set anew, and run it")
        models: dict[str, dict[int, Record]] = {}
        for record in records:
            if record["spec"]["kind"] in ("trainer", "ours"):
                models.setdefault(label_of(record), {})[record["spec"]["seed"]] = record
        gold = prepared.side("test")

        def scored(record: Record, task: Any = prepared.task, gold: Any = gold) -> Scores:
            found = score(task, gold, pq.read_table(ledger.folder / record["answers"]))
            return found.only(record["primary"])

        classical = next((each for each in records if each["spec"]["kind"] == "baseline"), None)
        for base, other in pairs(list(models)):
            if seeds := tuple(sorted(models[base].keys() & models[other].keys())):
                both = [[models[name][seed] for seed in seeds] for name in (base, other)]
                runs = [[scored(record) for record in each] for each in both]
                found.append(_row(spec["set"], (base, other), both, runs, seeds, classical, samples))
    return found


def _groups(records: Iterable[Record]) -> list[list[Record]]:
    """Finished runs with the same examples and budget."""
    found: dict[str, list[Record]] = {}
    for record in records:
        if "answers" in record:
            spec = record["spec"]
            key = json.dumps([spec["set"], spec["settings"], spec["threads"]], sort_keys=True)
            found.setdefault(key, []).append(record)
    order = list(sets.EVERY)
    return sorted(found.values(), key=lambda each: order.index(each[0]["spec"]["set"]))


def _row(
    name: str,
    labels: tuple[str, str],
    both: list[list[Record]],
    runs: list[list[Scores]],
    seeds: tuple[int, ...],
    classical: Record | None,
    samples: int,
) -> Row:
    metric = both[0][0]["primary"]
    drawn = resample({"base": runs[0], "other": runs[1]}, samples=samples)
    difference = drawn.difference("other", "base", metric)
    higher, gain = runs[0][0].metrics[metric].higher_is_better, difference.interval
    if not higher:
        gain = Interval(-gain.estimate, -gain.high, -gain.low)

    def medians(key: str) -> tuple[float, float]:
        first, second = (statistics.median(record["figures"][key] for record in each) for each in both)
        return first, second

    def ratio(key: str) -> float:
        timed = zip(*both, strict=True)
        return statistics.median(other["figures"][key] / base["figures"][key] for base, other in timed)

    seconds, parameters = medians("seconds"), medians("trained_parameters")
    value = "" if classical is None else f"{classical['spec']['model']} {figure(classical['metrics'][metric])}"
    return Row(
        name=name,
        metric=metric,
        is_higher_better=higher,
        train_examples=both[0][0]["examples"]["train"],
        test_examples=both[0][0]["examples"]["test"],
        seeds=seeds,
        base=labels[0],
        other=labels[1],
        base_value=drawn.interval("base", metric),
        other_value=drawn.interval("other", metric),
        gain=gain,
        p=difference.p,
        base_s=seconds[0],
        other_s=seconds[1],
        ratio=ratio("seconds"),
        whole_ratio=ratio("whole_s"),
        tokenize_s=medians("tokenize_s"),
        peak_bytes=medians("peak_bytes"),
        trained_parameters=(int(parameters[0]), int(parameters[1])),
        baseline=value,
    )


def failures(ledger: Ledger) -> list[str]:
    """Runs that failed and have not been made since."""
    return [
        f"failed: {each['spec']['set']} {each['spec'].get('variant', each['spec']['kind'])} "
        f"seed {each['spec'].get('seed')}: {each['error']}"
        for each in ledger.records
        if "error" in each and ledger.find(each["spec"]) is None
    ]
