"""Carries out one search on Ray Tune, in a process of its own: `python -m tasks.tune_driver job.json`.

A process of its own for the reasons of `tasks.ray_driver`, and it ends as that one does. On SIGINT, Tune writes down
where it is and stops.

Tune says which point is next, where its trial runs, and starts again one whose worker died. What a trial found lies in
its own folder (`tasks.finetuning.trial`), because Tune's state may be torn by a kill (its files are written in place)
and has no scheduler in it: with a state that can be read the search goes on from there; without, all points are asked
again, and those that are done answer at once.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import optuna
import ray
import torch
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from bert_core.memory import keep_freed_memory
from tasks.config.search import Range, SearchConfig
from tasks.finetuning.halving import falls_behind, others_at, rung_of
from tasks.finetuning.space import Values, most_trials, points, within
from tasks.finetuning.trial import WORST, Job, TrialError, run_trial, write_result
from tasks.ray_driver import end_with_parent, join_or_start

RETRIES = 2
"""Of a trial whose worker died, or that met an error which may be the machine's."""
DRAWS = 10
"""Of a sampler for each trial at most: in a small space it comes back to points that it knows."""
SAVE_S = "5"
"""Between two times that Tune writes its state down."""
LOCK_WAIT_S = 24 * 3600
"""Two trials of one point do not run at a time; the second has nothing to do then."""
END_WAIT_S = "30"
"""For a stopped trial's thread, before its worker, which has imported everything, is given up."""


class Halving(FIFOScheduler):
    """Stops the trials that fall behind, and says so in their folders."""

    def __init__(self, job: dict[str, Any]) -> None:
        super().__init__()
        self.job = job

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        del tune_controller
        job = Job.model_validate(self.job)
        rungs, share = job.search.rungs, result["share"]
        if share >= 1 or (rung := rung_of(share, rungs)) is None:
            return TrialScheduler.CONTINUE
        folder = job.folder(values_of(job.search, trial.config))
        if (folder / "result.json").exists():  # an earlier attempt's reports come again
            return TrialScheduler.CONTINUE
        others = others_at(folder.parent, folder.name, rung, rungs)
        if not falls_behind(result["goodness"], others, job.search.reduction_factor):
            return TrialScheduler.CONTINUE
        write_result(folder, "stopped")
        return TrialScheduler.STOP


class Enough(tune.Stopper):
    """Ends a search with as many different points as were asked for: a sampler may come back to one."""

    def __init__(self, work_dir: str, trials: int) -> None:
        self.folder, self.trials = Path(work_dir) / "trials", trials

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id, result
        return False

    def stop_all(self) -> bool:
        return sum(1 for _ in self.folder.glob("*/result.json")) >= self.trials


def trainable(job: dict[str, Any], threads: int) -> Callable[[dict[str, Any]], None]:
    """What Tune runs in a worker for every trial."""

    def trial(config: dict[str, Any]) -> None:
        os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = END_WAIT_S
        keep_freed_memory()
        torch.set_num_threads(threads)
        given = Job.model_validate(job)
        values = values_of(given.search, config)
        folder = given.folder(values)
        begun = sum(1 for _ in folder.parent.glob("*/trial.json"))
        if begun >= most_trials(given.search) and not (folder / "trial.json").exists():
            tune.report({"share": 1.0, "goodness": WORST})  # drawn while the last ones are under way
            return
        folder.mkdir(parents=True, exist_ok=True)
        # The worker of a driver that was killed may live for some seconds more.
        with filelock.FileLock(folder / "lock", timeout=LOCK_WAIT_S, thread_local=False):
            try:
                run_trial(given, values, _report)
            except TrialError:  # it would come again; what samples from results must know
                tune.report({"share": 1.0, "goodness": WORST})

    return trial


def _report(line: dict[str, Any]) -> None:
    tune.report({"share": line["share"], "goodness": line["goodness"]})


def values_of(search: SearchConfig, config: dict[str, Any]) -> Values:
    """The point that Tune's config of a trial stands for."""
    if "point" in config:
        return points(search)[config["point"]]
    found: Values = {}
    for number, (key, dimension) in enumerate(search.space.items()):
        drawn = config[str(number)]
        found[key] = within(dimension, drawn) if isinstance(dimension, Range) else dimension[int(drawn)]
    return found


def distributions(search: SearchConfig) -> dict[str, Any]:
    """The space as optuna has it: choices by their place, so that they may be anything."""
    found: dict[str, optuna.distributions.BaseDistribution] = {}
    for number, dimension in enumerate(search.space.values()):
        if not isinstance(dimension, Range):
            kind: Any = optuna.distributions.CategoricalDistribution(list(range(len(dimension))))
        elif dimension.is_whole:
            low, high, step = int(dimension.low), int(dimension.high), int(dimension.step or 1)
            kind = optuna.distributions.IntDistribution(low, high, log=dimension.log, step=step)
        else:
            low_, high_ = float(dimension.low), float(dimension.high)
            kind = optuna.distributions.FloatDistribution(low_, high_, log=dimension.log, step=dimension.step)
        found[str(number)] = kind
    return found


def launch(given: dict[str, Any]) -> None:
    os.environ["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
    os.environ["TUNE_GLOBAL_CHECKPOINT_S"] = SAVE_S
    os.environ["RAY_AIR_NEW_OUTPUT"] = "0"
    join_or_start()
    job = Job.model_validate(given)
    threads, resources = _resources(job.search.concurrent)
    run = tune.with_resources(trainable(given, threads), resources)
    state = Path(job.work_dir) / "tune"
    if (state / "search").exists():
        try:
            tune.Tuner.restore(str(state / "search"), trainable=run, param_space=_param_space(job.search)).fit()
            return
        except Exception as error:
            print(f"Tune's state cannot be read, and is made anew from the trials: {error}", file=sys.stderr)
            shutil.rmtree(state, ignore_errors=True)
    _tuner(job, given, run, state).fit()


def _tuner(job: Job, given: dict[str, Any], run: Any, state: Path) -> tune.Tuner:
    search = job.search
    model_based = search.is_model_based
    return tune.Tuner(
        run,
        param_space=_param_space(search),
        tune_config=tune.TuneConfig(
            metric="goodness",
            mode="max",
            search_alg=OptunaSearch(space=distributions(search), metric="goodness", mode="max", seed=search.seed)
            if model_based
            else None,
            scheduler=Halving(given) if search.algorithm == "asha" else FIFOScheduler(),
            num_samples=DRAWS * most_trials(search) if model_based else 1,
            max_concurrent_trials=search.concurrent,
            reuse_actors=True,  # importing everything takes longer than many a trial
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(state),
            stop=Enough(job.work_dir, most_trials(search)),
            failure_config=tune.FailureConfig(max_failures=RETRIES),
            verbose=0,
        ),
    )


def _param_space(search: SearchConfig) -> dict[str, Any]:
    return {} if search.is_model_based else {"point": tune.grid_search(list(range(len(points(search)))))}


def _resources(concurrent: int) -> tuple[int, dict[str, float]]:
    """Threads of a trial, and what it takes of Ray: an even share of the smallest node's cores, a GPU if there are."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    on_each = -(-concurrent // max(1, len(nodes)))
    cores = min((int(node["CPU"]) for node in nodes), default=1)
    threads = max(1, cores // on_each)
    gpu = {"GPU": 1.0} if ray.cluster_resources().get("GPU") else {}
    return threads, {"CPU": float(threads), **gpu}


def main() -> None:
    threading.Thread(target=end_with_parent, daemon=True).start()
    launch(json.loads(Path(sys.argv[1]).read_text("utf-8")))
    os._exit(0)  # Ray's shutdown of a driver waits for seconds, for nothing: all is on disk


if __name__ == "__main__":
    main()
