"""Registering, finding and fetching versions with a real MLflow server, also while it dies and comes back."""

import os
import threading
import time
from pathlib import Path

import mlflow
import pytest
from mlflow.exceptions import MlflowException

from tasks.artifacts import folder_content
from tasks.config import RegisterConfig
from tasks.registry.promotion import promote
from tasks.registry.server import RegistryError, RegistryUnreachable, client, insist
from tasks.registry.versions import ModelVersion, aliases, champion, download, find, get, register
from tests.mlflow_servers import MlflowServer, free_port
from tests.mortals import Mortals

REGISTRAR = """
from pathlib import Path
from tests.tasks.test_registry import registered

def call(folder):
    registered("killed", Path(folder), "a1")
"""


@pytest.fixture
def evidence(tmp_path: Path) -> Path:
    folder = tmp_path / "evidence"
    folder.mkdir()
    (folder / "report.md").write_text("# fine\n")
    return folder


def registered(model: str, folder: Path, artifact: str, evidence: Path | None = None, **more: float) -> ModelVersion:
    return register(
        RegisterConfig(model_name=model, experiment=f"{model}-runs"),
        folder,
        tags={"artifact": artifact, "corpus": "abc123", "start": ""},
        metrics={"test_accuracy": 0.83},
        evidence=evidence,
        run_name="register night 1",
        **more,
    )


def test_a_version_carries_lineage_metrics_evidence_and_no_pickle(
    mlflow_server: MlflowServer, tiny_classifier: Path, evidence: Path, tmp_path: Path
) -> None:
    version = registered("lineage.v1", tiny_classifier, "a1", evidence)
    assert version.aliases == ("candidate",)
    assert version.tags["corpus"] == "abc123"
    run = client().get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"test_accuracy": 0.83}
    assert [file.path for file in client().list_artifacts(version.run_id, "evidence")] == ["evidence/report.md"]

    files = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri, dst_path=str(tmp_path / "logged")))
    names = {path.relative_to(files).as_posix() for path in files.rglob("*") if path.is_file()}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".pyc"))]
    assert {"artifacts/model/model.safetensors", "serving_model.py", "code/bert_core/predict.py"} <= names
    requirements = (files / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} >= {"torch", "tokenizers", "safetensors", "pydantic"}
    assert all("==" in line and "+" not in line for line in requirements)
    logged = mlflow.models.get_model_info(version.uri)
    assert logged.signature.inputs.input_names() == ["text"]
    assert logged.saved_input_example_info is not None


def test_the_same_artifact_is_registered_once(mlflow_server: MlflowServer, tiny_classifier: Path) -> None:
    first = registered("once", tiny_classifier, "a1")
    assert registered("once", tiny_classifier, "a1") == first
    promote("once", "1", why="good")
    assert registered("once", tiny_classifier, "a1").aliases == ("champion",)  # and not the candidate again
    assert registered("once", tiny_classifier, "a2").version == "2"
    assert aliases("once").candidate == "2"
    assert find("once", "a3") is None


def test_a_registration_killed_at_any_point_is_continued(mlflow_server: MlflowServer, tiny_classifier: Path) -> None:
    """SIGKILL after each of several waits: wherever it fell, the next attempt makes the one version."""
    with Mortals(REGISTRAR) as mortals:
        for wait_s in (0.05, 0.3, 0.8, 1.6, 2.4):
            mortals.run(str(tiny_classifier), kill_after_s=wait_s)
    version = registered("killed", tiny_classifier, "a1")
    assert version.version == "1"
    assert len(client().search_model_versions("name = 'killed'")) == 1
    assert folder_content(download(version)) == folder_content(tiny_classifier)
    ready = client().search_logged_models([client().get_experiment_by_name("killed-runs").experiment_id])
    assert [str(model.status) for model in ready] == ["READY"]


def test_download_gives_the_registered_bytes_once(mlflow_server: MlflowServer, tiny_classifier: Path) -> None:
    version = registered("fetched", tiny_classifier, "a1")
    folder = download(version)
    assert folder_content(folder) == folder_content(tiny_classifier)
    before = (folder / "config.json").stat().st_ino
    assert (download(version) / "config.json").stat().st_ino == before
    (folder / "config.json").write_text("{}")  # a damaged copy is fetched again
    assert folder_content(download(version)) == folder_content(tiny_classifier)


def test_download_refuses_what_was_changed_in_the_artifact_store(
    mlflow_server: MlflowServer, tiny_classifier: Path
) -> None:
    version = registered("changed", tiny_classifier, "a1")
    (weights,) = (
        path
        for path in (mlflow_server.folder / "artifacts").rglob("model.safetensors")
        if version.model_uri.removeprefix("models:/") in path.as_posix()
    )
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(RegistryError, match=r"models:/changed/1: its files' content hash is .* was registered"):
        download(version)
    assert not any(
        (server_store := Path(os.environ["BERT_FOUNDRY_HOME"]) / "store" / "models" / "changed").iterdir()
    ), server_store


def test_nobody_is_champion_of_a_new_model(mlflow_server: MlflowServer, tiny_classifier: Path) -> None:
    assert champion("nothing-here") is None
    version = registered("someone", tiny_classifier, "a1")
    assert champion("someone") is None
    promote("someone", version.version, why="first")
    found = champion("someone")
    assert found is not None
    assert (found.version, found.aliases) == ("1", ("champion",))


@pytest.mark.parametrize(("file"), ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_folder_that_is_no_model_is_refused_before_anything_is_written(
    mlflow_server: MlflowServer, tmp_path: Path, file: str
) -> None:
    for name in {"config.json", "model.safetensors", "tokenizer.json"} - {file}:
        (tmp_path / name).write_text("{}")
    with pytest.raises(RegistryError, match=f"has no {file}"):
        registered("no-model", tmp_path, "a1")
    with pytest.raises(RegistryError, match="artifact"):
        registered("no-model", tmp_path, "")
    assert client().get_experiment_by_name("no-model-runs") is None


def test_without_an_address_there_is_a_hint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(RegistryError, match=r"MLFLOW_TRACKING_URI is not set.*bert-foundry up"):
        get("x", "1")


def test_a_server_that_does_not_come_back_is_waited_for_aloud_and_named(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    started = time.monotonic()
    caplog.set_level("WARNING")
    with pytest.raises(RegistryUnreachable, match=rf"looking for x version 1: the MLflow server at {address} did not"):
        get("x", "1", timeout_s=2)
    assert time.monotonic() - started < 60, "two seconds were asked for; the default is 120"
    said = [record.message for record in caplog.records if "waiting for it" in record.message]
    assert said == [
        f"looking for x version 1: the MLflow server at {address} does not answer; waiting for it, 2 s at most"
    ]


def test_an_error_of_the_servers_own_is_not_retried(mlflow_server: MlflowServer) -> None:
    calls = []

    def wrong() -> None:
        calls.append(1)
        client().create_registered_model("a/b:c")

    with pytest.raises(MlflowException, match="a/b:c"):
        insist(wrong, what="naming it badly")
    assert len(calls) == 1


def test_registration_survives_a_server_that_is_killed_in_the_middle_and_comes_back(
    mlflow_server: MlflowServer, tiny_classifier: Path, evidence: Path
) -> None:
    started = threading.Event()

    def kill_and_restart() -> None:
        started.wait()
        time.sleep(0.5)
        mlflow_server.kill()
        time.sleep(2)
        mlflow_server.begin()

    accident = threading.Thread(target=kill_and_restart)
    accident.start()
    started.set()
    version = registered("survivor", tiny_classifier, "a1", evidence, timeout_s=120)
    accident.join()
    mlflow_server.wait()
    assert (version.version, version.aliases) == ("1", ("candidate",))
    assert len(client().search_model_versions("name = 'survivor'")) == 1
    assert folder_content(download(version)) == folder_content(tiny_classifier)
