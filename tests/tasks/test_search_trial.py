"""One trial of a search, without Ray: what it measures where, and what is left of it when it is interrupted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bert_core.config import TrainConfig
from bert_core.features import encode, write_features
from tasks.config.search import SearchConfig
from tasks.finetuning.search_plot import search_picture
from tasks.finetuning.trial import Job, TrialError, read_result, read_scores, run_trial
from tasks.finetuning.trials import best, read_outcome, read_trials, rows, text_table, write_outcome
from tests.bert_core.tiny_tasks import TASKS, WORDS, shape, wordpiece

LR = "train.optimizer.lr"


def examples(rows: int, seed: int) -> pa.Table:
    """Texts whose class is the syllable that most of their words begin with."""
    rng = np.random.default_rng(seed)
    made = []
    for row in range(rows):
        label = "abc"[row % 3]
        own = [word for word in WORDS if word[:2] == {"a": "ba", "b": "ko", "c": "mi"}[label]]
        made.append({"id": f"{seed}-{row}", "text": " ".join(rng.choice(own, 5)), "label": label})
    return pa.Table.from_pylist(made)


@pytest.fixture
def base(tmp_path: Path) -> TrainConfig:
    for name, count, seed in (("train", 96, 1), ("validation", 30, 2)):
        table = examples(count, seed)
        pq.write_table(table, tmp_path / f"{name}.parquet")
        write_features(encode(TASKS["single"], table, wordpiece(), 32), tmp_path / name)
    wordpiece().save(tmp_path / "tokenizer")
    return TrainConfig(
        name="trial",
        model=shape("bert", wordpiece(), initializer_range=0.02),
        task=TASKS["single"],
        train_data=str(tmp_path / "train"),
        eval_data=str(tmp_path / "validation"),
        tokenizer=str(tmp_path / "tokenizer"),
        optimizer={"lr": 3e-3},
        batch={"samples": 8, "row_length": 32},
        epochs=2,
        eval_every=3,
    )


def job(base: TrainConfig, work_dir: Path, **fields: Any) -> Job:
    fields = {"algorithm": "asha", "grace_share": 0.25, "reduction_factor": 2, "space": {LR: [3e-3, 1e-3]}} | fields
    validation = str(Path(base.train_data).parent / "validation.parquet")
    return Job(base=base, search=SearchConfig.model_validate(fields), validation=validation, work_dir=str(work_dir))


def plain(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in line.items() if name not in ("time", "seconds")} for line in lines]


@pytest.mark.parametrize(
    "changes",
    [{}, {"optimizer": {"lr": 3e-3, "ema_decay": 0.9}}, {"method": {"freeze_layers": 1}, "checkpoint_every": 2}],
)
def test_what_is_measured_at_a_rung_is_what_the_loop_itself_measures_there(
    base: TrainConfig, tmp_path: Path, changes: dict[str, Any]
) -> None:
    """24 steps; rungs at 6 and 12. The loop's accuracy comes from the model in memory, ours from a checkpoint."""
    this = job(TrainConfig.model_validate(base.model_dump() | changes), tmp_path / "search")
    told: list[dict[str, Any]] = []
    run_trial(this, {LR: 3e-3}, told.append)
    folder = this.folder({LR: 3e-3})
    assert [line["step"] for line in told] == [6, 12, 24]
    assert [line["share"] for line in told] == [0.25, 0.5, 1]
    metrics = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    measured = {line["step"]: line for line in metrics if line["kind"] == "eval"}
    for line in told:
        itself = measured[line["step"]]
        accuracy = next(value for name, value in itself.items() if name.endswith("_accuracy"))
        assert line["accuracy"] == line["value"] == line["goodness"] == pytest.approx(accuracy)
        assert line["loss"] == itself["loss"]
    assert told == read_scores(folder)
    assert read_result(folder) is not None
    (result,) = read_trials(tmp_path / "search")
    assert (result.status, result.share, result.value) == ("finished", 1, told[-1]["accuracy"])


def test_a_trial_that_is_interrupted_continues_and_says_the_same(base: TrainConfig, tmp_path: Path) -> None:
    whole = job(base, tmp_path / "whole")
    told: list[dict[str, Any]] = []
    run_trial(whole, {LR: 3e-3}, told.append)

    this = job(base, tmp_path / "cut")
    again: list[dict[str, Any]] = []

    def ends(line: dict[str, Any]) -> None:
        again.append(line)
        raise SystemExit

    for _ in range(2):
        again.clear()
        with pytest.raises(SystemExit):
            run_trial(this, {LR: 3e-3}, ends)
    assert plain(again) == plain(told[:1])
    (unfinished,) = read_trials(tmp_path / "cut")
    assert (unfinished.status, unfinished.share) == ("unfinished", 0.25)
    with (this.folder({LR: 3e-3}) / "scores.jsonl").open("a") as file:
        file.write('{"kind": "eval", "st')  # torn by a kill
    again.clear()
    run_trial(this, {LR: 3e-3}, again.append)
    assert plain(again) == plain(told)
    steps = [json.loads(line) for line in (this.folder({LR: 3e-3}) / "metrics.jsonl").read_text().splitlines()]
    began = json.loads((this.folder({LR: 3e-3}) / "trial.json").read_text())["started"]
    again.clear()
    run_trial(this, {LR: 3e-3}, again.append)  # done: it answers at once
    assert plain(again) == plain(told)
    assert [json.loads(line) for line in (this.folder({LR: 3e-3}) / "metrics.jsonl").read_text().splitlines()] == steps
    assert json.loads((this.folder({LR: 3e-3}) / "trial.json").read_text())["started"] == began


@pytest.mark.parametrize(("keep", "eval_every", "steps"), [("last", 1000, [6, 12, 24]), ("best", 5, [10, 15, 24])])
def test_by_the_loss_trials_are_compared_as_the_loop_measures_it(
    base: TrainConfig, tmp_path: Path, keep: str, eval_every: int, steps: list[int]
) -> None:
    """It measures at the rungs; where that would change what is kept, as often as without a search."""
    this = job(base.model_copy(update={"keep": keep, "eval_every": eval_every}), tmp_path, metric="loss")
    told: list[dict[str, Any]] = []
    run_trial(this, {LR: 3e-3}, told.append)
    folder = this.folder({LR: 3e-3})
    summary = json.loads((folder / "summary.json").read_text())
    assert [line["step"] for line in told] == steps
    wanted = summary["best"]["loss"] if keep == "best" else summary["eval_after"]["loss"]
    assert told[-1]["value"] == -told[-1]["goodness"] == wanted
    assert 0 <= told[-1]["accuracy"] <= 1


def test_without_asha_a_trial_is_measured_at_its_end(base: TrainConfig, tmp_path: Path) -> None:
    this = job(base, tmp_path, algorithm="random")
    assert this.config({LR: 1e-3}) == base.model_copy(
        update={"optimizer": base.optimizer.model_copy(update={"lr": 1e-3})}
    )
    told: list[dict[str, Any]] = []
    run_trial(this, {LR: 1e-3}, told.append)
    assert [line["share"] for line in told] == [1]


def test_a_trial_that_cannot_work_fails_once_and_says_why(base: TrainConfig, tmp_path: Path) -> None:
    values = {"method.freeze_layers": 9}
    this = job(base, tmp_path, space={"method.freeze_layers": [1, 9]})
    for _ in range(2):
        with pytest.raises(TrialError, match="freeze_layers"):
            run_trial(this, values, lambda line: None)
    (trial,) = read_trials(tmp_path)
    assert trial.status == "failed"
    assert "freeze_layers" in trial.reason
    assert best([trial]) is None


def test_the_outcome_is_a_table_a_file_and_a_picture(base: TrainConfig, tmp_path: Path) -> None:
    this = job(base, tmp_path, algorithm="random", space={LR: [3e-3, 1e-6], "train.optimizer.weight_decay": [0.0, 0.1]})
    for values in ({LR: 1e-6, "train.optimizer.weight_decay": 0.1}, {LR: 3e-3, "train.optimizer.weight_decay": 0.1}):
        run_trial(this, values, lambda line: None)
    trials = read_trials(tmp_path)
    chosen = best(trials)
    assert chosen is not None
    assert (chosen.number, chosen.values[LR]) == (2, 3e-3)
    write_outcome(tmp_path, trials, "accuracy", [LR])
    assert read_outcome(tmp_path) == (trials, "accuracy")
    assert json.loads((tmp_path / "best.json").read_text())["values"] == chosen.values
    table = pq.read_table(tmp_path / "trials.parquet").to_pylist()
    assert [json.loads(row["values"]) for row in table] == [trial.values for trial in trials]
    lines = text_table(rows(trials, "accuracy")).splitlines()
    assert lines[0].split() == ["trial", "lr", "weight_decay", "accuracy", "run", "seconds", "status"]
    assert lines[1].split()[:4] == ["2", "0.003", "0.1", f"{chosen.value:.4f}"]
    assert (tmp_path / "trials.png").read_bytes()[:4] == b"\x89PNG"
    search_picture(trials, chosen, tmp_path / "again.png", metric="accuracy", log_keys=[LR])
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "trials.png").read_bytes()
