"""In which type matrix products are computed, and what stands on their path on a CPU: linear layers and norms.

Weights, their gradients and the optimizer are float32 always. With "bf16" the products read bfloat16 and accumulate in
float32, and activations between them are bfloat16.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from bert_core import kernels
from bert_core.dropout import Dropout


def resolve(precision: Literal["fp32", "bf16", "auto"], device: torch.device | str = "cpu") -> Literal["fp32", "bf16"]:
    """ "fp32" or "bf16": what `precision`, which may be "auto", means on `device`."""
    if precision != "auto":
        return precision
    return "bf16" if multiplies_bf16_fast(device) else "fp32"


def multiplies_bf16_fast(device: torch.device | str = "cpu") -> bool:
    """Whether `device` has instructions for products of bfloat16, and not just their emulation.

    On CPUs these ran at least three times as fast as fp32 products with AMX tiles, twice as fast with AVX-512 BF16
    (18 of 384 x 384: 10.5 ms against 25.2), and slower than fp32 without either.
    """
    if torch.device(device).type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()


def compute(
    precision: Literal["fp32", "bf16", "auto"], device: torch.device | str = "cpu"
) -> AbstractContextManager[Any]:
    """The context in which a model's forward pass and its loss run; the backward pass follows by itself."""
    if resolve(precision, device) == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, torch.bfloat16)


def product_type(x: Tensor) -> torch.dtype:
    """What products of `x` are computed in where we are: the type of the enclosing `compute`, else that of `x`."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype


def _on_cpu_in_bf16(x: Tensor) -> bool:
    return x.device.type == "cpu" and torch.is_autocast_enabled("cpu") and not torch.compiler.is_compiling()


class Linear(nn.Linear):
    """torch's; in bf16 on a CPU the weight's gradient is computed as `weight_gradient` says."""

    initial_scale = 1.0
    """Of the deviation of its first weights (`bert_core.model.init_weights`)."""

    def forward(self, x: Tensor) -> Tensor:
        if not _on_cpu_in_bf16(x) or not torch.is_grad_enabled():
            return super().forward(x)
        product: Tensor = _Bf16Linear.apply(x, self.weight, self.bias)
        return product


class LayerNorm(nn.LayerNorm):
    """torch's, computed in float32; in bf16 on a CPU it hands on bf16, which is what reads it."""

    def forward(self, x: Tensor) -> Tensor:
        normalised = super().forward(x)
        return normalised.bfloat16() if _on_cpu_in_bf16(x) else normalised

    def of_sum(self, residual: Tensor, x: Tensor, dropout: Dropout) -> Tensor:
        """The norm of `residual` + dropout of `x`."""
        if not kernels.usable(x, residual) or self.weight.dtype != torch.float32:
            return self(dropout.add(residual, x))
        return kernels.add_norm(x, residual, dropout.p if dropout.training else 0.0, self.weight, self.bias, self.eps)


class _Bf16Linear(torch.autograd.Function):
    """(…, K) x (M, K) -> (…, M), weight and bias float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.input_type = x.dtype
        x, w = x.bfloat16(), weight.bfloat16()
        ctx.save_for_backward(x, w)
        ctx.has_bias = bias is not None
        return F.linear(x, w, None if bias is None else bias.bfloat16())

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, w = ctx.saved_tensors
        g, rows = gradient.reshape(-1, gradient.shape[-1]), x.reshape(-1, x.shape[-1])
        d_x = torch.mm(g, w).view(x.shape).to(ctx.input_type) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:  # a frozen layer's
            return d_x, None, g.sum(0).float() if ctx.has_bias and ctx.needs_input_grad[2] else None
        d_weight, d_bias = weight_gradient(g, rows)
        return d_x, d_weight, d_bias if ctx.has_bias else None


def weight_gradient(g: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """g.T @ x of (N, M) and (N, K), bf16, as float32 (M, K), and the sum of g over N, (M,).

    oneDNN reads a transposed bf16 operand at a third of its rate (2,048 x 768 x 3,072: 300 GFLOP/s against 900 on one
    core), so one is transposed beforehand: without kernels the narrower, for torch is slow at it.
    """
    if kernels.usable(g) and g.shape[0] % 32 == 0 and g.shape[1] % 32 == 0:
        across, sums = kernels.transpose_and_sum(g.contiguous())
        return torch.mm(across, x).float(), sums
    if g.shape[1] <= x.shape[1]:
        return torch.mm(g.t().contiguous(), x).float(), g.sum(0).float()
    transposed = torch.mm(x.t().contiguous(), g)
    return torch.empty(g.shape[1], x.shape[1]).copy_(transposed.t()), g.sum(0).float()
