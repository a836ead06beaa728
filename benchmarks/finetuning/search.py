"""A search with ASHA against the full grid: 20 trials drawn from it, some stopped early, to a model as good in a
quarter of the time.

    python benchmarks/finetuning/search.py [--trials 20] [--examples 1000] [--epochs 2] [--seeds 7 8] [--out FOLDER]
    python benchmarks/finetuning/search.py --report [--out FOLDER]

Both are the search of `bert-foundry search`: its driver on Ray Tune, one trial at a time, each training once with the
first seed and measured on the validation side; of Prefect and MLflow nothing takes part. The grid is every combination
of SPACE (72), ASHA draws from it. Seconds are those of the search's own clock, Ray's start included, all attempts
together. ASHA's part is drawn anew with each of --seeds, and all of them have to hold.

Quality is equal where the best trial's accuracy on the validation side is not below the grid's best by more than the
95% interval of their difference over examples (paired bootstrap). Both best models are trained once more for this, as
searches keep none. Results are kept in the folder: the same command continues a killed benchmark.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

if not __package__:  # run as a script
    sys.path[0] = str(Path(__file__).parent.parent)

import pyarrow.parquet as pq
from finetuning import sets
from finetuning.ours import NEVER, prepare_process

from bert_core import tokenizer as tokenizers
from bert_core.config import TrainConfig
from bert_core.features import FEATURES, encode, write_features
from bert_core.files import write_json
from bert_core.metrics import primary_metric, resample, score
from bert_core.predict import open_model
from bert_core.train import run
from tasks.config.search import SearchConfig
from tasks.finetuning.search_drive import drive
from tasks.finetuning.space import most_trials, short, train_config
from tasks.finetuning.trial import Job
from tasks.finetuning.trials import best, read_trials, rows, text_table

SPACE: dict[str, Any] = {
    "train.optimizer.lr": [1e-5, 3e-5, 1e-4, 2e-4, 4e-4, 8e-4],
    "train.batch.samples": [16, 32],
    "train.optimizer.weight_decay": [0.0, 0.01, 0.1],
    "train.optimizer.layer_decay": [0.9, 1.0],
}
VALIDATION = 500
"""Examples that trials are compared on."""
MOST_SHARE = 0.25
DEFAULT_OUT = "bench/search"


def base_config(examples: int, epochs: float, folder: Path) -> tuple[TrainConfig, Path]:
    """The training that both searches vary, and the file of the validation side; its features are made once."""
    chosen = sets.SETS["trec"]
    sizes = {"max_train": examples, "max_validation": VALIDATION, "max_test": 300, "validation_share": 0.15}
    chosen = replace(chosen, data=chosen.data.model_copy(update=sizes))
    prepared = sets.prepare(chosen)
    tokens = tokenizers.load(prepared.tokenizer)
    for name in ("train", "validation"):
        if not (folder / name / FEATURES).exists():
            write_features(encode(prepared.task, prepared.side(name), tokens, chosen.row_length), folder / name)
    config = TrainConfig(
        name="bench",
        seed=13,
        init=str(prepared.weights),
        task=prepared.task,
        train_data=str(folder / "train"),
        eval_data=str(folder / "validation"),
        tokenizer=str(prepared.tokenizer),
        batch={"samples": chosen.batch, "row_length": chosen.row_length},
        optimizer={"lr": chosen.lr, "warmup_share": chosen.warmup_share},
        epochs=epochs,
        precision="auto",
        eval_every=NEVER,
        checkpoint_every=NEVER,
        log_every=NEVER,
    )
    return config, prepared.folder / "validation.parquet"


def searched(name: str, search: SearchConfig, base: TrainConfig, gold: Path, folder: Path) -> dict[str, Any]:
    """The figures of one search, made where they are missing."""
    path = folder / f"{name}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return found
    work = folder / name
    (work / "trials").mkdir(parents=True, exist_ok=True)
    job = Job(base=base, search=search, validation=str(gold), work_dir=str(work))
    total, said = most_trials(search), set[str]()

    def look(left_s: float | None) -> None:
        del left_s
        for trial in read_trials(work):
            if trial.status != "unfinished" and trial.key not in said:
                said.add(trial.key)
                value = "" if trial.value is None else f"{trial.value:.4f} at {trial.share:.0%}"
                print(f"  {name} {len(said)}/{total}  {short(trial.values)}  {value}  {trial.status}", flush=True)
                for leftover in ("model", "checkpoints"):
                    _remove(work / "trials" / trial.key / leftover)

    drive(job, None, look)
    trials = read_trials(work)
    chosen = best(trials)
    if chosen is None:
        raise SystemExit(f"{name}: no trial was measured; see {work / 'driver.log'}")
    said_by_best = _retrained(job, chosen.values, folder / f"{name}.parquet")
    write_json(
        path,
        {
            "seconds": json.loads((work / "spent.json").read_text())["seconds"],
            "in_trials": sum(trial.seconds for trial in trials),
            "trials": len(trials),
            "finished": sum(trial.status == "finished" for trial in trials),
            "stopped": sum(trial.status == "stopped" for trial in trials),
            "failed": sum(trial.status == "failed" for trial in trials),
            "best": chosen.values,
            "value": chosen.value,
            "retrained": said_by_best,
            "table": text_table(rows(trials, "accuracy")),
        },
    )
    return searched(name, search, base, gold, folder)


def _retrained(job: Job, values: dict[str, Any], out: Path) -> float:
    """The best point's model once more: its answers to the validation side are written, its metric is returned."""
    work = Path(job.work_dir) / "best"
    config = train_config(job.base, values)
    run(config, work_dir=work, report=lambda line, saved: None)
    gold = pq.read_table(job.validation)
    found = open_model(work / "model").answer(gold)
    pq.write_table(found, out)
    _remove(work)
    assert config.task is not None
    scores = score(config.task, gold, found)
    return scores.values()[primary_metric(config.task, scores.metrics)]


def report(base: TrainConfig, gold: Path, folder: Path, names: Sequence[str]) -> bool:
    """Print the figures; whether all hold."""
    grid = json.loads((folder / "grid.json").read_text("utf-8"))
    print(f"\n{grid['table']}\ngrid: {_line(grid)}")
    assert base.task is not None
    table, all_hold = pq.read_table(gold), True
    theirs = score(base.task, table, pq.read_table(folder / "grid.parquet"))
    name = primary_metric(base.task, theirs.metrics)
    for each in names:
        ours = json.loads((folder / f"{each}.json").read_text("utf-8"))
        scores = score(base.task, table, pq.read_table(folder / f"{each}.parquet"))
        resampled = resample({"asha": [scores], "grid": [theirs]}, seed=7)
        difference = resampled.difference("asha", "grid", name).interval
        share = ours["seconds"] / grid["seconds"]
        holds = share <= MOST_SHARE and difference.high >= 0
        all_hold &= holds
        print(
            f"{each}: {_line(ours)}\n  {share:.1%} of the grid's time (at most {MOST_SHARE:.0%}); {name} {difference} "
            f"against the grid's best: {'holds' if holds else 'DOES NOT HOLD'}"
        )
    return all_hold


def _line(found: dict[str, Any]) -> str:
    return (
        f"{found['trials']} trials ({found['finished']} finished, {found['stopped']} stopped, {found['failed']} "
        f"failed) in {found['seconds']:.0f} s, of them {found['in_trials']:.0f} s in trials; best "
        f"{found['value']:.4f} with {short(found['best'])} (trained once more {found['retrained']:.4f})"
    )


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--examples", type=int, default=1_000)
    parser.add_argument("--epochs", type=float, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[7, 8], help="of what ASHA draws")
    parser.add_argument("--grace-share", type=float, default=0.125)
    parser.add_argument("--reduction-factor", type=float, default=4)
    parser.add_argument("--quick", action="store_true", help="a grid of four, to see that it runs")
    parser.add_argument("--threads", type=int, default=2, help="of the training of the best once more")
    parser.add_argument("--out", type=Path, help=f"folder (default: {DEFAULT_OUT} in the home folder)")
    parser.add_argument("--report", action="store_true", help="measure nothing, print what was measured")
    options = parser.parse_args(arguments)
    folder = (options.out or sets.home() / DEFAULT_OUT).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    prepare_process(options.threads)
    base, gold = base_config(options.examples, options.epochs, folder)
    space = {key: values[-2:] for key, values in list(SPACE.items())[:2]} if options.quick else SPACE
    about = {"base": base.model_dump(mode="json"), "space": space, "trials": options.trials}
    about |= {"grace_share": options.grace_share, "reduction_factor": options.reduction_factor}
    noted = folder / "about.json"
    if noted.exists() and json.loads(noted.read_text("utf-8")) != json.loads(json.dumps(about)):
        raise SystemExit(f"{folder} holds a benchmark with other settings: give another --out")
    write_json(noted, about)
    names = [f"asha-{seed}" for seed in options.seeds]
    if not options.report:
        for seed, name in zip(options.seeds, names, strict=True):
            asha = SearchConfig(
                algorithm="asha",
                space=space,
                trials=options.trials,
                grace_share=options.grace_share,
                reduction_factor=options.reduction_factor,
                seed=seed,
            )
            searched(name, asha, base, gold, folder)
        searched("grid", SearchConfig(algorithm="grid", space=space), base, gold, folder)
    return 0 if report(base, gold, folder, names) else 1


if __name__ == "__main__":
    sys.exit(main())
