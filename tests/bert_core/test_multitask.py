"""Several heads on one encoder: which step is of which task, and what each folder answers."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from bert_core.build import build_data, build_model, run_length
from bert_core.config import SequenceTask, TokenTask, TrainConfig
from bert_core.features import encode, write_features
from bert_core.methods.multitask import AuxiliaryBatch, MixedData, head_of
from bert_core.predict import Predictor
from bert_core.task_models import TaskModel
from tests.bert_core.method_runs import (
    ROW_LENGTH,
    checkpoint_tensors,
    config,
    corpus,
    examples,
    files,
    lines,
    run,
    run_cut,
    tokenizer_of,
)

__all__ = ["corpus"]
TAGS = TokenTask(labels=("O", "B-X", "I-X"))
NUMBERS = SequenceTask(kind="regression")


def tagged(count: int, seed: int = 3) -> pa.Table:
    rows = [text.split() for text in examples(count, seed)["text"].to_pylist()]
    tags = [["B-X" if word in ("ban", "lon") else "O" for word in words] for words in rows]
    return pa.table({"id": [str(i) for i in range(count)], "tokens": rows, "tags": tags})


def scored(count: int, seed: int = 4) -> pa.Table:
    texts = examples(count, seed)["text"].to_pylist()
    return pa.table(
        {"id": [str(i) for i in range(count)], "text": texts, "label": [50.0 + t.split().count("ban") for t in texts]}
    )


def asked_of(corpus: Path, folder: Path, **changes: Any) -> TrainConfig:
    tokenizer = tokenizer_of(corpus / "tokenizer")
    write_features(encode(TAGS, tagged(40), tokenizer, ROW_LENGTH), folder / "tags")
    write_features(encode(NUMBERS, scored(24), tokenizer, ROW_LENGTH), folder / "numbers")
    auxiliary = [
        {"name": "tags", "task": TAGS.model_dump(), "train_data": str(folder / "tags"), "weight": 0.5},
        {"name": "numbers", "task": NUMBERS.model_dump(), "train_data": str(folder / "numbers"), "weight": 0.25},
    ]
    return config(corpus, **{"auxiliary": auxiliary, "steps": 12, **changes})


def test_steps_are_dealt_in_proportion_and_each_task_goes_through_its_own_epochs(corpus: Path, tmp_path: Path) -> None:
    asked = asked_of(corpus, tmp_path, steps=None, epochs=10)
    data = build_data(asked, asked.train_data, length=run_length(asked))
    assert isinstance(data, MixedData)
    assert data.total_steps == -(-60 * 7 // 4)  # 96 examples in batches of 16, ten times; 1 of 1.75 steps
    dealt = [data.task_of(step) for step in range(data.total_steps)]
    assert [dict(Counter(task for task, _ in dealt))[task] for task in (0, 1, 2)] == [60, 30, 15]
    for task in (0, 1, 2):
        assert [own for each, own in dealt if each == task] == list(range(dict(Counter(t for t, _ in dealt))[task]))
    own = [sample for step, (task, _) in enumerate(dealt) if task == 0 for sample in data.sample_ids(step)]
    assert Counter(own) == dict.fromkeys(range(96), 10)
    assert {task for task, _ in dealt[:8]} == {0, 1, 2}  # none waits until the others are done
    (batch,) = data.micro_batches(next(s for s, (task, _) in enumerate(dealt) if task == 2), 0, 1, None)
    assert isinstance(batch, AuxiliaryBatch)
    assert batch.head == "numbers"
    assert isinstance(batch.to("cpu"), AuxiliaryBatch)


def test_heads_share_one_encoder_and_every_weight_has_one_name(corpus: Path, tmp_path: Path) -> None:
    asked = asked_of(corpus, tmp_path)
    model = build_model(asked, build_data(asked, asked.train_data))
    assert isinstance(model, TaskModel)
    assert head_of(model, "tags").encoder is model.encoder
    names = [name for name, _ in model.named_parameters()]
    assert names == list(model.state_dict())
    assert {name for name in names if name.startswith("auxiliary.")} == {
        f"auxiliary.{head}.{name}"
        for head, held in {"tags": ["classifier"], "numbers": ["pooler.dense", "classifier"]}.items()
        for name in [f"{part}.{kind}" for part in held for kind in ("weight", "bias")]
    }


@pytest.mark.parametrize("method", [{}, {"lora": {"rank": 4}}, {"rdrop_alpha": 1.0, "adversarial": {"type": "fgm"}}])
def test_it_continues_bit_for_bit_and_every_folder_answers_its_task(
    corpus: Path, tmp_path: Path, method: dict[str, Any]
) -> None:
    asked = asked_of(corpus, tmp_path / "data", method=method)
    run(asked, tmp_path / "whole")
    run_cut(asked, tmp_path / "cut", 5)
    folders = ["model", "model-tags", "model-numbers"]
    for folder in folders:
        paths = [tmp_path / which / folder / "model.safetensors" for which in ("whole", "cut")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    assert files(tmp_path / "cut") == files(tmp_path / "whole")
    encoders = [load_file(tmp_path / "whole" / folder / "model.safetensors") for folder in folders]
    name = "bert.encoder.layer.2.attention.self.value.weight"
    assert all(torch.equal(encoders[0][name], other[name]) for other in encoders[1:])
    assert Predictor(tmp_path / "whole" / "model").answer(examples(5)).column_names == ["id", "label", "probabilities"]
    assert Predictor(tmp_path / "whole" / "model-tags").answer(tagged(5)).column_names[1] == "tags"
    assert Predictor(tmp_path / "whole" / "model-numbers").answer(scored(5)).column_names[1] == "value"
    assert "auxiliary.tags.classifier.weight" in checkpoint_tensors(tmp_path / "whole", 12)
    told = [set(line) & {"sequence_loss", "tags_loss", "numbers_loss"} for line in lines(tmp_path / "whole")]
    assert all(len(each) == 1 for each in told)
    assert set.union(*told) == {"sequence_loss", "tags_loss", "numbers_loss"}


def test_all_tasks_are_learned(corpus: Path, tmp_path: Path) -> None:
    run(asked_of(corpus, tmp_path / "data", steps=160), tmp_path / "run")
    answers = Predictor(tmp_path / "run" / "model").answer(examples(60, 9))
    right = [a == b for a, b in zip(answers["label"].to_pylist(), examples(60, 9)["label"].to_pylist(), strict=True)]
    assert np.mean(right) > 0.9
    tags = Predictor(tmp_path / "run" / "model-tags").answer(tagged(40))["tags"].to_pylist()
    assert np.mean([a == b for a, b in zip(tags, tagged(40)["tags"].to_pylist(), strict=True)]) > 0.9
    values = Predictor(tmp_path / "run" / "model-numbers").answer(scored(24))["value"].to_numpy()
    assert abs(values.mean() - 50) < 3


@pytest.mark.parametrize("name", ["rdrop", "sequence", "Tags", "a.b"])
def test_a_name_that_a_loss_has_or_a_folder_cannot_is_an_error(corpus: Path, name: str) -> None:
    other = {"name": name, "task": TAGS.model_dump(), "train_data": "nowhere"}
    with pytest.raises(ValueError, match="name"):
        config(corpus, auxiliary=[other])
