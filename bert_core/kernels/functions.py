"""The kernels as functions of tensors, most of them differentiable, once.

C trusts what it is given, so shapes and indices are looked at here: a wrong one is an error, never a write elsewhere.

Shapes: N tokens of all rows, C hidden size, H heads, D = C / H, R rows of any kind, V classes.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bert_core.kernels.build import available, function

SUFFIX = {torch.float32: "float", torch.bfloat16: "bf16"}
Draws = tuple[int, float, int]


def usable(*tensors: Tensor) -> bool:
    """Whether kernels take these: on a CPU, of one type that they know, and nothing is being traced."""
    first = tensors[0]
    return (
        first.device.type == "cpu"
        and first.dtype in SUFFIX
        and all(tensor.dtype == first.dtype for tensor in tensors)
        and not torch.compiler.is_compiling()
        and available()
    )


def draws(p: float) -> Draws:
    """For one call with dropout `p`: its threshold in 2**32 levels, its scale, and a seed of torch's generator."""
    if not p:
        return 0, 1.0, 0
    return round(p * 2**32), 1 / (1 - p), int(torch.randint(2**63 - 1, ()))


def attend(
    qkv: Tensor, cu_seqlens: Tensor, longest: int, num_heads: int, dropout: float, causal: bool, half_window: int | None
) -> Tensor:
    """Softmax attention within documents: (…, 3 C) -> (…, C), queries, keys and values side by side.

    Args:
        cu_seqlens: (documents + 1,) int32, where they begin and end in N.
        longest: tokens of the longest of them; a thread needs room for 2 * longest**2 numbers.
        half_window: tokens seen on each side; None: all.

    Raises:
        ValueError: `cu_seqlens` do not divide the tokens into documents of at most `longest`.
    """
    lengths, tokens = cu_seqlens.diff(), qkv.numel() // qkv.shape[-1]
    if cu_seqlens.dtype != torch.int32 or int(cu_seqlens[0]) or int(cu_seqlens[-1]) != tokens or int(lengths.min()) < 0:
        raise ValueError(f"cu_seqlens {cu_seqlens.tolist()}: expected int32 from 0 to {tokens}, ascending")
    if int(lengths.max()) > longest:
        raise ValueError(f"a document of {int(lengths.max())} tokens: the longest was said to have {longest}")
    if qkv.shape[-1] % (3 * num_heads):
        raise ValueError(f"{qkv.shape[-1]} features: not queries, keys and values of {num_heads} heads")
    context: Tensor = _Attention.apply(qkv, cu_seqlens, longest, num_heads, draws(dropout), causal, half_window)
    return context


def dropout_add(x: Tensor, residual: Tensor | None, p: float) -> Tensor:
    """`residual` + dropout of `x`, of one shape; without a residual the dropout alone.

    Raises:
        ValueError: two shapes.
    """
    if residual is not None:
        _require_shape("residual", residual, x.shape)
    added: Tensor = _DropoutAdd.apply(x, residual, draws(p))
    return added


def add_norm(x: Tensor, residual: Tensor, p: float, weight: Tensor, bias: Tensor | None, eps: float) -> Tensor:
    """The layer norm of `residual` + dropout of `x`, (…, C) each; weight and bias are float32.

    Raises:
        ValueError: shapes that do not belong together.
    """
    _require_shape("residual", residual, x.shape)
    for name, tensor in (("weight", weight), ("bias", bias)):
        if tensor is not None:
            _require_shape(name, tensor, x.shape[-1:])
    normalised: Tensor = _AddNorm.apply(x, residual, weight, bias, eps, draws(p))
    return normalised


def cross_entropy_(scores: Tensor, labels: Tensor, wanted: bool) -> tuple[Tensor, Tensor, Tensor | None]:
    """Of each row of (R, V) scores its loss, (R,) float32, and whether no score is above the label's, (R,) uint8.

    Negative labels are left out. Where `wanted`, `scores` become their gradient, and the third is its sum over rows.

    Raises:
        IndexError: a label that is no class.
    """
    R, V = scores.shape
    labels = labels.long().contiguous()
    _require_shape("labels", labels, scores.shape[:1])
    if R and int(labels.max()) >= V:
        raise IndexError(f"label {int(labels.max())}: there are {V} classes")
    loss, hits = torch.empty(R), torch.empty(R, dtype=torch.uint8)
    d_bias = torch.empty(V) if wanted else None
    _call("cross_entropy", scores, scores, labels, R, V, int(wanted), loss, hits, d_bias)
    return loss, hits, d_bias


def transpose_and_sum(x: Tensor) -> tuple[Tensor, Tensor]:
    """x.T, contiguous, and the sums over x's rows, float32; of bf16.

    Raises:
        ValueError: a side is not a multiple of 32.
    """
    rows, columns = x.shape
    if rows % 32 or columns % 32 or x.dtype != torch.bfloat16:
        raise ValueError(f"{x.dtype}, {tuple(x.shape)}: expected bfloat16 and sides that are multiples of 32")
    across, sums = x.new_empty(columns, rows), torch.empty(columns)
    _call("transpose_and_sum", x, x, rows, columns, across, sums)
    return across, sums


def _require_shape(name: str, tensor: Tensor, shape: torch.Size) -> None:
    if tensor.shape != shape:
        raise ValueError(f"{name} of shape {tuple(tensor.shape)}: expected {tuple(shape)}")


def _call(name: str, typed: Tensor, *arguments: Tensor | float | None) -> None:
    """Run the kernel for `typed`'s type in as many threads as torch's operations; tensors must be contiguous."""
    plain = (argument.data_ptr() if isinstance(argument, Tensor) else argument for argument in arguments)
    function(f"{name}_{SUFFIX[typed.dtype]}")(*plain, torch.get_num_threads())


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        qkv: Tensor,
        bounds: Tensor,
        longest: int,
        num_heads: int,
        drawn: Draws,
        causal: bool,
        half_window: int | None,
    ) -> Tensor:
        qkv, bounds = qkv.contiguous(), bounds.contiguous()
        C = qkv.shape[-1] // 3
        D = C // num_heads
        window = -1 if half_window is None else half_window
        documents = (len(bounds) - 1, longest, num_heads, D, D**-0.5, int(causal), window)
        context, log_sums = qkv.new_empty(*qkv.shape[:-1], C), torch.empty(qkv.numel() // (3 * C), num_heads)
        _call("attend", qkv, qkv, bounds, *documents, *drawn, context, log_sums)
        ctx.save_for_backward(qkv, log_sums, bounds)
        ctx.documents, ctx.drawn = documents, drawn
        return context

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_context: Tensor) -> tuple[Tensor | None, ...]:
        qkv, log_sums, bounds = ctx.saved_tensors
        d_qkv = torch.empty_like(qkv)
        arguments = (d_context.contiguous(), qkv, log_sums, bounds, *ctx.documents, *ctx.drawn, d_qkv)
        _call("attend_backward", qkv, *arguments)
        return d_qkv, *6 * (None,)


class _DropoutAdd(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, residual: Tensor | None, drawn: Draws) -> Tensor:
        ctx.drawn, ctx.added = drawn, residual is not None
        return _dropout_add(x, residual, drawn)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        d_x = _dropout_add(d_out, None, ctx.drawn) if ctx.needs_input_grad[0] else None
        return d_x, d_out if ctx.added else None, None


def _dropout_add(x: Tensor, residual: Tensor | None, drawn: Draws) -> Tensor:
    x = x.contiguous()
    residual = None if residual is None else residual.contiguous()
    out, C = torch.empty_like(x), x.shape[-1]
    _call("dropout_add", x, x, residual, x.numel() // C, C, *drawn, out)
    return out


class _AddNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, residual: Tensor, weight: Tensor, bias: Tensor | None, eps: float, drawn: Draws
    ) -> Tensor:
        x, residual, C = x.contiguous(), residual.contiguous(), x.shape[-1]
        rows = x.numel() // C
        total, out, mean, rstd = torch.empty_like(x), torch.empty_like(x), torch.empty(rows), torch.empty(rows)
        _call("add_norm", x, x, residual, rows, C, *drawn, weight, bias, eps, total, out, mean, rstd)
        ctx.save_for_backward(total, mean, rstd, weight)
        ctx.drawn, ctx.has_bias = drawn, bias is not None
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_out: Tensor) -> tuple[Tensor | None, ...]:
        total, mean, rstd, weight = ctx.saved_tensors
        rows, C = mean.numel(), total.shape[-1]
        d_sum, d_weight, d_bias = torch.empty_like(total), torch.empty_like(weight), torch.empty_like(weight)
        d_x = torch.empty_like(total) if ctx.drawn[0] else None
        given = (d_out.contiguous(), total, mean, rstd, weight)
        _call("add_norm_backward", total, *given, rows, C, *ctx.drawn, d_sum, d_x, d_weight, d_bias)
        return d_sum if d_x is None else d_x, d_sum, d_weight, d_bias if ctx.has_bias else None, None, None
