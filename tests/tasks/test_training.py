"""Following a training run: its journal, the cause of its end, and its metrics on a real MLflow server."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from bert_core.config import BatchConfig, MlmObjective, ModelConfig, TrainConfig
from bert_core.tokenizer import load
from tasks import artifacts
from tasks.artifacts import ArtifactError, ArtifactRef, Draft
from tasks.config import FinetuneConfig, PretrainConfig
from tasks.finetune import FinetuneSpec, finetune
from tasks.pretrain import PretrainSpec, pretrain
from tasks.registry.server import RegistryUnreachable
from tasks.tracking import TrackedRun
from tasks.training import _cause, fit, tail
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
    assert fit(tiny_config(tmp_path), out, workers=2, follow=lambda line: None) == {"steps": 2}
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


def test_metrics_wait_for_a_server_that_went_away_and_training_goes_on(
    mlflow_server: MlflowServer, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tracked("server away", patience_s=30)
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


@pytest.mark.parametrize("verb", ["pretrain", "finetune"])
def test_a_flipped_byte_in_a_shard_is_named_before_training(
    shards: ArtifactRef, verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No server and no Ray is there: nothing was asked of them."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{free_port()}")
    flip_a_byte(shards / "train" / "shard-00001.arrow")
    shared: dict[str, Any] = {"name": "small", "seed": 1, "experiment": "small"}
    shape = ModelConfig(hidden_size=16, num_layers=1, num_heads=2, intermediate_size=16)
    batch = BatchConfig(rows=2, row_length=32)
    pretraining = PretrainSpec(pretrain=PretrainConfig(steps=2, model=shape, batch=batch), **shared)
    sections = FinetuneConfig(labels=LABELS, steps=2, batch=BatchConfig(samples=2, row_length=32))
    tuning = FinetuneSpec(finetune=sections, start="random", model=shape, **shared)
    stage, spec = (pretrain, pretraining) if verb == "pretrain" else (finetune, tuning)
    out = Draft(tmp_path / "out.partial")
    with pytest.raises(ArtifactError, match=r"train/shard-00001\.arrow: sha256 is .*remove .* to have it built again"):
        stage.body(spec, [shards, None], out)
    assert not out.path.exists()
