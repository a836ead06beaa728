"""The kernels in C against torch's own operations: values, gradients, draws; and a machine without a compiler."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from bert_core import kernels
from bert_core.kernels import build
from tests.bert_core.test_cpu_kernels import HEADS, ROWS, gradients, mask, plain_attention, relative

TYPES = [(torch.float32, 2e-6), (torch.bfloat16, 6e-3)]
"""With how far a result of them may be from float32's."""


@pytest.fixture(autouse=True)
def compiled() -> None:
    if not kernels.available():
        pytest.skip(str(kernels.why_not()))


def attend(qkv: Tensor, heads: int, dropout: float = 0.0, **how: Any) -> Tensor:
    shape = mask()
    asked = {"causal": False, "half_window": None} | how
    return kernels.attend(qkv, shape.cu_seqlens, shape.max_seqlen, heads, dropout, **asked)


@pytest.mark.parametrize(("causal", "window"), [(False, None), (True, None), (False, 10), (True, 10)])
@pytest.mark.parametrize("width", [16, 64, 20])
@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
def test_attention_equals_the_masked_matrix(
    causal: bool, window: int | None, width: int, dtype: torch.dtype, tolerance: float
) -> None:
    qkv = torch.randn(len(ROWS), 128, 3 * width).to(dtype).requires_grad_()
    whole = qkv.detach().float().requires_grad_()
    ours = attend(qkv, HEADS, causal=causal, half_window=None if window is None else window // 2)
    theirs = plain_attention(whole, mask(causal, window))
    assert relative(ours.detach(), theirs.detach()) < tolerance
    assert relative(gradients(ours, qkv)[0], gradients(theirs, whole)[0]) < 2 * tolerance


def test_scores_far_apart_are_as_exact() -> None:
    qkv = torch.randn(len(ROWS), 128, 96) * 30
    theirs = plain_attention(qkv, mask())
    assert relative(attend(qkv, HEADS), theirs) < 1e-5


def test_the_gradient_of_attention_is_that_of_its_values_with_dropout() -> None:
    """Dropped shares are the same in both passes: with one share dropped otherwise, the two differ by far more."""
    qkv = torch.randn(len(ROWS), 128, 96, requires_grad=True)
    direction, along = torch.randn(len(ROWS), 128, 32), torch.randn(len(ROWS), 128, 96)

    def value(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return (attend(x, HEADS, 0.3).double() * direction).sum()

    (gradient,) = torch.autograd.grad(value(qkv), qkv)
    step = 1e-2 * along
    difference = (value(qkv + step) - value(qkv - step)).detach() / 2e-2
    torch.testing.assert_close((gradient * along).double().sum(), difference, rtol=2e-3, atol=1e-2)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_and_draws_do_not_depend_on_threads(threads: int) -> None:
    qkv, x = torch.randn(len(ROWS), 128, 96), torch.randn(50, 24)
    before = torch.get_num_threads()
    found = []
    try:
        for count in (2, threads):
            torch.set_num_threads(count)
            torch.manual_seed(3)
            found.append((attend(qkv, HEADS, 0.3), kernels.dropout_add(x, x, 0.5)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("width", [32, 24, 7])
@pytest.mark.parametrize("bias", [True, False])
def test_norm_of_a_sum_equals_torchs(dtype: torch.dtype, tolerance: float, width: int, bias: bool) -> None:
    x, residual = (torch.randn(3, 41, width).to(dtype).requires_grad_() for _ in range(2))
    weight = torch.randn(width, requires_grad=True)
    shift = torch.randn(width, requires_grad=True) if bias else None
    inputs = [x, residual, weight, *([] if shift is None else [shift])]
    whole = [each.detach().float().requires_grad_() for each in inputs]
    ours = kernels.add_norm(x, residual, 0.0, weight, shift, 1e-5)
    theirs = F.layer_norm(whole[0] + whole[1], (width,), whole[2], whole[3] if bias else None, 1e-5)
    assert ours.dtype == dtype
    assert relative(ours.detach(), theirs.detach()) < tolerance
    for a, b in zip(gradients(ours, *inputs), gradients(theirs, *whole), strict=True):
        assert relative(a, b) < 2 * tolerance


def test_norm_of_a_sum_drops_what_dropout_drops_and_its_gradient_too() -> None:
    x, residual = torch.randn(2, 60, 24, requires_grad=True), torch.randn(2, 60, 24, requires_grad=True)
    weight, bias = torch.rand(24, requires_grad=True), torch.rand(24, requires_grad=True)
    torch.manual_seed(1)
    ours = kernels.add_norm(x, residual, 0.4, weight, bias, 1e-5)
    torch.manual_seed(1)
    theirs = F.layer_norm(kernels.dropout_add(x, residual, 0.4), (24,), weight, bias, 1e-5)
    torch.testing.assert_close(ours, theirs)
    inputs = (x, residual, weight, bias)
    for a, b in zip(gradients(ours, *inputs), gradients(theirs, *inputs), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.999])
def test_dropout_keeps_its_share_everywhere_and_by_torchs_seed(dtype: torch.dtype, p: float) -> None:
    x = torch.ones(1500, 1003, dtype=dtype, requires_grad=True)
    torch.manual_seed(1)
    out = kernels.dropout_add(x, None, p)
    kept = (out != 0).double()
    deviation = (p * (1 - p)) ** 0.5
    assert abs(float(kept.mean()) - (1 - p)) < 5 * deviation / kept.numel() ** 0.5
    assert float(out.detach().max()) == pytest.approx(1 / (1 - p), rel=4e-3 if dtype == torch.bfloat16 else 1e-6)
    assert torch.equal(torch.autograd.grad(out.sum(), x)[0] != 0, out != 0)
    # Of rows, of columns, of neighbours and of two calls: as independent draws would be, to five deviations.
    centred = (kept - kept.mean()) / kept.std()
    assert float(centred.mean(0).abs().max()) < 5 / 1500**0.5
    assert float(centred.mean(1).abs().max()) < 5 / 1003**0.5
    torch.manual_seed(1)
    again, other = (kernels.dropout_add(x, None, p).detach() for _ in range(2))
    assert torch.equal(again, out)
    other = (other != 0).double()
    for a, b in ((centred[:, 1:], centred[:, :-1]), (centred[1:], centred[:-1]), (centred, other - other.mean())):
        assert abs(float((a * b).mean())) < 5 / a.numel() ** 0.5


@pytest.mark.parametrize(("dtype", "tolerance"), TYPES)
@pytest.mark.parametrize("classes", [5, 48, 1003])
def test_cross_entropy_equals_torchs(dtype: torch.dtype, tolerance: float, classes: int) -> None:
    scores = (torch.randn(70, classes) * 5).to(dtype)
    labels = torch.randint(-1, classes, (70,))
    whole = scores.float().clone().requires_grad_()
    expected = F.cross_entropy(whole, labels, ignore_index=-1, reduction="none")
    (d_scores,) = torch.autograd.grad(expected.sum(), whole)
    unwanted, *_ = kernels.cross_entropy_(scores, labels, False)
    loss, hits, d_bias = kernels.cross_entropy_(scores, labels, True)
    assert d_bias is not None
    assert torch.equal(loss, unwanted)
    torch.testing.assert_close(loss, expected.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(hits.bool(), (whole.argmax(-1) == labels))
    assert relative(scores, d_scores) < tolerance
    torch.testing.assert_close(d_bias, d_scores.sum(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_so(bad: float) -> None:
    scores = torch.randn(2, 40)
    scores[0, 33] = bad
    loss, _, _ = kernels.cross_entropy_(scores, torch.tensor([1, 2]), True)
    assert loss.isfinite().tolist() == [False, True]
    x = torch.randn(2, 40)
    x[0, 3] = bad
    normed = kernels.add_norm(x, x, 0.0, torch.ones(40), None, 1e-5)
    assert normed.isfinite().all(1).tolist() == [False, True]
    qkv = torch.randn(len(ROWS), 128, 96)
    qkv[1, 5, 3] = bad
    finite = attend(qkv, HEADS).isfinite().all(-1)
    assert finite.sum() == finite.numel() - 1, "one query's own row"


def test_what_would_read_or_write_elsewhere_is_an_error() -> None:
    qkv, x, bounds = torch.randn(1, 8, 24), torch.randn(4, 6), torch.tensor([0, 5, 8], dtype=torch.int32)

    def attend(bounds: Tensor = bounds, longest: int = 5, heads: int = 2) -> Tensor:
        return kernels.attend(qkv, bounds, longest, heads, 0.0, False, None)

    assert attend().shape == (1, 8, 8)
    for wrong in ([0, 5, 9], [1, 5, 8], [0, 9, 8]):
        with pytest.raises(ValueError, match=r"cu_seqlens .*: expected int32 from 0 to 8, ascending"):
            attend(torch.tensor(wrong, dtype=torch.int32))
    with pytest.raises(ValueError, match="expected int32"):
        attend(bounds.long())
    with pytest.raises(ValueError, match="a document of 5 tokens: the longest was said to have 4"):
        attend(longest=4)
    with pytest.raises(ValueError, match="24 features: not queries, keys and values of 3 heads"):
        attend(heads=3)
    with pytest.raises(ValueError, match=r"residual of shape \(3, 6\): expected \(4, 6\)"):
        kernels.dropout_add(x, x[:3], 0.1)
    with pytest.raises(ValueError, match=r"weight of shape \(5,\): expected \(6,\)"):
        kernels.add_norm(x, x, 0.1, torch.ones(5), None, 1e-5)
    with pytest.raises(IndexError, match="label 6: there are 6 classes"):
        kernels.cross_entropy_(x.clone(), torch.tensor([0, -1, 6, 2]), True)
    with pytest.raises(ValueError, match=r"labels of shape \(3,\): expected \(4,\)"):
        kernels.cross_entropy_(x.clone(), torch.tensor([0, 1, 2]), True)


def test_transpose_and_sum() -> None:
    x = torch.randn(64, 96).bfloat16()
    across, sums = kernels.transpose_and_sum(x)
    assert torch.equal(across, x.t())
    torch.testing.assert_close(sums, x.float().sum(0), rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match=r"\(64, 48\): expected bfloat16 and sides that are multiples of 32"):
        kernels.transpose_and_sum(x[:, :48])


def test_what_kernels_do_not_take_is_left_to_torch() -> None:
    assert kernels.usable(torch.randn(2), torch.randn(2))
    assert not kernels.usable(torch.randn(2), torch.randn(2).bfloat16())
    assert not kernels.usable(torch.randn(2).double())
    assert not kernels.usable(torch.randn(2, device="meta"))


def test_the_library_is_compiled_once_and_by_any_number_at_once(tmp_path: Path) -> None:
    code = f"from pathlib import Path; from bert_core.kernels.build import compiled; compiled(Path({str(tmp_path)!r}))"
    at_once = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in at_once] == [0, 0]
    (library,) = tmp_path.iterdir()
    written = library.stat().st_mtime_ns
    assert build.compiled(tmp_path) == library
    assert library.stat().st_mtime_ns == written


def test_without_a_compiler_it_says_so_and_torch_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC", str(tmp_path / "absent"))
    with pytest.raises(build.KernelsError, match=r"no C compiler: '.*absent' is not on the path; install one"):
        build.compiled(tmp_path)
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\n[ $1 = --version ] && exit 0\necho no such option: $1 >&2; exit 1\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", str(broken))
    with pytest.raises(build.KernelsError, match="no such option: -O3"):
        build.compiled(tmp_path / "cache")
    code = """
import torch, warnings
from bert_core import kernels
from bert_core.dropout import Dropout
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    print(Dropout(0.5)(torch.ones(1000)).unique().tolist(), kernels.available(), len(said), said[0].message)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith(
        "[0.0, 2.0] False 1 training on this CPU goes on with torch's own operations, slower: "
    )
