"""The engine that classifies texts, and the model that MLflow serves with it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import requests
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from bert_core.predict import MAX_CHARACTERS, InputError, Predictor
from tasks.config import RegisterConfig
from tasks.registry.promotion import promote
from tasks.registry.versions import ModelVersion, register
from tests.mlflow_servers import MlflowServer, free_port

TEXTS = ["A neat trick.", "a bore", "the cast is tempting, and a bore from start to end " * 2, "和 unknown ¿words?"]


@pytest.fixture(scope="module")
def served(running_mlflow: MlflowServer, tiny_classifier: Path) -> ModelVersion:
    """The tiny model as the champion of a real registry."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", running_mlflow.address)
        config = RegisterConfig(model_name="served", experiment="served")
        return register(
            config, tiny_classifier, tags={"artifact": "served"}, metrics={}, evidence=None, run_name="served"
        )


def test_predictions_equal_those_of_transformers(tiny_classifier: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_classifier)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_classifier).eval()
    answers = Predictor(tiny_classifier).predict(TEXTS)
    assert len({round(answer.score, 6) for answer in answers}) == len(TEXTS)  # it does read them
    for text, answer in zip(TEXTS, answers, strict=True):
        encoded = tokenizer(text, truncation=True, max_length=64, return_tensors="pt")
        with torch.no_grad():
            expected = torch.softmax(model(**encoded).logits[0], dim=0)
        assert list(answer.probabilities) == ["fresh", "rotten"]
        assert list(answer.probabilities.values()) == pytest.approx(expected.tolist(), abs=1e-5)
        assert answer.score == max(answer.probabilities.values()) == answer.probabilities[answer.label]


def test_a_text_answers_the_same_alone_and_among_many(tiny_classifier: Path) -> None:
    predictor = Predictor(tiny_classifier)
    many = predictor.predict(TEXTS * 100)
    for text, answer in zip(TEXTS, many, strict=False):
        (alone,) = predictor.predict([text])
        assert alone.label == answer.label
        assert alone.score == pytest.approx(answer.score, abs=1e-6)
    assert predictor.predict([]) == []


def test_a_long_text_is_cut_and_says_so(tiny_classifier: Path) -> None:
    predictor = Predictor(tiny_classifier)
    short, long, enormous = predictor.predict(["bore " * 62, "bore " * 63, "bore " * 10_000_000])
    assert short.note == ""
    assert long.note == "only the first 62 of 63 tokens were read"
    assert enormous.note == "only the first 62 tokens of 50,000,000 characters were read"
    assert long.score == pytest.approx(short.score, abs=1e-6)
    assert len("bore " * 10_000_000) > MAX_CHARACTERS


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "example 1: text is '': there is nothing in it to read"),
        (" \n\t", "example 1: text is .*nothing in it"),
        (None, "text 1 is None: expected a string"),
        (7, "text 1 is 7: expected a string"),
    ],
)
def test_a_text_that_cannot_be_read_is_named(tiny_classifier: Path, text: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictor(tiny_classifier).predict(["a bore", text])  # type: ignore[list-item]


def test_mlflow_loads_the_champion_without_pickle_and_it_answers(
    mlflow_server: MlflowServer, served: ModelVersion, tiny_classifier: Path
) -> None:
    promote("served", served.version, why="test")
    model = mlflow.pyfunc.load_model("models:/served@champion")
    expected = Predictor(tiny_classifier).predict(TEXTS)
    for given in (pd.DataFrame({"text": TEXTS}), [{"text": text} for text in TEXTS]):
        answer = model.predict(given)
        assert list(answer.columns) == ["label", "score", "probabilities", "note"]
        assert answer["label"].tolist() == [each.label for each in expected]
        assert answer["score"].tolist() == pytest.approx([each.score for each in expected], abs=1e-6)
        assert answer["probabilities"][0] == pytest.approx(expected[0].probabilities, abs=1e-6)
    for bad, message in (
        ({"text": [""]}, "example 0: text is ''"),
        ({"text": [None]}, "None|null"),
        ({"words": ["a bore"]}, "text"),
        ({"text": [3]}, "string|str"),
    ):
        with pytest.raises(mlflow.MlflowException, match=message):
            model.predict(pd.DataFrame(bad))


@pytest.mark.slow
def test_mlflow_models_serve_answers_a_request(
    mlflow_server: MlflowServer, served: ModelVersion, tmp_path: Path
) -> None:
    promote("served", served.version, why="test")
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/served@champion"]
    # MLflow calls `uvicorn` by name, as it is found where this environment is activated
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (tmp_path / "serve.log").open("wb") as log:
        server = subprocess.Popen(
            [*command, "--env-manager", "local", "--host", "127.0.0.1", "--port", str(port)], stdout=log, stderr=log,
            start_new_session=True, cwd=tmp_path, env=environment,
        )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 120
        while not _answers(f"{address}/ping"):
            assert server.poll() is None, (tmp_path / "serve.log").read_text()
            assert time.monotonic() < deadline, (tmp_path / "serve.log").read_text()
            time.sleep(0.5)
        good = requests.post(
            f"{address}/invocations", json={"dataframe_records": [{"text": t} for t in TEXTS]}, timeout=30
        )
        assert good.status_code == 200, good.text
        print(json.dumps(good.json()))
        assert [set(row) for row in good.json()["predictions"]] == [{"label", "score", "probabilities", "note"}] * 4
        bad = requests.post(f"{address}/invocations", json={"inputs": {"text": [""]}}, timeout=30)
        assert bad.status_code == 400
        assert "nothing in it to read" in bad.text
    finally:
        if server.poll() is None:
            os.killpg(server.pid, 15)
            server.wait(30)


def _answers(address: str) -> bool:
    try:
        return requests.get(address, timeout=2).ok
    except requests.RequestException:
        return False
