"""Optimizer state by parameter names: bit for bit, several optimizers, numbers, and parameters split over ranks."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import nn

from bert_core.optimizer_state import load_optimizer_tensors, optimizer_tensors, part_like
from infra.services import free_port


class CountingMomentum(torch.optim.Optimizer):
    """Like Muon: a momentum buffer, here of a narrower type, and a count of steps that is a plain number."""

    def __init__(self, parameters: list[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.1})

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                buffer = state.setdefault("momentum_buffer", torch.zeros_like(parameter, dtype=torch.bfloat16))
                state["count"] = state.get("count", 0) + 1
                state["nothing"] = None
                parameter -= group["lr"] * buffer.mul_(0.9).add_(parameter.grad)


def two(fused: bool = True) -> tuple[nn.Module, list[torch.optim.Optimizer]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 2))
    matrices = [p for p in model.parameters() if p.ndim > 1]
    adam = torch.optim.AdamW([p for p in model.parameters() if p.ndim < 2], fused=fused)
    return model, [adam, CountingMomentum(matrices)]


def train(model: nn.Module, optimizers: list[torch.optim.Optimizer], steps: range) -> None:
    for step in steps:
        model(torch.randn(3, 6, generator=torch.Generator().manual_seed(step))).square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.parametrize("fused", [True, False])
def test_state_of_two_optimizers_goes_round_by_name_and_training_continues_bit_for_bit(
    tmp_path: Path, fused: bool
) -> None:
    whole, optimizers = two(fused)
    train(whole, optimizers, range(6))
    first, before = two(fused)
    train(first, before, range(3))
    save_file(optimizer_tensors(before, first.named_parameters()), tmp_path / "optimizer")
    tensors = load_file(tmp_path / "optimizer")
    assert sorted(tensors) == [
        *(f"{n}.bias.{s}" for n in (0,) for s in ("exp_avg", "exp_avg_sq", "step")),
        *(f"0.weight.{s}" for s in ("count:int", "momentum_buffer")),
        *(f"1.bias.{s}" for s in ("exp_avg", "exp_avg_sq", "step")),
        *(f"1.weight.{s}" for s in ("count:int", "momentum_buffer")),
    ]
    second, after = two(fused)
    second.load_state_dict(first.state_dict())
    load_optimizer_tensors(after, second.named_parameters(), tensors)
    state = after[1].state[second.get_parameter("1.weight")]
    assert (state["count"], state["momentum_buffer"].dtype) == (3, torch.bfloat16)
    train(second, after, range(3, 6))
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name])
    again = optimizer_tensors(after, second.named_parameters())
    assert all(torch.equal(again[n], t) for n, t in optimizer_tensors(optimizers, whole.named_parameters()).items())


def test_state_of_an_unknown_parameter_is_refused_by_name() -> None:
    model, optimizers = two()
    with pytest.raises(KeyError, match=r"2\.bias"):
        load_optimizer_tensors(optimizers, model.named_parameters(), {"2.bias.exp_avg": torch.zeros(2)})


def _split(rank: int, port: int, folder: Path) -> None:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.tensor import Shard, distribute_tensor

    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "GLOO_SOCKET_IFNAME": "lo"}
    torch.set_num_threads(1)
    dist.init_process_group("gloo", rank=rank, world_size=2)
    mesh = init_device_mesh("cpu", (2,))
    saved = load_file(folder / "optimizer")
    parameter = nn.Parameter(distribute_tensor(torch.zeros(5, 3), mesh, [Shard(0)]))
    adam = torch.optim.AdamW([parameter])
    load_optimizer_tensors(adam, [("w", parameter)], saved)
    state = adam.state[parameter]["exp_avg"]
    assert state.to_local().shape[0] == (3, 2)[rank]  # its own part only
    assert torch.equal(part_like(saved["w.exp_avg"], parameter).to_local(), state.to_local())
    back = optimizer_tensors(adam, [("w", parameter)])
    assert all(torch.equal(back[name], saved[name]) for name in saved)
    (folder / f"fine-{rank}").touch()
    dist.destroy_process_group()


@pytest.mark.slow
def test_state_saved_whole_is_split_over_two_ranks_and_gathered_again(tmp_path: Path) -> None:
    parameter = nn.Parameter(torch.randn(5, 3))
    adam = torch.optim.AdamW([parameter])
    parameter.square().sum().backward()
    adam.step()
    save_file(optimizer_tensors(adam, [("w", parameter)]), tmp_path / "optimizer")
    context = multiprocessing.get_context("spawn")
    port = free_port()
    ranks = [context.Process(target=_split, args=(rank, port, tmp_path)) for rank in range(2)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(90)
    assert sorted(file.name for file in tmp_path.glob("fine-*")) == ["fine-0", "fine-1"]
