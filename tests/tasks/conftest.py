"""A real MLflow server for the tests of this folder, and a tiny model to register."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mlflow_servers import MlflowServer, free_port


@pytest.fixture(scope="session")
def running_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MlflowServer]:
    server = MlflowServer(tmp_path_factory.mktemp("mlflow"), free_port())
    server.begin()
    try:
        server.wait()
        yield server
    finally:
        server.kill()


@pytest.fixture
def mlflow_server(
    running_mlflow: MlflowServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MlflowServer]:
    """The session's server, and an empty home for the promotion log; tests use model names of their own."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", running_mlflow.address)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    monkeypatch.setenv("BERT_FOUNDRY_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("BERT_FOUNDRY_STORE", raising=False)
    yield running_mlflow
    if running_mlflow.process is None:  # a test killed it and did not come to start it again
        running_mlflow.begin()
        running_mlflow.wait()


@pytest.fixture(scope="session")
def tiny_classifier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder written by transformers: BERT of 2 layers x 32, random weights, labels fresh and rotten."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    from bert_core.tokenizer import train_wordpiece

    folder = tmp_path_factory.mktemp("tiny") / "model"
    texts = ["a neat trick, bundling perversity and romance", "a bore from start to end", "the cast is tempting"] * 5
    tokenizer = train_wordpiece(iter(texts), 200, 2, True)
    tokenizer.save(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=tokenizer.vocab_size,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
        initializer_range=0.5,  # so that predictions differ from text to text
        id2label={0: "fresh", 1: "rotten"},
        label2id={"fresh": 0, "rotten": 1},
    )
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder
