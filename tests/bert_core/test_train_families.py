"""Every family trains by an objective of its own, is cut off, continues, and leaves a folder for transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from bert_core import train
from bert_core.config import ConfigError
from tests.bert_core.test_train import config, corpus, silent, weights

__all__ = ["corpus"]

SHAPE = {"vocab_size": 120, "hidden_size": 32, "num_layers": 4, "num_heads": 2, "intermediate_size": 48}
WORDS = {"type": "mlm"}
FAMILIES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "bert": ({}, {"type": "mlm", "nsp": True}),
    "roberta": ({"pad_token_id": 0}, WORDS | {"static": True}),
    "albert": ({"embedding_size": 16}, {"type": "mlm", "sop": True, "unit": "span"}),
    "distilbert": ({}, WORDS | {"unit": "word"}),
    "gpt2": ({}, {"type": "causal"}),
    "modernbert": ({"local_window": 8}, WORDS | {"mask_rate": 0.3}),
    "xlnet": ({}, {"type": "permutation"}),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_trains_continues_and_is_read_by_transformers(corpus: Path, tmp_path: Path, family: str) -> None:
    more, objective = FAMILIES[family]
    asked = config(
        corpus,
        "mlm",
        model={"family": family, **SHAPE, "max_positions": 64, **more},
        objective=objective,
        steps=12,
        eval_every=6,
        checkpoint_every=4,
        optimizer={"lr": 1e-3},
    )
    summary = train.run(asked, work_dir=tmp_path / "whole", report=silent)
    assert summary["eval_after"]["loss"] < summary["eval_before"]["loss"] + 0.02

    def stop(line: dict[str, Any], checkpoint: Path | None) -> None:
        if line["kind"] == "train" and line["step"] == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train.run(asked, work_dir=tmp_path / "cut", report=stop)
    train.run(asked, work_dir=tmp_path / "cut", report=silent)
    assert weights(tmp_path / "cut") == weights(tmp_path / "whole")
    theirs = AutoModel.from_pretrained(tmp_path / "cut" / "model")
    assert theirs.config.model_type == family
    assert torch.isfinite(next(theirs.parameters())).all()


def test_a_shape_that_its_familys_files_cannot_say_is_refused_before_training(corpus: Path, tmp_path: Path) -> None:
    asked = config(corpus, "mlm", model={"family": "bert", **SHAPE, "max_positions": 64, "local_window": 8})
    with pytest.raises(ConfigError, match="local_window"):
        train.run(asked, work_dir=tmp_path, report=silent)
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize(
    ("family", "objective", "legal"),
    [("bert", "causal", "mlm"), ("gpt2", "mlm", "causal"), ("xlnet", "mlm", "permutation")],
)
def test_a_model_is_not_asked_for_what_it_can_see(
    corpus: Path, tmp_path: Path, family: str, objective: str, legal: str
) -> None:
    shape = {"family": family, **SHAPE, "max_positions": 64}
    asked = config(corpus, "mlm", model=shape, objective={"type": objective})
    with pytest.raises(ConfigError, match=f"objective.type = '{objective}'.* takes '{legal}'"):
        train.run(asked, work_dir=tmp_path, report=silent)
