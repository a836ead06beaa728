"""Ranks, what they tell each other, and the plain reduction of gradients that data-parallel training needs."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

T = TypeVar("T")

BUCKET = 1 << 23
"""Elements that are summed together: 32 MB in fp32. A whole copy of the gradients of a large model would be 1.3 GB."""


@dataclass(frozen=True)
class World:
    """Which of how many workers this process is; `World()` is a process alone."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    """Among the workers of this machine."""

    @classmethod
    def current(cls) -> World:
        """The default process group's, or a process alone where there is none."""
        local_rank = int(os.environ.get("LOCAL_RANK", "0"))
        if not dist.is_initialized():
            return cls(local_rank=local_rank)
        return cls(dist.get_rank(), dist.get_world_size(), local_rank)

    @property
    def device(self) -> torch.device:
        """Where this worker computes: a GPU of its own if the machine has any, else the CPU."""
        if not torch.cuda.is_available():
            return torch.device("cpu")
        # Launchers that show each worker its own GPU only still count local ranks: hence the remainder.
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    def sum(self, values: Tensor) -> Tensor:
        """Element-wise sum over ranks, in place, on whatever device."""
        if self.size > 1:
            carried = values.to(_carrier(values.device))
            dist.all_reduce(carried)
            if carried is not values:
                values.copy_(carried)
        return values

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()

    def broadcast(self, values: Tensor) -> Tensor:
        """Rank 0's values, in place on every rank, on whatever device."""
        if self.size > 1:
            carried = values.to(_carrier(values.device))
            dist.broadcast(carried, src=0)
            if carried is not values:
                values.copy_(carried)
        return values

    def broadcast_int(self, value: int) -> int:
        """Rank 0's value, on every rank."""
        return int(self.broadcast(torch.tensor([value])))

    def broadcast_object(self, value: T) -> T:
        """Rank 0's value (anything that pickles), on every rank."""
        if self.size == 1:
            return value
        box: list[Any] = [value]
        dist.broadcast_object_list(box, src=0, device=_carrier(torch.device("cpu")))
        received: T = box[0]
        return received

    def gather(self, value: T) -> list[T]:
        """Every rank's value (anything that pickles), on every rank, in rank order."""
        if self.size == 1:
            return [value]
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value)
        return values


def init_from_environment(*, timeout_s: float = 600.0) -> World:
    """Join the group that torchrun describes in RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT.

    On GPUs tensors travel by NCCL and those that are still on the CPU by gloo; without GPUs all do by gloo. Without
    RANK in the environment this process is alone. A group that exists already is left as it is.

    Args:
        timeout_s: a collective that takes longer raises on the ranks that wait in it.
    """
    if dist.is_initialized() or "RANK" not in os.environ:
        return World.current()
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(World.current().device)
    dist.init_process_group("cpu:gloo,cuda:nccl" if cuda else "gloo", timeout=timedelta(seconds=timeout_s))
    return World.current()


@contextmanager
def process_group(*, timeout_s: float = 600.0) -> Iterator[World]:
    """`init_from_environment`, and the group left again at the end, if it was made here.

    After an error it is left at once: the other ranks, waiting in a collective, then fail with "connection closed"
    rather than after their timeout.
    """
    found = dist.is_initialized()
    world = init_from_environment(timeout_s=timeout_s)
    try:
        yield world
    finally:
        if dist.is_initialized() and not found:
            dist.destroy_process_group()


def sum_gradients(parameters: Iterable[nn.Parameter], world: World) -> None:
    """Replace each gradient by its sum over ranks; where some rank has none, it counts as zeros there.

    Buckets of fixed size in the order of `parameters`, rather than DDP's: those are rebuilt after the first step, so a
    resumed run could add in another order than the run it continues, and its weights would drift apart by rounding.

    Args:
        parameters: the same on every rank, whether or not they have gradients; those that are frozen are left out.
    """
    if world.size == 1:
        return
    bucket: list[Tensor] = []
    size = 0
    for gradient in _gradients_of_any(list(parameters), world):
        if bucket and (size + gradient.numel() > BUCKET or gradient.dtype != bucket[0].dtype):
            _sum_together(bucket, world)
            bucket, size = [], 0
        bucket.append(gradient)
        size += gradient.numel()
    if bucket:
        _sum_together(bucket, world)


def sum_gradient_rows(parameter: nn.Parameter, rows: Tensor, world: World) -> None:
    """Sum over ranks only the gradient rows that some rank touched; the others are zero on every rank.

    A batch of 32 reviews touches about 500 of the 30,522 rows of BERT's word embeddings, so this moves 0.8 MB where the
    whole matrix (384 wide) has 47 MB.

    Args:
        parameter: (rows, width), with a dense gradient.
        rows: row numbers that this rank touched, repeats allowed.
    """
    if world.size == 1 or parameter.grad is None:
        return
    touched = torch.zeros(len(parameter), dtype=torch.int32, device=parameter.device)
    touched[rows] = 1
    union = world.sum(touched).nonzero().squeeze(1)
    parameter.grad[union] = world.sum(parameter.grad[union])


def _gradients_of_any(parameters: list[nn.Parameter], world: World) -> list[Tensor]:
    """The gradients of those `parameters` for which some rank has one: a list of the same shapes on every rank."""
    parameters = [p for p in parameters if p.requires_grad]
    holders = torch.tensor([p.grad is not None for p in parameters], dtype=torch.int32)
    holders = world.sum(holders.to(_carrier(parameters[0].device)) if parameters else holders)
    if any(p.grad is None for p in parameters):  # else nothing is read back: on a GPU the host does not wait
        for parameter, ranks in zip(parameters, holders.tolist(), strict=True):
            if parameter.grad is None and ranks:
                parameter.grad = torch.zeros_like(parameter)
    return [p.grad for p in parameters if p.grad is not None]


def _sum_together(gradients: list[Tensor], world: World) -> None:
    """Small ones through one flat copy; a large one piece by piece where it lies."""
    if len(gradients) == 1 and gradients[0].is_contiguous():
        for piece in gradients[0].view(-1).split(BUCKET):
            world.sum(piece)
        return
    flat = world.sum(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(total.view_as(gradient))


def _carrier(device: torch.device) -> torch.device:
    """Where a tensor of `device` must be to travel: NCCL moves what is on the GPU, gloo what is on the CPU."""
    backends = dict(item.split(":") for item in dist.get_backend_config().split(","))
    if "nccl" not in backends.values():
        return torch.device("cpu")
    if backends.get(device.type) in ("gloo", "nccl"):
        return device
    return torch.device("cuda", torch.cuda.current_device())
