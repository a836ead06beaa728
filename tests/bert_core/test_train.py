"""The loop: it learns, it resumes bit for bit, and it stops all ranks on a loss that is not a number."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file

from bert_core import train
from bert_core.checkpoint import CheckpointError
from bert_core.config import SequenceTask, TrainConfig
from bert_core.features import encode, write_features
from bert_core.heads import PretrainingModel
from bert_core.shards import TokenizedDocument, write_shards
from bert_core.tokenizer import Tokenizer, train_wordpiece

TASK = SequenceTask(labels=("a", "b"))
WORDS = [f"{start}{end}" for start in ("ba", "ko", "mi", "ru", "te", "lo") for end in ("n", "sh", "lla", "rk", "t")]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sides of texts whose first word decides the label and whose words come in a fixed order: shards, features."""
    folder = tmp_path_factory.mktemp("corpus")
    rng = np.random.default_rng(0)
    starts = rng.integers(0, len(WORDS), 160)
    texts = [" ".join(WORDS[(s + i) % len(WORDS)] for i in range(int(rng.integers(4, 12)))) for s in starts]
    tokenizer = train_wordpiece(iter(texts), 120, 1, True)
    tokenizer.save(folder / "tokenizer")
    table = pa.table(
        {
            "id": [f"{i:04}" for i in range(160)],
            "text": texts,
            "label": ["ab"[int(start >= len(WORDS) // 2)] for start in starts],
        }
    )
    for side, first, count in (("train", 0, 120), ("validation", 120, 40)):
        write(folder / "mlm" / side, tokenizer, texts[first : first + count])
        write_features(encode(TASK, table.slice(first, count), tokenizer, 32), folder / "sequence" / side)
    return folder


def write(folder: Path, tokenizer: Tokenizer, texts: list[str]) -> None:
    documents = [
        TokenizedDocument(
            tokens=encoding.ids,
            sentence_starts=np.array([0, len(encoding.ids) // 2], dtype=np.int32),
            word_starts=encoding.word_starts,
            document_id=f"{i:04}",
            kind="text",
        )
        for i, encoding in enumerate(tokenizer.encode_batch(texts))
    ]
    write_shards(
        folder,
        documents,
        vocab_size=tokenizer.vocab_size,
        fingerprint=tokenizer.fingerprint,
        documents_per_shard=50,
    )


def config(corpus: Path, kind: str = "sequence", **changes: Any) -> TrainConfig:
    shape = {"hidden_size": 32, "num_layers": 2, "num_heads": 2, "intermediate_size": 64, "max_positions": 64}
    base: dict[str, Any] = {
        "name": "tiny",
        "model": {"vocab_size": 120, **shape},
        **({"task": TASK.model_dump()} if kind == "sequence" else {"objective": {"type": "mlm", "nsp": True}}),
        "batch": {"samples": 16, "row_length": 32} if kind == "sequence" else {"rows": 4, "row_length": 32},
        "optimizer": {"lr": 3e-3},
        "steps": 12,
        "train_data": str(corpus / kind / "train"),
        "eval_data": str(corpus / kind / "validation"),
        "tokenizer": str(corpus / "tokenizer"),
        "eval_every": 6,
        "checkpoint_every": 4,
        "log_every": 1,
    }
    return TrainConfig.model_validate(base | changes)


MEASURED = ("time", "tokens_per_second", "mfu", "seconds_left", "peak_memory_mb")
"""What a line says of the machine; no two runs agree on it."""


def silent(line: dict[str, Any], checkpoint: Path | None) -> None:
    del line, checkpoint


def weights(folder: Path) -> bytes:
    return (folder / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("kind", "steps"), [("sequence", 60), ("mlm", 300)])
def test_it_learns_and_leaves_a_model_a_journal_and_a_summary(
    corpus: Path, tmp_path: Path, kind: str, steps: int
) -> None:
    objective = {"objective": {"type": "mlm"}} if kind == "mlm" else {}
    summary = train.run(config(corpus, kind, steps=steps, **objective), work_dir=tmp_path, report=silent)
    # The head starts from the words' frequencies, so that masked words get better by their neighbours alone.
    assert summary["eval_after"]["loss"] < summary["eval_before"]["loss"] * (0.6 if kind == "sequence" else 0.8)
    assert (summary["steps"], summary["world_size"]) == (steps, 1)
    lines = train.read_metrics(tmp_path / "metrics.jsonl")
    assert [line["step"] for line in lines if line["kind"] == "train"] == list(range(1, steps + 1))
    assert lines[-1]["tokens"] == summary["tokens"]
    assert load_file(tmp_path / "model" / "model.safetensors")


def test_a_new_masked_word_head_starts_from_frequencies_and_a_given_one_from_its_own(
    corpus: Path, tmp_path: Path
) -> None:
    fresh = config(corpus, "mlm", steps=4)
    data = train.build_data(fresh, fresh.train_data)
    counts = data.shards.token_counts()
    assert counts.sum() == data.shards.num_tokens
    model = train.build_model(fresh, data)
    assert isinstance(model, PretrainingModel)
    smoothed = np.pad(counts, (0, 120 - len(counts))) + 1
    np.testing.assert_allclose(model.mlm_head.bias.detach().exp(), smoothed / smoothed.sum(), rtol=1e-5)
    train.run(fresh, work_dir=tmp_path, report=silent)
    again = train.build_model(fresh.model_copy(update={"init": str(tmp_path / "model")}), data)
    assert isinstance(again, PretrainingModel)
    exported = load_file(tmp_path / "model" / "model.safetensors")
    torch.testing.assert_close(again.mlm_head.bias, exported["cls.predictions.bias"], rtol=0, atol=0)
    assert not torch.equal(again.mlm_head.bias, model.mlm_head.bias)


@pytest.mark.parametrize("kind", ["sequence", "mlm"])
@pytest.mark.parametrize("stop_at", [1, 5, 8, 11])
def test_stopped_anywhere_and_run_again_is_bit_identical(corpus: Path, tmp_path: Path, kind: str, stop_at: int) -> None:
    whole = config(corpus, kind, optimizer={"lr": 3e-3, "ema_decay": 0.9})
    train.run(whole, work_dir=tmp_path / "whole", report=silent)

    def stop(line: dict[str, Any], checkpoint: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(whole, work_dir=tmp_path / "cut", report=stop)
    train.run(whole, work_dir=tmp_path / "cut", report=silent)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    journals = [
        [{k: v for k, v in line.items() if k not in MEASURED} for line in train.read_metrics(f)]
        for f in (tmp_path / "cut" / "metrics.jsonl", tmp_path / "whole" / "metrics.jsonl")
    ]
    assert journals[0] == journals[1]


def test_a_torn_checkpoint_costs_only_the_steps_since_the_one_before(corpus: Path, tmp_path: Path) -> None:
    whole = config(corpus)
    train.run(whole, work_dir=tmp_path / "whole", report=silent)
    train.run(whole, work_dir=tmp_path / "cut", report=silent)
    newest = tmp_path / "cut" / "checkpoints" / "step-00000012" / "model.safetensors"
    newest.write_bytes(newest.read_bytes()[:1000])
    seen: list[int] = []
    train.run(whole, work_dir=tmp_path / "cut", report=lambda line, _: seen.append(line["step"]))
    assert min(seen) == 9
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")


def test_another_config_is_refused_with_the_difference(corpus: Path, tmp_path: Path) -> None:
    train.run(config(corpus, steps=4), work_dir=tmp_path, report=silent)
    with pytest.raises(CheckpointError, match="seed: checkpoint 13, this run 14"):
        train.run(config(corpus, steps=4, seed=14), work_dir=tmp_path, report=silent)


def test_the_best_weights_are_kept_when_asked_for(corpus: Path, tmp_path: Path) -> None:
    asked = config(corpus, steps=30, eval_every=2, keep="best", optimizer={"lr": 0.05, "schedule": "constant"})
    summary = train.run(asked, work_dir=tmp_path, report=silent)
    evals = [line for line in train.read_metrics(tmp_path / "metrics.jsonl") if line["kind"] == "eval"][1:]
    best = min(evals, key=lambda line: line["loss"])
    assert summary["best"] == {"loss": best["loss"], "step": best["step"]}
    again = train.run(
        config(corpus, model=None, init=str(tmp_path / "model"), steps=1), work_dir=tmp_path / "again", report=silent
    )
    assert again["eval_before"]["loss"] == pytest.approx(best["loss"], rel=1e-5)


def test_a_loss_that_is_not_a_number_stops_with_step_and_samples(corpus: Path, tmp_path: Path) -> None:
    first = tmp_path / "first"
    train.run(config(corpus, steps=1), work_dir=first, report=silent)
    from safetensors.torch import save_file

    path = first / "model" / "model.safetensors"
    tensors = load_file(path)
    tensors["classifier.bias"] = torch.tensor([float("nan"), 0.0])
    save_file(tensors, path, metadata={"format": "pt"})
    broken = config(corpus, model=None, init=str(first / "model"), eval_data=None)
    with pytest.raises(ArithmeticError, match=r"step 0: loss nan.*sample ids"):
        train.run(broken, work_dir=tmp_path / "second", report=silent)
