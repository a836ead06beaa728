"""Fine-tuning methods on two ranks: the weights of one process, whatever the strategy."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from bert_core import train
from bert_core.config import TrainConfig
from bert_core.distributed import World
from bert_core.tokenizer import load as load_tokenizer
from tests.bert_core.method_runs import TASK, config, make_corpus, shape, silent
from tests.bert_core.ranks import on_ranks

pytestmark = pytest.mark.timeout(400)
METHODS: dict[str, dict[str, Any]] = {
    "unfreeze": {"unfreeze": 0.2},
    "frozen": {"freeze_layers": 1},
    "fgm": {"adversarial": {"type": "fgm", "epsilon": 0.1}},
    "pgd-rdrop": {"adversarial": {"type": "pgd", "epsilon": 0.1, "steps": 2, "step_size": 0.1}, "rdrop_alpha": 1.0},
    "prefix": {"prefix": {"tokens": 3}},
}
CASES = [
    (strategy, method)
    for strategy in ("replicate", "ddp", "fsdp")
    for method in METHODS
    if (strategy, method) != ("fsdp", "unfreeze")  # refused
]


def asked(corpus: Path, strategy: str, method: str) -> TrainConfig:
    """Without dropout, which every rank draws for itself; plain steps, since Adam makes much of rounding."""
    still = shape(load_tokenizer(corpus / "tokenizer"), hidden_dropout=0.0, attention_dropout=0.0)
    return config(
        corpus,
        model=still.model_dump(),
        task=TASK.model_dump(),
        method=METHODS[method],
        runtime={"parallel": strategy, "micro_rows": 2},
        optimizer={"lr": 1e-3, "eps": 1e-2},
        steps=5,
        eval_data=None,
    )


def on_two(world: World, folder: Path, corpus: Path) -> None:
    for strategy, method in CASES:
        train.run(asked(corpus, strategy, method), work_dir=folder / f"{strategy}-{method}", report=silent)


def test_two_ranks_learn_what_one_does(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    corpus = make_corpus(tmp_path / "corpus")
    codes = on_ranks(2, functools.partial(on_two, corpus=corpus), tmp_path)
    errors = [file.read_text() for file in tmp_path.glob("error-*")]
    assert codes == [0, 0], "\n".join(errors)[-3000:]
    for strategy, method in CASES:
        one = tmp_path / f"one-{method}"
        if not one.exists():
            train.run(asked(corpus, "replicate", method), work_dir=one, report=silent)
        (file,) = (file.name for file in (one / "model").glob("*.safetensors"))
        expected = load_file(one / "model" / file)
        found = load_file(tmp_path / f"{strategy}-{method}" / "model" / file)
        for name, tensor in expected.items():
            torch.testing.assert_close(
                found[name], tensor, rtol=1e-3, atol=2e-5, msg=lambda m, at=(strategy, method, name): f"{at}: {m}"
            )
