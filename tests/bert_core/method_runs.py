"""A small labelled corpus, an encoder folder to start from, and runs of fine-tuning methods on them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from bert_core import hf, train
from bert_core.config import ModelConfig, SequenceTask, TrainConfig
from bert_core.features import encode, write_features
from bert_core.heads import PretrainingModel
from bert_core.tokenizer import Tokenizer, train_wordpiece
from tests.bert_core.tiny_bert import initialised

ROW_LENGTH = 32
WORDS = ["ban", "kosh", "milla", "rurk", "tet", "lon", "good", "bad", "it", "was", "film", "one", "two"]
TASK = SequenceTask(labels=("bad", "good"))


def examples(count: int, seed: int = 0) -> pa.Table:
    """Texts of 3 to 12 words, of which one says the label."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        label = ("bad", "good")[int(rng.integers(2))]
        words = [WORDS[k] for k in rng.integers(0, 6, int(rng.integers(3, 12)))]
        words[int(rng.integers(len(words)))] = label
        rows.append({"id": f"{seed}-{number}", "text": " ".join(words), "label": label})
    return pa.Table.from_pylist(rows)


def tokenizer_of(folder: Path) -> Tokenizer:
    tokenizer = train_wordpiece(iter([" ".join(WORDS)] * 4), 100, 1, True)
    tokenizer.save(folder)
    return tokenizer


def shape(tokenizer: Tokenizer, **changes: Any) -> ModelConfig:
    small = {"hidden_size": 32, "num_layers": 3, "num_heads": 4, "intermediate_size": 48, "max_positions": 64}
    more = {"vocab_size": tokenizer.vocab_size, "pad_token_id": tokenizer.pad_id}
    return ModelConfig.model_validate({**small, **more, "initializer_range": 0.1, **changes})


def make_corpus(folder: Path, **changes: Any) -> Path:
    """`tokenizer`, `init` (a pretrained folder of random weights), features of `train` and `validation`."""
    tokenizer = tokenizer_of(folder / "tokenizer")
    config = shape(tokenizer, **changes)
    model = initialised(PretrainingModel(config, pairs=False), config)
    hf.export_pretraining(model, config, folder / "init")
    hf.export_tokenizer(tokenizer, config, folder / "init")
    for side, count, seed in (("train", 96, 0), ("validation", 32, 1)):
        write_features(encode(TASK, examples(count, seed), tokenizer, ROW_LENGTH - 8), folder / side)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return make_corpus(tmp_path_factory.mktemp("corpus"))


def config(corpus: Path, **changes: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "name": "tiny",
        "init": str(corpus / "init"),
        "task": TASK.model_dump(),
        "batch": {"samples": 16, "row_length": ROW_LENGTH},
        "optimizer": {"lr": 3e-3},
        "steps": 10,
        "train_data": str(corpus / "train"),
        "eval_data": str(corpus / "validation"),
        "tokenizer": str(corpus / "tokenizer"),
        "eval_every": 100,
        "checkpoint_every": 3,
        "log_every": 1,
    }
    return TrainConfig.model_validate(base | changes)


def silent(line: dict[str, Any], checkpoint: Path | None) -> None:
    del line, checkpoint


def run(asked: TrainConfig, folder: Path) -> dict[str, Any]:
    return train.run(asked, work_dir=folder, report=silent)


def run_cut(asked: TrainConfig, folder: Path, stop_at: int) -> None:
    """Stopped after so many steps, and continued."""

    def stop(line: dict[str, Any], checkpoint: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(asked, work_dir=folder, report=stop)
    run(asked, folder)


def files(folder: Path) -> dict[str, bytes]:
    """The weights of an exported model, by file."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in (folder / "model").rglob("*.safetensors")}


def checkpoint_tensors(folder: Path, step: int, name: str = "model") -> dict[str, Tensor]:
    return load_file(folder / "checkpoints" / f"step-{step:08d}" / f"{name}.safetensors")


def lines(folder: Path, kind: str = "train") -> list[dict[str, Any]]:
    parsed = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [line for line in parsed if line["kind"] == kind]
