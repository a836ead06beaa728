"""How a model is spread over ranks, compiled and recomputed: applied from outside, the model knows nothing of it.

Every strategy ends with the sum of all ranks' gradients, because the loss of each is already divided by the global
count of predictions; and every strategy writes and reads the same whole tensors, so that a checkpoint of one world and
strategy continues in any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint as recompute

from bert_core.adamw import local
from bert_core.config import RuntimeConfig
from bert_core.distributed import World, sum_gradient_rows, sum_gradients
from bert_core.optimizer_state import load_optimizer_tensors, optimizer_tensors, part_like, whole

if TYPE_CHECKING:
    from torch.distributed.fsdp import FSDPModule

Strategy = Literal["replicate", "ddp", "fsdp"]


@dataclass(frozen=True)
class Parallel:
    """A model, ready to be trained by all ranks together. Made by `parallelize`."""

    model: nn.Module
    """The model itself, with the names it always had. Build the optimizer from its parameters."""
    module: nn.Module
    """Called with a batch, in training and in evaluation: `call(model, batch)` of `parallelize`."""
    world: World
    strategy: Strategy
    """`replicate` where there is one rank, whatever was asked for."""
    constant: frozenset[str] = frozenset()
    """Parameters that never change, and are no part of `full_state`: whoever loads it has them already."""

    @contextmanager
    def micro_batch(self, *, last: bool) -> Iterator[None]:
        """Around forward and backward pass of one micro batch: gradients add up, and travel with the `last` at most.

        Under ddp and fsdp every rank must have equally many micro batches, because they meet in each.
        """
        waits: AbstractContextManager[Any] = nullcontext()
        if isinstance(self.module, DistributedDataParallel) and not last:
            waits = self.module.no_sync()
        if self.strategy == "fsdp":
            sharded = cast("FSDPModule", self.module)
            sharded.set_requires_gradient_sync(last)
            sharded.set_is_last_backward(last)
        with waits:
            yield

    def reduce_gradients(self, touched: Mapping[nn.Parameter, Tensor] | None = None) -> None:
        """After the last micro batch: every rank then holds the sum of all ranks' gradients, or its share of it.

        Args:
            touched: for embeddings that nothing but a look-up reads, the rows this rank looked up in all micro batches;
                the others are not sent (`replicate` only).
        """
        if self.strategy != "replicate":
            return
        touched = touched or {}
        sum_gradients((p for p in self.model.parameters() if p not in touched), self.world)
        for parameter, rows in touched.items():
            sum_gradient_rows(parameter, rows, self.world)

    def grad_norm(self) -> Tensor:
        """Global norm of all gradients, () on the device; the same on every rank, not finite if any gradient is not."""
        norm = nn.utils.get_total_norm([p.grad for p in self.model.parameters() if p.grad is not None])
        return whole(norm)

    def clip_gradients(self, max_norm: float, norm: Tensor) -> None:
        """Scale all gradients, of global norm `norm`, so that it is at most `max_norm`. The host does not wait."""
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        nn.utils.clip_grads_with_norm_(parameters, max_norm, norm.float())

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """On rank 0, the whole of each tensor, on the CPU; elsewhere an empty dict. All ranks must call it.

        A tensor that is whole on the CPU already is not copied: it goes on changing as training does.
        """
        found = {name: self._kept(tensor) for name, tensor in tensors.items()}
        return found if self.world.rank == 0 else {}

    def full_state(self, optimizer: torch.optim.Optimizer) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(model, optimizer) on rank 0, as `whole` gives them; elsewhere two empty dicts. All ranks must call it.

        The first is the model's state dict without what is `constant`, the second `optimizer_state.optimizer_tensors`.
        """
        self._reshard()
        state = optimizer_tensors(optimizer, self.model.named_parameters(), whole=self._kept)
        return self.whole(self._changing()), state if self.world.rank == 0 else {}

    def load_full_state(
        self, optimizer: torch.optim.Optimizer, model: Mapping[str, Tensor], state: Mapping[str, Tensor]
    ) -> None:
        """Give every rank its share of what `full_state` returned; only what rank 0 passes counts.

        Raises:
            KeyError: the model has other tensors than those given.
            RuntimeError: a tensor has another shape.
        """
        self._reshard()
        self.fill(self._changing(), model)
        # One parameter after the other: at no time does a rank hold another whole state.
        by_parameter = groupby(self._from_rank_0(dict(sorted(state.items()))), lambda item: item[0].rpartition(".")[0])
        for _, tensors in by_parameter:
            # A count of steps is read by the host; an optimizer that wants it on the GPU puts it there itself.
            own = {key: value if value.ndim else value.cpu() for key, value in tensors}
            load_optimizer_tensors(optimizer, self.model.named_parameters(), own)

    @torch.no_grad()
    def fill(self, targets: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
        """Copy rank 0's whole `values` into `targets` of the same names, in place, however those are split.

        Raises: see `load_full_state`.
        """
        keys = set(self.world.broadcast_object(sorted(values)))
        if keys != targets.keys():
            raise KeyError(f"tensors that one side has only: {sorted(keys ^ targets.keys())[:8]}")
        for name, value in self._from_rank_0(values):
            target = targets[name].detach()
            if value.shape != target.shape:
                raise RuntimeError(f"{name}: shape {tuple(value.shape)} given, {tuple(target.shape)} needed")
            local(target).copy_(local(part_like(value, target)))

    @contextmanager
    def swapped(self, values: Mapping[str, Tensor]) -> Iterator[None]:
        """Within the block the parameters named in `values` hold these, and `values` hold theirs: no copy is kept.

        Args:
            values: split as the parameters are, such as clones of them.
        """
        self._reshard()
        parameters = dict(self.model.named_parameters())
        _swap(parameters, values)
        try:
            yield
        finally:
            self._reshard()
            _swap(parameters, values)

    def _changing(self) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in self.model.state_dict().items() if name not in self.constant}

    def _kept(self, tensor: Tensor) -> Tensor:
        """The whole of `tensor` on rank 0's CPU; nothing elsewhere, once this rank has given its share."""
        value = whole(tensor.detach())
        return value.cpu() if self.world.rank == 0 else value.new_empty(0)

    def _reshard(self) -> None:
        """Under fsdp, an evaluation leaves what is around the blocks gathered: a copy that nothing should write to."""
        if self.strategy == "fsdp":
            for module in self.module.modules():
                if hasattr(module, "reshard"):
                    cast("FSDPModule", module).reshard()

    def _from_rank_0(self, values: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
        """(name, whole tensor on this rank's device) of each of rank 0's values, one at a time."""
        sizes = [(name, value.shape, value.dtype) for name, value in values.items()]
        for name, shape, dtype in self.world.broadcast_object(sizes):
            if self.world.rank == 0:
                whole = values[name].detach().to(self._device)
            else:
                whole = torch.empty(shape, dtype=dtype, device=self._device)
            yield name, self.world.broadcast(whole.contiguous())

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device


Call = Callable[[Any, Any], Any]


def parallelize(
    model: nn.Module,
    call: Call,
    runtime: RuntimeConfig,
    world: World,
    precision: str,
    constant: frozenset[str] = frozenset(),
) -> Parallel:
    """Apply `runtime` to `model`, in place where it can be. Weights must be equal on all ranks and on their device.

    Args:
        model: its blocks are in `model.encoder.layers`; what they take and return does not matter.
        call: (model, batch) -> losses, all that reads parameters in one forward pass. A tied decoder is a parameter
            that the loss reads after the model has returned, and under ddp and fsdp that has to happen inside. Tensors
            of the result must lie in tuples, named tuples, lists or dicts, where torch finds them.
        precision: "bf16": under fsdp on GPUs parameters travel in bf16 and gradients in fp32, half the bytes of a
            gather. Call the module under autocast to bf16 there, as without fsdp. On CPUs bf16 is a matter of matrix
            products alone, so parameters travel as they are.
        constant: see `Parallel`.
    """
    encoder: Any = model.encoder
    blocks = list(encoder.layers if hasattr(encoder, "layers") else encoder.layer)  # the latter: transformers' XLNet
    for block in blocks:
        if runtime.compile:
            block.forward = torch.compile(block.forward)
        if runtime.activation_checkpointing:
            block.forward = _recomputed(block.forward)
    module = _Called(model, call)
    if world.size == 1 or runtime.parallel == "replicate":
        return Parallel(model, module, world, "replicate", constant)
    if runtime.parallel == "ddp":
        return Parallel(model, _data_parallel(module), world, "ddp", constant)
    _shard_fully(module, blocks, world, precision)
    return Parallel(model, module, world, "fsdp", constant)


class _Called(nn.Module):
    """`call(model, …)` as a module, for torch to hang its hooks on."""

    def __init__(self, model: nn.Module, call: Call) -> None:
        super().__init__()
        self.model, self.call = model, call

    def forward(self, batch: Any) -> Any:
        return self.call(self.model, batch)


def _recomputed(forward: Callable[..., Any]) -> Callable[..., Any]:
    """`forward`, keeping only its inputs for the backward pass; dropout draws the same numbers again."""

    def checkpointed(*args: Any, **kwargs: Any) -> Any:
        if not torch.is_grad_enabled():
            return forward(*args, **kwargs)
        return recompute(forward, *args, use_reentrant=False, preserve_rng_state=True, **kwargs)

    return checkpointed


def _data_parallel(module: nn.Module) -> DistributedDataParallel:
    """DDP that sums, with buckets that never change.

    DDP rebuilds its buckets after the first backward pass in the order in which gradients came, and a resumed run would
    add in another order than the run it continues. It does not when told to look for unused parameters, which costs a
    walk over the graph in each step, and one warning of torch's.
    """
    parallel = DistributedDataParallel(
        module, forward_sync_buffers=False, gradient_as_bucket_view=True, find_unused_parameters=True
    )
    parallel.register_comm_hook(None, lambda state, bucket: _sum_bucket(bucket))  # annotations as text are refused
    return parallel


def _sum_bucket(bucket: dist.GradBucket) -> torch.futures.Future[Tensor]:
    """DDP's own hook divides by the number of ranks."""
    work = dist.all_reduce(bucket.buffer(), async_op=True)
    assert work is not None
    future: torch.futures.Future[list[Tensor]] = work.get_future()
    return future.then(lambda done: done.value()[0])


def _shard_fully(module: nn.Module, blocks: list[nn.Module], world: World, precision: str) -> None:
    """FSDP2: each block's parameters are gathered when it is needed, and what is around the blocks at the start."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard  # slow to import

    device = next(module.parameters()).device
    mesh = init_device_mesh(device.type, (world.size,))
    # Inputs are left as they are: rotary tables and the sums between blocks lose too much in bf16.
    mixed = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    policy = mixed if precision == "bf16" and device.type == "cuda" else MixedPrecisionPolicy()
    for part in [*blocks, module]:
        sharded = fully_shard(part, mesh=mesh, mp_policy=policy)
        sharded.set_gradient_divide_factor(1.0)
        sharded.set_force_sum_reduction_for_comms(True)  # gloo knows no other


@torch.no_grad()
def _swap(parameters: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    for name, value in values.items():
        held = parameters[name].clone()
        parameters[name].copy_(value)
        value.copy_(held)
