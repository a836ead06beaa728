"""Follows the trials of a search as they go: lines for people, progress in Prefect, a run in MLflow for each."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from bert_core.progress import duration
from tasks.finetuning.space import most_trials, short
from tasks.finetuning.train import TaskTrainSpec
from tasks.finetuning.trial import Job, read_result
from tasks.finetuning.trials import ABOUT, Trial, best, read_trials
from tasks.tracking import TrackedRun
from tasks.training import tail

EVERY_S = 15.0
"""Between two lines about a trial that has nothing new to say."""
TRACKED = "tracked"
"""Marks a trial's folder: MLflow has all of it."""
HEAVY = ("checkpoints", "best", "model", "ranks", "failure.json")
"""Of a trial that is done, what nobody needs: the best point is trained again, with every seed of the recipe."""
LINES = {"kind", "time", "step", "total_steps", "tokens"}


class Follower:
    """What a person sees of a search that goes on, wherever they look."""

    def __init__(
        self,
        config: TaskTrainSpec,
        job: Job,
        key: str,
        parent: str,
        metric: str,
        show: Callable[[int, int], None],
    ) -> None:
        """
        Args:
            key: of the search's artifact: trials' runs are found again by it.
            parent: the search's run in MLflow.
        """
        self.config, self.job, self.key, self.parent, self.metric, self.show = config, job, key, parent, metric, show
        self.folder = Path(job.work_dir)
        self.total = most_trials(job.search)
        self.open: dict[str, _Followed] = {}
        self.said: dict[str, str] = {}
        self.said_at = 0.0

    def look(self, left_s: float | None) -> None:
        """Tell of what is new."""
        trials = read_trials(self.folder)
        for trial in trials:
            if not (self.folder / "trials" / trial.key / TRACKED).exists():
                self._follow(trial)
        self.show(sum(trial.status != "unfinished" for trial in trials), self.total)
        self._tell(trials, left_s)

    def finish(self) -> None:
        """Close the runs of trials that the search's end cut short."""
        for followed in self.open.values():
            followed.close("unfinished")
        self.open.clear()

    def fail(self) -> None:
        """Say of the trials under way that they were interrupted, if the server answers."""
        for followed in self.open.values():
            followed.run.fail()

    def _follow(self, trial: Trial) -> None:
        folder = self.folder / "trials" / trial.key
        if trial.key not in self.open:
            name = f"trial {trial.number} {short(trial.values)}"[:200]
            run = TrackedRun(self.config.experiment, name, f"{self.key}-{trial.key}", trial.values, parent=self.parent)
            self.open[trial.key] = _Followed(run, folder)
        result = read_result(folder)  # before the lines: none comes after it
        self.open[trial.key].log()
        if result is not None:
            self.open.pop(trial.key).close(result["status"])
            (folder / TRACKED).touch()
            clear(folder)

    def _tell(self, trials: list[Trial], left_s: float | None) -> None:
        is_time = time.monotonic() - self.said_at >= EVERY_S
        for trial in trials:
            now = f"{trial.status} {trial.share}"
            if self.said.get(trial.key) != now or (is_time and trial.status == "unfinished"):
                self.said[trial.key] = now
                self.said_at = time.monotonic()
                print(self._line(trial, best(trials), left_s), file=sys.stderr, flush=True)

    def _line(self, trial: Trial, leading: Trial | None, left_s: float | None) -> str:
        parts = [f"trial {trial.number}/{self.total}", short(trial.values)]
        if trial.value is not None:
            parts.append(f"{self.metric} {trial.value:.4f} at {trial.share:.0%}")
        parts.append("running" if trial.status == "unfinished" else trial.status)
        if trial.reason:
            parts.append(trial.reason.splitlines()[0][:100])
        if leading is not None and leading.value is not None and leading.key != trial.key:
            parts.append(f"(best: trial {leading.number}, {leading.value:.4f})")
        if left_s is not None:
            parts.append(f"{duration(left_s)} left")
        return "  ".join(parts)


def clear(folder: Path) -> None:
    """Leave of a trial what tells of it."""
    for name in HEAVY:
        path = folder / name
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


class _Followed:
    """One trial's lines on their way into its run."""

    def __init__(self, run: TrackedRun, folder: Path) -> None:
        self.run = run
        self.metrics: Iterator[list[dict[str, Any]]] = tail(folder / "metrics.jsonl")
        self.scores: Iterator[list[dict[str, Any]]] = tail(folder / "scores.jsonl")

    def log(self) -> None:
        for line in next(self.metrics):
            if line["kind"] == "train":
                self.run.log(line)
        for line in next(self.scores):
            self.run.log({name: value for name, value in line.items() if name in LINES or name not in ABOUT})
        self.run.sample_system()

    def close(self, status: str) -> None:
        self.run.finish([], {"status": status}, [])
