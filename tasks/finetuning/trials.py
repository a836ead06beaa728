"""What a search has found so far, read from its trials' folders: a table, the best point, a picture."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from bert_core.files import write_json
from tasks.finetuning.search_plot import search_picture
from tasks.finetuning.space import Values, short_names, shown
from tasks.finetuning.trial import WORST, read_result, read_scores

ABOUT = {"kind", "time", "step", "total_steps", "tokens", "share", "seconds", "goodness", "value"}
"""Of a line of scores.jsonl, what is no metric."""
BROKEN = "failed"
OPEN = "unfinished"


@dataclass(frozen=True)
class Trial:
    number: int
    """From 1, in the order in which they began."""
    key: str
    values: Values
    status: str
    """finished; stopped: it fell behind; failed; unfinished: the search ended first, or goes on."""
    reason: str
    """Of a failure."""
    share: float
    """Of its run, at the last measurement."""
    value: float | None
    """Of the search's metric, at the last measurement."""
    goodness: float
    """The same, but higher is better."""
    metrics: dict[str, float]
    seconds: float


def read_trials(work_dir: Path) -> list[Trial]:
    """All that have begun, in that order."""
    folders = [path.parent for path in (work_dir / "trials").glob("*/trial.json")]
    begun = {folder: json.loads((folder / "trial.json").read_text("utf-8")) for folder in folders}
    ordered = sorted(folders, key=lambda folder: (begun[folder]["started"], folder.name))
    return [_read(number, folder, begun[folder]["values"]) for number, folder in enumerate(ordered, start=1)]


def best(trials: Sequence[Trial]) -> Trial | None:
    """The best of those that finished, the earlier of equals; while none has, of those that were measured."""
    measured = [trial for trial in trials if trial.value is not None and trial.status != BROKEN]
    finished = [trial for trial in measured if trial.status == "finished"]
    return max(finished or measured, key=lambda trial: trial.goodness, default=None)


def rows(trials: Sequence[Trial], metric: str) -> list[dict[str, Any]]:
    """A table for people, the best first; of the others those that came further."""
    keys = list(dict.fromkeys(key for trial in trials for key in trial.values))
    names, chosen = short_names(dict.fromkeys(keys)), best(trials)
    ordered = sorted(trials, key=lambda trial: (trial is not chosen, -trial.share, -trial.goodness))
    return [
        {
            "trial": trial.number,
            **{names[key]: shown(trial.values[key]) for key in keys if key in trial.values},
            metric: "" if trial.value is None else f"{trial.value:.4f}",
            "run": f"{trial.share:.0%}",
            "seconds": f"{trial.seconds:.1f}",
            "status": f"{trial.status}: {trial.reason.splitlines()[0][:80]}" if trial.reason else trial.status,
        }
        for trial in ordered
    ]


def text_table(table: Sequence[Mapping[str, Any]]) -> str:
    """Rows as aligned columns."""
    if not table:
        return "no trial has begun\n"
    names = list(dict.fromkeys(name for row in table for name in row))
    cells = [names, *([str(row.get(name, "")) for name in names] for row in table)]
    widths = [max(len(row[place]) for row in cells) for place in range(len(names))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells)
    return "\n".join(lines) + "\n"


def write_outcome(folder: Path, trials: Sequence[Trial], metric: str, log_keys: Sequence[str]) -> None:
    """trials.parquet, trials.json, best.json and trials.png, whatever was there before.

    Args:
        log_keys: keys whose axis counts orders of magnitude.
    """
    records = [dataclasses.asdict(trial) for trial in trials]
    write_json(folder / "trials.json", {"metric": metric, "trials": records})
    flat = [
        {
            **{name: value for name, value in record.items() if name not in ("values", "metrics")},
            "values": json.dumps(record["values"]),
            "metrics": json.dumps(record["metrics"]),
        }
        for record in records
    ]
    pq.write_table(pa.Table.from_pylist(flat), folder / "trials.parquet", compression="zstd")
    if (chosen := best(trials)) is not None:
        write_json(folder / "best.json", {"values": chosen.values, "metric": metric, "value": chosen.value})
        search_picture(trials, chosen, folder / "trials.png", metric=metric, log_keys=log_keys)


def read_outcome(folder: Path) -> tuple[list[Trial], str]:
    """What `write_outcome` wrote: the trials, and the metric's name."""
    found = json.loads((folder / "trials.json").read_text("utf-8"))
    return [Trial(**record) for record in found["trials"]], str(found["metric"])


def _read(number: int, folder: Path, values: Values) -> Trial:
    result, lines = read_result(folder), read_scores(folder)
    last = lines[-1] if lines else {"share": 0.0, "goodness": WORST, "seconds": 0.0}
    status, reason = (OPEN, "") if result is None else (result["status"], result["reason"])
    if result is None and (failure := folder / "failure.json").exists():
        reason = json.loads(failure.read_text("utf-8"))["reason"]
    return Trial(
        number=number,
        key=folder.name,
        values=values,
        status=status,
        reason=reason,
        share=last["share"],
        value=last.get("value"),
        goodness=last["goodness"],
        metrics={name: value for name, value in last.items() if name not in ABOUT},
        seconds=last["seconds"],
    )
