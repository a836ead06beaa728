"""Learning rates and parameter groups."""

from __future__ import annotations

import pytest
import torch

from bert_core.config import ModelConfig, OptimizerConfig
from bert_core.heads import SequenceClassifier
from bert_core.optim import build_optimizer, learning_rate, set_learning_rate


def rates(schedule: str, total: int = 100) -> list[float]:
    config = OptimizerConfig(lr=1.0, warmup_share=0.1, schedule=schedule)
    return [learning_rate(config, step, total) for step in range(total)]


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
def test_warmup_rises_to_the_peak_and_nothing_exceeds_it(schedule: str) -> None:
    found = rates(schedule)
    assert found[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert max(found) == pytest.approx(1.0)


def test_linear_and_cosine_end_near_zero_and_constant_does_not() -> None:
    assert rates("linear")[-1] == pytest.approx(1 / 90)
    assert 0 < rates("cosine")[-1] < 0.001
    assert rates("constant")[-1] == 1.0


def test_a_single_step_learns() -> None:
    assert learning_rate(OptimizerConfig(lr=1.0), 0, 1) > 0


def test_norms_and_biases_are_not_decayed_and_depth_slows() -> None:
    shape = ModelConfig(vocab_size=50, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16, max_positions=16)
    model = SequenceClassifier(shape, 2)
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1, layer_decay=0.5), shape.num_layers)
    set_learning_rate(optimizer, 1.0)
    found = {
        id(parameter): (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    assert len(found) == len(list(model.parameters()))
    expected = {"classifier": 1.0, "pooler": 1.0, "encoder.embeddings": 0.125}
    for name, parameter in model.named_parameters():
        decay, rate = found[id(parameter)]
        assert decay == (0.1 if parameter.ndim > 1 else 0.0), name
        for prefix, factor in expected.items():
            if name.startswith(prefix):
                assert rate == factor, name
    blocks = {
        name.split(".")[2]: found[id(p)][1]
        for name, p in model.named_parameters()
        if name.startswith("encoder.layers.")
    }
    assert blocks == {"0": 0.25, "1": 0.5}


def test_ema_and_layer_decay_are_bounded() -> None:
    with pytest.raises(ValueError, match="layer_decay"):
        OptimizerConfig(layer_decay=1.5)
    assert torch.tensor(OptimizerConfig().betas).shape == (2,)
