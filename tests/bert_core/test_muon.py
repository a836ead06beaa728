"""Muon against singular value decomposition, torch's own Muon, and a rule written out matrix by matrix."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny_bert import our_classifier
from torch import Tensor, nn

from bert_core import muon
from bert_core.config import ModelConfig, OptimizerConfig
from bert_core.muon import Muon, newton_schulz
from bert_core.optim import build_optimizer, set_learning_rate, update

SHAPE = ModelConfig(vocab_size=50, hidden_size=8, num_layers=2, num_heads=2, intermediate_size=16, max_positions=16)


@pytest.fixture(params=[False, True], ids=["fp32", "bf16"])
def bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(muon, "multiplies_bf16_fast", lambda device: request.param)
    return bool(request.param)


@pytest.fixture
def fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "multiplies_bf16_fast", lambda device: False)


@pytest.mark.parametrize("shape", [(16, 16), (24, 96), (1, 5)])
def test_newton_schulz_keeps_singular_vectors_and_brings_values_near_one(shape: tuple[int, int], bf16: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, *shape, generator=generator) * torch.tensor([1e-3, 1.0, 1e4])[:, None, None]
    found = newton_schulz(matrices).float()
    u, s, vh = torch.linalg.svd(matrices, full_matrices=False)
    brought = u.mT @ found @ vh.mT  # diagonal, were the vectors kept exactly
    values = brought.diagonal(dim1=-2, dim2=-1)
    reached = s / s.square().sum(-1, keepdim=True).sqrt() > 0.01  # smaller ones need more than five steps
    assert values[reached].min() > 0.6
    assert values.max() < 1.3
    off_diagonal = brought - torch.diag_embed(values)
    assert off_diagonal.abs().max() < (0.05 if bf16 else 1e-4)


def test_a_matrix_of_zeros_stays_one_and_a_tall_one_is_refused(bf16: bool) -> None:
    assert newton_schulz(torch.zeros(1, 3, 4)).abs().max() == 0
    with pytest.raises(ValueError, match="rows <= columns"):
        newton_schulz(torch.zeros(1, 4, 3))


def group(parameters: list[nn.Parameter], parts: list[int], **more: Any) -> dict[str, Any]:
    return {"params": parameters, "parts": parts, "muon": True, "momentum": 0.95, "weight_decay": 0.1, **more}


def gradients(parameters: list[nn.Parameter], step: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(step)
    return [torch.randn(parameter.shape, generator=generator) for parameter in parameters]


def test_the_update_is_that_of_torch_s_muon(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch's rounds to bf16 always, one matrix at a time."""
    monkeypatch.setattr(muon, "multiplies_bf16_fast", lambda device: True)
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in [(8, 8), (8, 24), (24, 8), (8, 8)]]
    theirs = [nn.Parameter(parameter.detach().clone()) for parameter in ours]
    mine = Muon([group(ours, [1] * 4)], lr=0.02, betas=(0.9, 0.99), eps=1e-8)
    torchs = torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95)
    for step in range(5):
        for parameters, optimizer in ((ours, mine), (theirs, torchs)):
            for parameter, gradient in zip(parameters, gradients(parameters, step), strict=True):
                parameter.grad = gradient
            optimizer.step()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=2e-3)  # of an update of 0.1 in all


@pytest.mark.parametrize("chunk", [1 << 24, 100])
@pytest.mark.usefixtures("fp32")
def test_fused_matrices_are_orthogonalised_one_by_one(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(muon, "CHUNK", chunk)
    torch.manual_seed(0)
    shapes_and_parts = [((24, 8), 3), ((8, 8), 1), ((64, 8), 2), ((8, 32), 1), ((32, 8), 1)]
    parameters = [nn.Parameter(torch.randn(shape)) for shape, _ in shapes_and_parts]
    parts = [n for _, n in shapes_and_parts]
    expected = [parameter.detach().double() for parameter in parameters]
    momenta = [torch.zeros_like(values) for values in expected]
    optimizer = Muon([group(parameters, parts)], lr=0.02, betas=(0.9, 0.99), eps=1e-8)
    for step in range(3):
        for i, gradient in enumerate(gradients(parameters, step)):
            parameters[i].grad = gradient
            momenta[i] = 0.95 * momenta[i] + 0.05 * gradient.double()
            direction = 0.05 * gradient.double() + 0.95 * momenta[i]
            rows, columns = direction.shape[0] // parts[i], direction.shape[1]
            pieces = [orthogonal(piece) * max(1, rows / columns) ** 0.5 for piece in direction.chunk(parts[i])]
            expected[i] = (1 - 0.02 * 0.1) * expected[i] - 0.02 * torch.cat(pieces)
        optimizer.step()
    for parameter, values in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.detach(), values.float(), rtol=1e-4, atol=1e-5)


def orthogonal(matrix: Tensor) -> Tensor:
    """The polynomial applied to the singular values themselves."""
    u, s, vh = torch.linalg.svd(matrix, full_matrices=False)
    s = s / s.square().sum().sqrt()
    for _ in range(5):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return (u * s) @ vh


def test_blocks_matrices_are_muon_s_at_its_rate_and_all_else_is_adamw_s() -> None:
    model = our_classifier(SHAPE, "a", "b")
    config = OptimizerConfig(type="muon", lr=1e-3, muon_lr=0.02, layer_decay=0.5)
    optimizer = build_optimizer(model, config, SHAPE.num_layers)
    set_learning_rate(optimizer, 0.5e-3)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    matrices = ("attention.qkv.weight", "attention_output.weight", "up.weight", "down.weight")
    for group in optimizer.param_groups:
        for i, parameter in enumerate(group["params"]):
            name = names.pop(id(parameter))
            assert group.get("muon", False) == (name.startswith("encoder.layers.") and name.endswith(matrices)), name
            if group.get("muon"):
                assert group["lr"] == pytest.approx(0.01 * (0.5 if ".1." in name else 0.25))
                assert group["parts"][i] == (3 if "qkv" in name else 1)
    assert not names


def test_a_gated_layer_s_two_matrices_are_told_by_the_shapes() -> None:
    model = our_classifier(SHAPE, "a", "b")
    for block in model.encoder.layers:
        block.up = nn.Linear(SHAPE.hidden_size, 2 * SHAPE.intermediate_size)
    optimizer = build_optimizer(model, OptimizerConfig(type="muon"), SHAPE.num_layers)
    found = [n for group in optimizer.param_groups if group.get("muon") for n in group["parts"]]
    assert sorted(found) == [1, 1, 1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("kind", ["adamw", "muon"])
def test_it_fits_a_product_of_matrices(kind: str) -> None:
    """Two linear layers learn a random linear map whose singular values span two orders of magnitude."""
    torch.manual_seed(0)
    u, _, vh = torch.linalg.svd(torch.randn(16, 16))
    target = u @ torch.diag(torch.logspace(0, -2, 16)) @ vh
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"layers": nn.ModuleList([nn.Linear(16, 16), nn.Linear(16, 16)])})})
    layers: Any = model["encoder"]["layers"]  # type: ignore[index]
    config = OptimizerConfig.model_validate({"type": kind, "lr": 0.01, "muon_lr": 0.02, "weight_decay": 0.0})
    optimizer = build_optimizer(model, config, 2)
    losses = []
    for step in range(150):
        inputs = torch.randn(64, 16)
        loss = (layers[1](layers[0](inputs)) - inputs @ target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        update(optimizer, config.lr * (1 - step / 150))
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 100
