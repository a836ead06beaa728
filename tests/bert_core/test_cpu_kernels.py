"""What a CPU computes by hand against torch's own operations: values, gradients, draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bert_core import loss as loss_module
from bert_core import precision
from bert_core.attention import AttentionMask
from bert_core.attention_cpu import MOST_GROUPS, Groups, attend_in_groups, group_lengths
from bert_core.dropout import Dropout, keep_mask, keep_scale
from bert_core.loss import linear_cross_entropy
from bert_core.tied import look_up

ROWS = [(9, 40, 79), (128,), (1, 2, 125), (33, 31, 64)]
HEADS, WIDTH = 2, 16


def mask(causal: bool = False, window: int | None = None) -> AttentionMask:
    flat = [n for row in ROWS for n in row]
    return AttentionMask(
        torch.stack([torch.repeat_interleave(torch.arange(len(row)) + 1, torch.tensor(row)) for row in ROWS]),
        torch.stack([torch.cat([torch.arange(n) for n in row]) for row in ROWS]),
        torch.tensor([0, *np.cumsum(flat)], dtype=torch.int32),
        max(flat),
        causal,
        window,
    )


def plain_attention(qkv: Tensor, mask: AttentionMask) -> Tensor:
    q, k, v = qkv.view(*qkv.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask.allowed).transpose(1, 2).flatten(2)


def gradients(outputs: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
    direction = torch.randn(outputs.shape, generator=torch.Generator().manual_seed(5))
    return torch.autograd.grad((outputs * direction).sum(), inputs)


@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 10), (True, 10)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 4e-2)])
def test_grouped_attention_equals_the_masked_matrix(
    causal: bool, window: int | None, dtype: torch.dtype, tolerance: float
) -> None:
    shape = mask(causal, window)
    qkv = torch.randn(len(ROWS), 128, 3 * WIDTH, generator=torch.Generator().manual_seed(1)).requires_grad_()
    ours = attend_in_groups(qkv.to(dtype), HEADS, shape.groups, 0.0)
    theirs = plain_attention(qkv, shape)
    torch.testing.assert_close(ours.float(), theirs, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(gradients(ours, qkv)[0], gradients(theirs, qkv)[0], atol=3 * tolerance, rtol=tolerance)


def test_grouped_attention_repeats_bit_for_bit_with_dropout() -> None:
    qkv = torch.randn(len(ROWS), 128, 3 * WIDTH).requires_grad_()
    found = []
    for _ in range(2):
        torch.manual_seed(3)
        context = attend_in_groups(qkv, HEADS, mask().groups, 0.3)
        found.append((context.detach(), *gradients(context, qkv)))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    torch.manual_seed(4)
    assert not torch.equal(attend_in_groups(qkv, HEADS, mask().groups, 0.3), found[0][0])


def test_the_gradient_of_attention_is_that_of_its_values_with_dropout() -> None:
    shape, qkv = mask(causal=True), torch.randn(len(ROWS), 128, 3 * WIDTH, dtype=torch.float64, requires_grad=True)
    direction, along = torch.randn(2, len(ROWS), 128, 3 * WIDTH, dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return (attend_in_groups(x, HEADS, shape.groups, 0.3) * direction[..., :WIDTH]).sum()

    (gradient,) = torch.autograd.grad(value(qkv), qkv)
    step = 1e-5 * along
    difference = (value(qkv + step) - value(qkv - step)).detach() / 2e-5
    torch.testing.assert_close((gradient * along).sum(), difference, rtol=1e-6, atol=1e-8)


def test_groups_hold_every_token_once_in_few_lengths() -> None:
    generator = np.random.default_rng(0)
    for longest in (20, 128, 8192):
        lengths = generator.integers(1, longest + 1, 300)
        cu_seqlens = torch.from_numpy(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
        groups = Groups.of(cu_seqlens, causal=False, half_window=None)
        index = torch.cat([group.index for group in groups.groups])
        assert torch.equal(index[groups.slot], torch.arange(int(lengths.sum())))
        assert len(groups.groups) <= MOST_GROUPS


def test_lengths_of_groups_are_the_cheapest() -> None:
    assert group_lengths(np.array([32] * 50 + [128] * 4)) == [32, 128]
    assert group_lengths(np.array([96] + [128] * 40)) == [128], "one document is not worth a group"
    assert group_lengths(np.array([32 * n for n in range(1, 9) for _ in range(40)])) == [96, 160, 224, 256]


@pytest.mark.parametrize("count", [0, 7, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_linear_cross_entropy_equals_that_of_the_scores(
    count: int, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loss_module, "CHUNK_BYTES", 4 * 40 * 32)
    torch.manual_seed(0)
    states, weight = torch.randn(count, 12, requires_grad=True), torch.randn(40, 12, requires_grad=True)
    inputs = [states, weight, *([torch.randn(40, requires_grad=True)] if bias else [])]
    labels = torch.randint(-1, 40, (count,))
    loss, correct = linear_cross_entropy(states, weight, inputs[2] if bias else None, labels)
    scores = F.linear(*inputs)
    expected = F.cross_entropy(scores, labels, ignore_index=-1, reduction="sum")
    torch.testing.assert_close(loss, expected, rtol=1e-5, atol=1e-5)
    assert int(correct) == int((scores.argmax(-1) == labels).sum())
    ours, theirs = torch.autograd.grad(3 * loss, inputs), torch.autograd.grad(3 * expected, inputs)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)
    with torch.inference_mode():
        torch.testing.assert_close(linear_cross_entropy(states, weight, inputs[-1] if bias else None, labels)[0], loss)


def test_linear_cross_entropy_of_a_hopeless_label_is_finite() -> None:
    weight = torch.tensor([[500.0], [-500.0]], requires_grad=True)
    loss, correct = linear_cross_entropy(torch.ones(1, 1), weight, None, torch.tensor([1]))
    assert (loss.item(), int(correct)) == (1000.0, 0)


def relative(a: Tensor, b: Tensor) -> float:
    return float(((a.float() - b).norm() / b.norm()).detach())


@pytest.mark.parametrize(("inner", "outer"), [(24, 80), (80, 24)])
def test_bf16_linear_is_near_fp32_in_value_and_gradients(inner: int, outer: int) -> None:
    torch.manual_seed(0)
    layer, x = precision.Linear(inner, outer), torch.randn(6, 50, inner, requires_grad=True)
    inputs = [x, layer.weight, layer.bias]
    expected = layer(x)
    with precision.compute("bf16"):
        found = layer(x)
    assert found.dtype == torch.bfloat16
    assert relative(found, expected) < 5e-3
    for a, b in zip(gradients(found, *inputs), gradients(expected, *inputs), strict=True):
        assert a.dtype == torch.float32
        assert relative(a, b) < 1e-2


def test_fp32_layers_are_torchs_to_the_bit() -> None:
    x, layer, norm = torch.randn(5, 8), precision.Linear(8, 8), precision.LayerNorm(8)
    assert torch.equal(layer(x), F.linear(x, layer.weight, layer.bias))
    assert torch.equal(norm(x), F.layer_norm(x, (8,), norm.weight, norm.bias))
    with precision.compute("bf16"):
        assert norm(x).dtype == torch.bfloat16
    assert precision.resolve("auto") in ("fp32", "bf16")


def test_bf16_linear_cross_entropy_is_near_fp32() -> None:
    torch.manual_seed(0)
    inputs = [torch.randn(300, 32, requires_grad=True), torch.randn(80, 32, requires_grad=True), torch.zeros(80)]
    inputs[2].requires_grad_()
    labels = torch.randint(-1, 80, (300,))
    expected = F.cross_entropy(F.linear(*inputs), labels, ignore_index=-1, reduction="sum")
    with precision.compute("bf16"):
        found, _ = linear_cross_entropy(*inputs, labels)
    assert found.dtype == torch.float32
    assert relative(found.detach(), expected.detach()) < 1e-3
    for a, b in zip(torch.autograd.grad(found, inputs), torch.autograd.grad(expected, inputs), strict=True):
        assert a.dtype == torch.float32
        assert relative(a, b) < 1e-2


@pytest.mark.parametrize("padding_idx", [None, 2])
def test_a_tied_weight_has_one_gradient_of_both_uses(padding_idx: int | None) -> None:
    torch.manual_seed(0)
    embedding, ids, states = nn.Embedding(9, 4, padding_idx), torch.tensor([[2, 5, 5], [8, 2, 0]]), torch.randn(7, 4)

    def loss(pair: Callable[[], tuple[Tensor, Tensor]]) -> Tensor:
        words, decoder = pair()
        return words.pow(3).sum() + F.linear(states, decoder).pow(2).sum()

    (found,) = torch.autograd.grad(loss(lambda: look_up(embedding, ids)), embedding.weight)
    (expected,) = torch.autograd.grad(loss(lambda: (embedding(ids), embedding.weight)), embedding.weight)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("p", [0.0, 0.1, 0.5, 0.999])
def test_dropout_keeps_its_share_and_draws_by_torchs_seed(dtype: torch.dtype, p: float) -> None:
    like = torch.empty(1001, 997, dtype=dtype)
    torch.manual_seed(1)
    kept = keep_mask(like, p)
    assert set(kept.unique().tolist()) <= {0.0, 1.0}
    assert abs(float(kept.double().mean()) - (1 - p)) < 5 * (p * (1 - p) / like.numel()) ** 0.5 + 2**-17
    torch.manual_seed(1)
    assert torch.equal(keep_mask(like, p), kept)
    assert p == 0 or not torch.equal(keep_mask(like, p), kept)


def test_dropout_added_to_a_residual_is_dropout_added() -> None:
    dropout, x, residual = Dropout(0.3), torch.randn(40, 50, requires_grad=True), torch.randn(40, 50)
    torch.manual_seed(2)
    fused = dropout.add(residual, x)
    torch.manual_seed(2)
    plain = residual + dropout(x)
    torch.testing.assert_close(fused, plain)
    torch.testing.assert_close(gradients(fused, x), gradients(plain, x))
    assert keep_scale(0.3) == pytest.approx(1 / 0.7, rel=1e-4)
