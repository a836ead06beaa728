"""What ranks tell each other, on a real process group; and a rank that fails takes the others with it, soon."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import nn

from bert_core import distributed
from bert_core.distributed import World, init_from_environment, process_group, sum_gradient_rows, sum_gradients
from tests.bert_core.ranks import on_ranks

SHAPES = [(3, 4), (5,), (), (40,), (2, 3)]


def parameters(rank: int) -> list[nn.Parameter]:
    """Gradients are powers of two; rank 1 lacks the second, both lack the third, and the last is frozen."""
    made = [nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for i, parameter in enumerate(made):
        if (rank, i) != (1, 1) and i != 2:
            parameter.grad = torch.full(SHAPES[i], 2.0 ** (4 * rank + i))
    made[-1].requires_grad_(False)
    return made


EXPECTED = [1.0 + 16.0, 2.0, None, 8.0 + 128.0, None]


def exchange(world: World, folder: Path) -> None:
    """Every facility between two ranks; asserts on both."""
    assert (world.size, world.local_rank, World.current()) == (2, world.rank, world)
    assert world.gather({"rank": world.rank}) == [{"rank": 0}, {"rank": 1}]
    assert world.broadcast_int(7 + world.rank) == 7
    assert world.broadcast_object(["a", world.rank]) == ["a", 0]
    assert world.sum(torch.tensor([1.0, world.rank])).tolist() == [2.0, 1.0]
    assert world.broadcast(torch.full((2, 2), world.rank)).sum() == 0
    for bucket in (1 << 23, 16, 1):
        distributed.BUCKET = bucket
        found = parameters(world.rank)
        sum_gradients(found, world)
        for parameter, expected, shape in zip(found[:-1], EXPECTED, SHAPES, strict=False):
            if expected is None:
                assert parameter.grad is None
            else:
                assert parameter.grad is not None
                assert torch.equal(parameter.grad, torch.full(shape, expected))
    sum_gradients([], world)
    table = nn.Parameter(torch.zeros(6, 2))
    table.grad = torch.zeros(6, 2)
    rows = torch.tensor([[1, 1, 2], [2, 4, 4]][world.rank])
    table.grad.index_add_(0, rows, torch.ones(3, 2))
    sum_gradient_rows(table, rows, world)
    assert table.grad[:, 0].tolist() == [0, 2, 2, 0, 2, 0]
    world.barrier()
    (folder / f"done-{world.rank}").touch()


def fail(world: World, folder: Path) -> None:
    """Rank 1 raises, while rank 0 waits for it in a collective."""
    if world.rank == 1:
        raise ArithmeticError("rank 1 has had enough")
    started = time.monotonic()
    try:
        world.barrier()
    finally:
        (folder / "waited").write_text(str(time.monotonic() - started))


def test_two_ranks_agree(tmp_path: Path) -> None:
    codes = on_ranks(2, exchange, tmp_path)
    assert codes == [0, 0], "".join(path.read_text() for path in tmp_path.glob("error-*"))
    assert (tmp_path / "done-1").exists()


def test_a_rank_that_fails_ends_the_others_before_their_timeout(tmp_path: Path) -> None:
    assert on_ranks(2, fail, tmp_path) == [1, 1]
    assert "rank 1 has had enough" in (tmp_path / "error-1").read_text()
    assert float((tmp_path / "waited").read_text()) < 30  # the group's timeout is 60 s


def test_a_process_alone_needs_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    assert init_from_environment() == World()
    with process_group() as world:
        assert world == World()
        assert not dist.is_initialized()
    assert world.broadcast_int(3) == 3
    assert world.gather("x") == ["x"]
    assert world.broadcast_object({"a": 1}) == {"a": 1}
    parameter = nn.Parameter(torch.zeros(2))
    parameter.grad = torch.ones(2)
    sum_gradients([parameter], world)
    assert parameter.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("local_rank", "visible", "expected"), [(0, 8, 0), (5, 8, 5), (5, 1, 0)])
def test_a_worker_computes_on_a_gpu_of_its_own(
    local_rank: int, visible: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert World(local_rank=local_rank).device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: visible)
    assert World(local_rank=local_rank).device == torch.device("cuda", expected)


@pytest.mark.parametrize(
    ("backends", "device", "expected"),
    [
        ("cpu:gloo,cuda:gloo", "cpu", "cpu"),
        ("cpu:gloo,cuda:gloo", "cuda", "cpu"),
        ("cpu:gloo,cuda:nccl", "cpu", "cpu"),
        ("cpu:gloo,cuda:nccl", "cuda:1", "cuda:1"),
        ("cuda:nccl", "cpu", "cuda:3"),
    ],
)
def test_a_tensor_travels_on_the_device_that_the_backend_moves(
    backends: str, device: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dist, "get_backend_config", lambda: backends)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    found: Any = distributed._carrier(torch.device(device))
    assert found == torch.device(expected)
