"""Several real processes that train one small model together, and what they do there. Cheap to import in each."""

from __future__ import annotations

import functools
import multiprocessing
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bert_core.config import ModelConfig, OptimizerConfig, RuntimeConfig
from bert_core.distributed import World, process_group
from bert_core.heads import PretrainingModel
from bert_core.model import init_weights
from bert_core.optim import build_optimizer, update
from bert_core.parallel import Parallel, parallelize
from infra.services import free_port

TINY = ModelConfig(
    vocab_size=61,  # no multiple of 2 or 4: shares of different sizes
    hidden_size=16,
    num_layers=2,
    num_heads=2,
    intermediate_size=24,
    max_positions=12,
    hidden_dropout=0.0,
    attention_dropout=0.0,
    initializer_range=0.2,
)
ROWS, T = 8, 12

Job = Callable[[World, Path], None]


def on_ranks(size: int, job: Job, folder: Path, timeout_s: float = 400) -> list[int | None]:
    """Run `job(world, folder)` in `size` new processes; their exit codes; `folder/error-<rank>` has a trace."""
    context = multiprocessing.get_context("spawn")
    port = free_port()
    ranks = [context.Process(target=_rank, args=(rank, size, port, job, folder)) for rank in range(size)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(timeout_s)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode for process in ranks]


def _rank(rank: int, size: int, port: int, job: Job, folder: Path) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "GLOO_SOCKET_IFNAME": "lo"}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    try:
        with process_group(timeout_s=60) as world:
            job(world, folder)
    except BaseException:
        (folder / f"error-{rank}").write_text(traceback.format_exc())
        raise


@functools.cache
def rows_of_step(step: int) -> SimpleNamespace:
    """A global batch of `ROWS` documents of 4 to T tokens, one a row; their first four are predicted."""
    generator = torch.Generator().manual_seed(step)
    lengths = torch.randint(4, T + 1, (ROWS,), generator=generator)
    real = (torch.arange(T) < lengths[:, None]).long()
    ids = torch.randint(1, TINY.vocab_size, (ROWS, T), generator=generator) * real
    return SimpleNamespace(ids=ids, real=real, labels=torch.randint(0, 2, (ROWS,), generator=generator))


def batch_of(step: int, start: int, stop: int) -> SimpleNamespace:
    rows = rows_of_step(step)
    count = stop - start
    ends = torch.stack([rows.real[start:stop].sum(1), torch.full((count,), T)], 1) + torch.arange(count)[:, None] * T
    return SimpleNamespace(
        input_ids=rows.ids[start:stop],
        token_type_ids=torch.zeros(count, T, dtype=torch.int64),
        position_ids=torch.arange(T).expand(count, T),
        document_ids=rows.real[start:stop],
        cu_seqlens=F.pad(ends.flatten().unique(), (1, 0)).int(),
        max_seqlen=T,
        cls_positions=torch.arange(count) * T,
        predict_positions=(torch.arange(count)[:, None] * T + torch.arange(4)).flatten(),
        sample_labels=rows.labels[start:stop],
    )


def loss_of(model: PretrainingModel, batch: SimpleNamespace) -> tuple[Tensor, Tensor]:
    """Summed losses of the batch divided by the counts of the global one; and the logits."""
    output = model(batch)
    logits = output.mlm_logits
    words = batch.input_ids.flatten()[batch.predict_positions]
    mlm = F.cross_entropy(logits, words, reduction="sum") / (4 * ROWS)
    assert output.pair_logits is not None
    return mlm + F.cross_entropy(output.pair_logits, batch.sample_labels, reduction="sum") / ROWS, logits


class Trainer:
    """The loop around a `Parallel`, as short as it can be."""

    def __init__(self, world: World, runtime: dict[str, Any], optimizer: dict[str, Any], **shape: Any) -> None:
        self.model = PretrainingModel(TINY.model_copy(update=shape), pairs=True)
        init_weights(self.model, 0.2, torch.Generator().manual_seed(1))
        # With a small eps Adam blows up the rounding errors of gradients that are zero, such as those of keys' biases.
        self.config = OptimizerConfig.model_validate({"lr": 0.01, "weight_decay": 0.1, "eps": 1e-4} | optimizer)
        self.runtime = RuntimeConfig.model_validate(runtime)
        self.parallel: Parallel = parallelize(self.model, loss_of, self.runtime, world, "fp32")
        self.optimizer = build_optimizer(self.model, self.config, TINY.num_layers)
        self.world = world
        self.norms: list[float] = []

    def train(self, steps: range) -> Trainer:
        share = ROWS // self.world.size
        width = self.runtime.micro_rows or share
        for step in steps:
            torch.manual_seed(100 * step + self.world.rank)
            first = self.world.rank * share
            starts = range(first, first + share, width)
            for start in starts:
                with self.parallel.micro_batch(last=start == starts[-1]):
                    self.parallel.module(batch_of(step, start, start + width))[0].backward()
            self.parallel.reduce_gradients()
            norm = self.parallel.grad_norm()
            self.norms.append(norm.item())
            self.parallel.clip_gradients(2.0, norm)
            update(self.optimizer, 0.01 / (1 + step))
            self.optimizer.zero_grad(set_to_none=True)
        return self

    def state(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return self.parallel.full_state(self.optimizer)

    def load(self, state: tuple[dict[str, Tensor], dict[str, Tensor]]) -> Trainer:
        self.parallel.load_full_state(self.optimizer, *state)
        return self
