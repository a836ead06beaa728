"""Following a training run: its journal, the cause of its end, and its metrics on a real MLflow server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from bert_core.config import BatchConfig, MlmObjective, ModelConfig, SequenceTask, TrainConfig
from bert_core.nonfinite import NonFiniteLossError
from bert_core.tokenizer import load
from bert_core.watchdog import Watchdog
from tasks import artifacts, tracking
from tasks.artifacts import ArtifactError, ArtifactRef, Draft
from tasks.config import PretrainConfig
from tasks.config.finetune import TaskTrainConfig
from tasks.finetuning.train import TaskTrainSpec, train_task
from tasks.pretrain import PretrainSpec, pretrain
from tasks.ray_driver import Restarts
from tasks.registry.server import RegistryUnreachable
from tasks.tracking import TrackedRun
from tasks.training import _cause, fit, tail, with_work_to_do
from tests.bert_core.random_shards import LABELS, random_documents, write_documents
from tests.mlflow_servers import MlflowServer, free_port


def journal_line(step: int, kind: str = "train", **more: Any) -> dict[str, Any]:
    return {"time": 1000.0 + step, "kind": kind, "step": step, "total_steps": 60, "loss": 3.0 - step / 100, **more}


def text(*steps: int, **more: Any) -> str:
    return "".join(json.dumps(journal_line(step, **more)) + "\n" for step in steps)


def steps(lines: list[dict[str, Any]]) -> list[int]:
    return [line["step"] for line in lines]


def test_tail_waits_for_the_rest_of_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = tail(path)
    assert next(lines) == []
    path.write_text(text(1, 2) + text(3)[:10])
    assert steps(next(lines)) == [1, 2]
    assert next(lines) == []
    path.write_text(text(1, 2, 3))
    assert steps(next(lines)) == [3]


def test_tail_reads_a_file_that_was_cut_back_from_its_start(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = tail(path)
    path.write_text(text(1, 2, 3))
    assert steps(next(lines)) == [1, 2, 3]
    path.write_text(text(1))
    assert steps(next(lines)) == [1]
    path.write_text("")
    assert next(lines) == []
    path.write_text(text(1))
    assert steps(next(lines)) == [1]


def test_tail_notices_a_cut_file_that_is_longer_again(tmp_path: Path) -> None:
    """A resumed run repeats quick steps: between two looks the file is cut back and outgrows its old length."""
    path = tmp_path / "metrics.jsonl"
    lines = tail(path)
    path.write_text(text(1, 2, 3))
    assert steps(next(lines)) == [1, 2, 3]
    path.write_text(text(1) + text(2, 3, 4, 5, lr=0.125))
    assert steps(next(lines)) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("log", "parts"),
    [
        (
            "Traceback (most recent call last):\n  File x\n"
            "bert_core.shards.ShardError: train/shard-00000.arrow: sha256 is 12…\n"
            "ray.train.v2.api.exceptions.WorkerGroupError: ShardError: train/shard-00000.arrow\n"
            "ray.train.TrainingFailedError: The training failed\n",
            ["train/shard-00000.arrow", "whole log"],
        ),
        (
            "gcs_rpc_client.h:179: Failed to connect to GCS at address 127.0.0.1:26379 within 5 seconds.\n",
            ["Ray at 127.0.0.1:26379 went away", "driver exit -6", "checkpoints", "`bert-foundry up`", "same command"],
        ),
        ("ConnectionError: Could not find any running Ray instance.\n", ["Ray at 127.0.0.1:26379 went away"]),
        ("Killed\n", ["training driver ended with -6", "Killed", "whole log"]),
        ("", ["training driver ended with -6"]),
        ("\xff\xfe torn bytes \x00", ["training driver ended with -6", "torn bytes"]),
    ],
)
def test_the_cause_is_told_from_the_log(
    tmp_path: Path, log: str, parts: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:26379")
    path = tmp_path / "driver.log"
    path.write_bytes(log.encode("latin-1", "replace"))
    said = _cause(path, -6)
    assert not [part for part in parts if part not in said], said
    assert len(said.splitlines()) < 10


def test_an_error_of_ours_is_told_whole_whatever_the_log_says(tmp_path: Path) -> None:
    message = "checkpoint was written by another run:\n  seed: checkpoint 13, this run 14"
    cause = {"rank": 1, "kind": "CheckpointError", "message": message, "ours": True}
    (tmp_path / "failure.json").write_text(json.dumps(cause))
    (tmp_path / "driver.log").write_text("Failed to connect to GCS\n")
    assert _cause(tmp_path / "driver.log", 1).startswith(f"rank 1: CheckpointError: {message}\n")


def test_a_rank_that_hung_is_named(tmp_path: Path) -> None:
    begun = [Watchdog(tmp_path / "ranks", rank, 2, 1.0, end=lambda code: None) for rank in range(2)]
    with begun[0], begun[1]:
        deadline = time.monotonic() + 60
        for step in range(3):  # the first whole step has more time: it may compile
            for watchdog in begun:
                watchdog.beat(step, "forward")
        while not (tmp_path / "ranks" / "hang.json").exists():
            assert time.monotonic() < deadline
            begun[0].beat(3, "reduce")
            time.sleep(0.05)
    (tmp_path / "driver.log").write_text("ray.exceptions.ActorDiedError: The actor died unexpectedly\n")
    said = _cause(tmp_path / "driver.log", 1)
    assert said.startswith("rank 1 hangs: ")
    assert "stage 'forward'" in said
    assert "hang.json" in said
    assert len(said.splitlines()) < 10


def restarts(work_dir: Path, *failures: dict[int, Exception], checkpoints: bool = False) -> int:
    """How many failures a run survives."""
    work_dir.mkdir(exist_ok=True)
    callback = Restarts(work_dir)
    for number, failure in enumerate(failures):
        if checkpoints:
            (work_dir / "checkpoints" / f"step-{number:08d}").mkdir(parents=True)
        try:
            callback.after_exception(None, failure)
        except RuntimeError:
            return number
    return len(failures)


def test_ray_starts_workers_again_while_they_get_further(tmp_path: Path) -> None:
    lost: dict[int, Exception] = {1: ConnectionError("Connection closed by peer [127.0.0.1]:1")}
    assert restarts(tmp_path / "stuck", *[lost] * 9) == 3
    assert json.loads((tmp_path / "stuck" / "failure.json").read_text())["ours"] is False
    assert restarts(tmp_path / "further", *[lost] * 9, checkpoints=True) == 9


def test_what_would_come_again_is_not_tried_again(tmp_path: Path) -> None:
    ours = NonFiniteLossError("step 7: loss nan, gradient norm nan; sample ids [3, 4]; dump: nonfinite/step-00000007")
    assert restarts(tmp_path, {0: ConnectionError("closed"), 1: ours}) == 0
    (tmp_path / "driver.log").write_text("")
    said = _cause(tmp_path / "driver.log", 1)
    for part in ("rank 1", "NonFiniteLossError", "step 7", "sample ids [3, 4]", "nonfinite/step-00000007"):
        assert part in said


@pytest.mark.parametrize(
    ("workers", "batch", "expected"),
    [
        (2, {"rows": 2}, 2),
        (3, {"rows": 2}, 2),
        ((1, 3), {"rows": 2}, (1, 2)),
        ((3, 4), {"rows": 2}, (2, 2)),
        (9, {"samples": 4}, 4),
        (9, {"tokens": 1024, "phases": [{"row_length": 128, "share": 0.9}, {"row_length": 512, "share": 0.1}]}, 2),
        ((1, 8), {"rows": 32, "warmup": {"start": 4, "share": 0.1}}, (1, 4)),
    ],
)
def test_no_more_workers_than_rows(
    workers: Any, batch: dict[str, Any], expected: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = TrainConfig.model_validate(tiny_config(tmp_path).model_dump() | {"batch": batch})
    assert with_work_to_do(workers, asked) == expected
    assert ("smallest global batch" in capsys.readouterr().err) == (workers != expected)


def test_how_a_run_is_carried_out_does_not_name_it() -> None:
    def key(**more: Any) -> str:
        steps = PretrainConfig(steps=2, model=ModelConfig(), batch=BatchConfig(rows=2), **more)
        return pretrain.key(PretrainSpec(name="small", seed=1, experiment="small", pretrain=steps), [None, None])

    same = [{"workers": (1, 3)}, {"runtime": {"micro_rows": 1}}, {"mirror": "/disk"}, {"checkpoint_every": 7}]
    assert {key(**more) for more in [{}, *same]} == {key()}
    others = [{"eval_every": 7}, {"tokens": 7}, {"objective": {"mask_rate": 0.3}}]
    assert len({key(**more) for more in [{}, *others]}) == 4


def test_a_section_has_the_keys_of_a_training_config() -> None:
    own = {"workers", "mirror"}
    given = {"name", "seed", "train_data", "eval_data", "tokenizer", "task", "method", "auxiliary"}
    assert PretrainConfig.model_fields.keys() - own == TrainConfig.model_fields.keys() - given


def tiny_config(shards: Path) -> TrainConfig:
    return TrainConfig(
        name="pretrain",
        model=ModelConfig(vocab_size=100, hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16),
        objective=MlmObjective(),
        batch=BatchConfig(rows=2, row_length=32),
        steps=2,
        train_data=str(shards / "train"),
        tokenizer=str(shards / "tokenizer"),
    )


def test_a_finished_training_is_not_trained_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process was killed between the summary and the publication."""
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")  # nobody is there
    for name in ("checkpoints/step-00000002", "best", "model"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "summary.json").write_text('{"steps": 2}')
    (tmp_path / "lock").write_text("")
    out = Draft(tmp_path)
    assert fit(tiny_config(tmp_path), out, workers=2, follow=lambda line: None) == {"steps": 2, "world_sizes": []}
    assert {path.name for path in tmp_path.iterdir()} == {"summary.json", "model"}
    assert "summary.json" in out.volatile


def tracked(key: str, **more: Any) -> TrackedRun:
    return TrackedRun("small", "pretrain small", key, {"seed": 13, "optimizer": {"lr": 0.1}}, **more)


def history(run: TrackedRun, name: str = "train/loss") -> list[int]:
    return [metric.step for metric in MlflowClient().get_metric_history(run.run_id, name)]


def test_a_resumed_run_logs_no_step_twice(mlflow_server: MlflowServer) -> None:
    first = tracked("resumed")
    for step in range(1, 61):
        first.log(journal_line(step, lr=0.1))
    first.log(journal_line(60, "eval"))
    assert 0 < len(history(first)) < 60  # the last batch was not sent: the process was killed here
    second = tracked("resumed")
    assert second.run_id == first.run_id
    for step in range(41, 61):  # since the checkpoint of step 40
        second.log(journal_line(step, lr=0.1))
    whole = [journal_line(step, lr=0.1) for step in range(1, 61)]
    second.finish([*whole, journal_line(60, "checkpoint"), journal_line(60, "eval")], {"steps": 60}, [])
    assert history(second) == list(range(1, 61))
    assert history(second, "train/lr") == list(range(1, 61))
    assert history(second, "eval/loss") == [60]
    run = MlflowClient().get_run(second.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"seed": "13", "optimizer.lr": "0.1"}
    assert not any(name.startswith("checkpoint") for name in run.data.metrics)


def test_metrics_lie_on_an_axis_of_tokens_too_and_with_the_load_of_the_machine(
    mlflow_server: MlflowServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "SYSTEM_EVERY_S", 0.0)
    for attempt in range(2):
        run = tracked("axes")
        for step in (1, 2):
            run.log(journal_line(step + 2 * attempt, tokens=100 * (step + 2 * attempt), reason="words are no metric"))
            run.sample_system()
        run.finish([], {}, [])
    found = MlflowClient().get_metric_history(run.run_id, "train_by_tokens/loss")
    assert [(each.step, each.timestamp) for each in found] == [(100 * n, 1_000_000 + 1000 * n) for n in (1, 2, 3, 4)]
    assert history(run, "train/tokens") == [1, 2, 3, 4]
    load = MlflowClient().get_run(run.run_id).data.metrics
    for name in ("cpu_utilization_percentage", "system_memory_usage_megabytes", "disk_available_megabytes"):
        assert load[f"system/{name}"] >= 0
        assert history(run, f"system/{name}") == [0, 1, 2, 3]


def test_metrics_wait_for_a_server_that_went_away_and_training_goes_on(
    mlflow_server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tracked("server away", patience_s=120)
    lines = [journal_line(step) for step in range(1, 201)]
    run.log(lines[0])
    mlflow_server.kill()
    started = time.monotonic()
    for line in lines[1:]:
        run.log(line)
    assert time.monotonic() - started < 10
    assert mlflow_server.address in capsys.readouterr().err
    mlflow_server.begin()
    run.finish(lines, {"steps": 200}, [])  # waits until the server answers
    assert history(run) == list(range(1, 201))


def test_a_server_that_stays_away_fails_the_end_by_name_and_not_the_failure_of_another_cause(
    mlflow_server: MlflowServer,
) -> None:
    run = tracked("server gone", patience_s=2)
    mlflow_server.kill()
    run.log(journal_line(1))
    run.fail()
    with pytest.raises(RegistryUnreachable, match=f"metrics of pretrain small: .*{mlflow_server.address}"):
        run.finish([journal_line(1)], {"steps": 1}, [])
    mlflow_server.begin()
    mlflow_server.wait()
    again = tracked("server gone")
    again.finish([journal_line(1)], {"steps": 1}, [])
    assert history(again) == [1]


@pytest.fixture
def shards(tmp_path: Path, minilm: Path, monkeypatch: pytest.MonkeyPatch) -> ArtifactRef:
    """A published artifact of real token shards."""
    monkeypatch.setenv("BERT_FOUNDRY_STORE", str(tmp_path / "store"))
    tokenizer = load(minilm)
    with artifacts.build("encode", "small", "k" * 64, config=None) as out:
        tokenizer.save(out.path / "tokenizer")
        for split in ("train", "validation"):
            write_documents(out.path / split, tokenizer, random_documents(20), documents_per_shard=10)
        out.facts |= {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    found = artifacts.find("encode", "small", "k" * 64)
    assert found is not None
    return found


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("verb", ["pretrain", "train-task"])
def test_a_flipped_byte_in_a_shard_is_named_before_training(
    shards: ArtifactRef, verb: str, minilm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server and no Ray is there: nothing was asked of them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    flip_a_byte(shards / "train" / "shard-00001.arrow")
    shared: dict[str, Any] = {"name": "small", "seed": 1, "experiment": "small"}
    shape = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16)
    batch = BatchConfig(rows=2, row_length=32)
    pretraining = PretrainSpec(pretrain=PretrainConfig(steps=2, model=shape, batch=batch), **shared)
    steps = TaskTrainConfig(init=str(minilm), steps=2, batch=BatchConfig(samples=2, row_length=32))
    tuning = TaskTrainSpec(task=SequenceTask(labels=LABELS), train=steps, **shared)
    out = Draft(tmp_path / "out.partial")
    train = partial(pretrain.body, pretraining, [shards, None], out)
    if verb == "train-task":
        train = partial(train_task.body, tuning, [shards, shards, None], out)
    with pytest.raises(ArtifactError, match=r"train/shard-00001\.arrow: sha256 is .*remove .* to have it built again"):
        train()
    assert not out.path.exists()


def test_a_driver_that_fails_says_why_and_does_not_abort(tmp_path: Path) -> None:
    """Its thread that waits for the parent's end used to hold a lock that the interpreter needs for its own end."""
    command = [sys.executable, "-m", "tasks.ray_driver", str(tmp_path / "none.json")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as driver:
        assert driver.wait(120) == 1
        assert driver.stderr is not None
        assert driver.stderr.read().strip().splitlines()[-1].startswith("FileNotFoundError")
