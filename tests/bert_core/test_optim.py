"""Learning rates, parameter groups and StableAdamW."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from tiny_bert import our_classifier
from torch import Tensor, nn

from bert_core.adamw import StableAdamW
from bert_core.config import ModelConfig, OptimizerConfig, RuntimeConfig
from bert_core.distributed import World
from bert_core.optim import build_optimizer, learning_rate, set_learning_rate, update
from bert_core.optimizer_state import load_optimizer_tensors, optimizer_tensors
from bert_core.parallel import parallelize

SHAPE = ModelConfig(vocab_size=50, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16, max_positions=16)


def rates(schedule: str, total: int = 100, **more: Any) -> list[float]:
    config = OptimizerConfig.model_validate({"lr": 1.0, "warmup_share": 0.1, "schedule": schedule} | more)
    return [learning_rate(config, step, total) for step in range(total)]


CLOSED_FORM = {
    "linear": lambda step: 1 - (step - 10) / 90,
    "cosine": lambda step: (1 + math.cos(math.pi * (step - 10) / 90)) / 2,
    "constant": lambda step: 1.0,
    "wsd": lambda step: 1 - math.sqrt(max(0, step - 80) / 20),
}


@pytest.mark.parametrize("schedule", CLOSED_FORM)
@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_schedules_are_their_closed_forms(schedule: str, floor: float) -> None:
    found = rates(schedule, decay_share=0.2, final_lr_share=floor)
    assert found[:10] == pytest.approx([0.1 * (step + 1) for step in range(10)])
    assert found[10:] == pytest.approx([floor + (1 - floor) * CLOSED_FORM[schedule](step) for step in range(10, 100)])


def test_wsd_is_level_up_to_its_decay_and_has_lost_half_after_a_quarter_of_it() -> None:
    found = rates("wsd", decay_share=0.2)
    assert found[9:81] == [1.0] * 72
    assert found[85] == pytest.approx(0.5)
    assert 0 < found[99] < 0.03


@pytest.mark.parametrize("schedule", CLOSED_FORM)
@pytest.mark.parametrize("total", [1, 2, 3, 7])
@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 1.0), (0.0, 0.01), (0.5, 0.5), (0.9, 0.1)])
def test_every_step_of_the_shortest_runs_learns(schedule: str, total: int, warmup: float, decay: float) -> None:
    found = rates(schedule, total, warmup_share=warmup, decay_share=decay)
    assert all(0 < rate <= 1 for rate in found)
    assert max(found) == pytest.approx(1.0)


def grouped(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, dict[str, Any]]:
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {names.pop(id(p)): group for group in optimizer.param_groups for p in group["params"]}
    assert not names
    return found


def test_norms_and_biases_are_not_decayed_and_depth_slows() -> None:
    model = our_classifier(SHAPE, "a", "b")
    optimizer = build_optimizer(model, OptimizerConfig(weight_decay=0.1, layer_decay=0.5), SHAPE.num_layers)
    set_learning_rate(optimizer, 1.0)
    expected = {"classifier": 1.0, "pooler": 1.0, "encoder.embeddings": 0.125}
    expected |= {"encoder.layers.0.": 0.25, "encoder.layers.1.": 0.5}
    for name, group in grouped(model, optimizer).items():
        assert group["weight_decay"] == (0.1 if name.endswith("weight") and "norm" not in name else 0.0), name
        assert group["lr"] == next(rate for prefix, rate in expected.items() if name.startswith(prefix)), name


def test_layers_that_share_weights_are_one_block_below_the_head() -> None:
    model = our_classifier(SHAPE, "a", "b")
    del model.encoder.layers[1]
    found = grouped(model, build_optimizer(model, OptimizerConfig(layer_decay=0.5), num_layers=12))
    assert found["encoder.layers.0.up.weight"]["lr_factor"] == 0.5
    assert found["encoder.embeddings.word.weight"]["lr_factor"] == 0.25


def test_ema_and_layer_decay_are_bounded() -> None:
    with pytest.raises(ValueError, match="layer_decay"):
        OptimizerConfig(layer_decay=1.5)
    assert torch.tensor(OptimizerConfig().betas).shape == (2,)


LR, BETAS, EPS, DECAY = 0.01, (0.9, 0.99), 1e-6, 0.1


def reference_steps(weights: Tensor, gradients: list[Tensor]) -> tuple[Tensor, list[float]]:
    """Algorithm 2 of the paper in double precision, one tensor, its own bias-corrected betas; and each step's RMS."""
    theta, v, u, rms = weights.double(), 0.0, 0.0, []
    for t, gradient in enumerate(gradients, 1):
        g = gradient.double()
        beta1, beta2 = (beta * (1 - beta ** (t - 1)) / (1 - beta**t) for beta in BETAS)
        v = beta1 * v + (1 - beta1) * g
        u = beta2 * u + (1 - beta2) * g**2
        rms.append(float((g**2 / torch.clamp(u, min=EPS**2)).mean().sqrt()))
        rate = LR / max(1.0, rms[-1])
        theta = theta - rate * DECAY * theta - rate * v / (u.sqrt() + EPS)
    return theta, rms


def gradients_that_jump(shape: tuple[int, ...], seed: int, steps: int = 8) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator) * (30.0 if step == 5 else 0.9**step) for step in range(steps)]


def drive(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], gradients: list[list[Tensor]]) -> None:
    for step in range(len(gradients[0])):
        for parameter, of_parameter in zip(parameters, gradients, strict=True):
            parameter.grad = of_parameter[step].clone()
        optimizer.step()


@pytest.mark.parametrize("chunk", [1 << 24, 10])
def test_stable_adamw_is_the_papers_algorithm(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bert_core.adamw.CHUNK", chunk)
    shapes: list[tuple[int, ...]] = [(5, 7), (3,), (4, 4, 2), (1,)]
    start = [torch.randn(shape, generator=torch.Generator().manual_seed(9)) for shape in shapes]
    gradients = [gradients_that_jump(shape, seed) for seed, shape in enumerate(shapes)]
    gradients[2][4][0] = 0.0
    parameters = [nn.Parameter(values.clone()) for values in start]
    drive(StableAdamW(parameters, lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY), parameters, gradients)
    for parameter, values, of_parameter in zip(parameters, start, gradients, strict=True):
        expected, rms = reference_steps(values, of_parameter)
        assert max(rms) > 2  # the clipping was at work
        torch.testing.assert_close(parameter.detach(), expected.float(), rtol=1e-5, atol=1e-6)


def test_stable_adamw_is_adamw_while_gradients_do_not_outgrow_their_mean() -> None:
    start = torch.randn(6, 5, generator=torch.Generator().manual_seed(1))
    shrinking = [torch.randn(6, 5, generator=torch.Generator().manual_seed(2)) * 0.5**step for step in range(6)]
    assert max(reference_steps(start, shrinking)[1]) <= 1 + 1e-9
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    drive(StableAdamW([ours], lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY), [ours], [shrinking])
    drive(torch.optim.AdamW([theirs], lr=LR, betas=BETAS, eps=EPS, weight_decay=DECAY), [theirs], [shrinking])
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


KINDS = [{}, {"stable": True}, {"type": "muon"}, {"type": "muon", "stable": True}]


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> nn.Module:
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        update(optimizer, 0.01 / (1 + step))
    return model


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_every_optimizer_continues_bit_for_bit_through_a_checkpoint(kind: dict[str, Any]) -> None:
    config = OptimizerConfig.model_validate({"lr": 0.01, "layer_decay": 0.9} | kind)
    torch.manual_seed(0)
    whole, cut, resumed = (our_classifier(SHAPE, "a", "b") for _ in range(3))
    cut.load_state_dict(whole.state_dict())
    trained(whole, build_optimizer(whole, config, SHAPE.num_layers), range(6))
    optimizer = build_optimizer(cut, config, SHAPE.num_layers)
    trained(cut, optimizer, range(3))
    tensors = {name: value.clone() for name, value in optimizer_tensors(optimizer, cut.named_parameters()).items()}
    resumed.load_state_dict(cut.state_dict())
    again = build_optimizer(resumed, config, SHAPE.num_layers)
    load_optimizer_tensors(again, resumed.named_parameters(), tensors)
    trained(resumed, again, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_step_that_is_left_out_leaves_no_trace(kind: dict[str, Any]) -> None:
    config = OptimizerConfig.model_validate({"lr": 0.01} | kind)
    torch.manual_seed(0)
    plain, with_gap = our_classifier(SHAPE, "a", "b"), our_classifier(SHAPE, "a", "b")
    with_gap.load_state_dict(plain.state_dict())
    optimizers = [build_optimizer(model, config, SHAPE.num_layers) for model in (plain, with_gap)]
    trained(plain, optimizers[0], range(2))
    trained(with_gap, optimizers[1], range(2))
    for parameter in with_gap.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    update(optimizers[1], 0.01, leave_out=torch.tensor(True))
    trained(plain, optimizers[0], range(2, 4))
    trained(with_gap, optimizers[1], range(2, 4))
    for name, value in plain.state_dict().items():
        assert torch.equal(value, with_gap.state_dict()[name]), name


@pytest.mark.gpu
def test_on_a_gpu_the_host_waits_neither_for_the_norm_nor_for_whether_to_leave_the_step_out() -> None:
    torch.manual_seed(0)
    model = our_classifier(SHAPE, "a", "b").cuda()
    optimizer = build_optimizer(model, OptimizerConfig(lr=0.01), SHAPE.num_layers)
    parallel = parallelize(model, lambda model, batch: model(batch), RuntimeConfig(), World(), "bf16")
    before = {name: values.clone() for name, values in model.state_dict().items()}
    for factor in (math.nan, 1.0):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, factor)
        torch.cuda.set_sync_debug_mode("error")
        try:
            norm = parallel.grad_norm()
            parallel.clip_gradients(1.0, norm)
            update(optimizer, 0.01, leave_out=~norm.isfinite())
        finally:
            torch.cuda.set_sync_debug_mode("default")
        same = all(torch.equal(values, before[name]) for name, values in model.state_dict().items())
        assert same == math.isnan(factor)
