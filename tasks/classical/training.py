"""The loop in which both networks learn: Adam, texts of like length together, the best epoch kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from tasks.classical.job import Fact, Job

_BATCHES_SORTED_TOGETHER = 20
_MAX_NORM = 5.0


@contextmanager
def reproducible(seed: int) -> Iterator[None]:
    """One thread and a generator of its own inside: the same weights on every machine; all is put back after."""
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


def learn(
    job: Job,
    network: nn.Module,
    lengths: Sequence[int],
    loss: Callable[[Sequence[int]], Tensor],
    validate: Callable[[], tuple[float, float]],
) -> dict[str, Fact]:
    """`network` with the weights of its best epoch, in place; facts of how it got there.

    Stops after `patience` epochs without a better validation score or loss, or when the budget is spent, in the
    middle of an epoch if need be; the weights of that moment are then judged too.

    Args:
        lengths: of each training example, in tokens.
        loss: of the examples of a batch, by their rows.
        validate: (score, loss) on the validation side: the higher score wins, the lower loss among equals.
    """
    config = job.config
    optimizer = torch.optim.Adam(network.parameters(), lr=config.learning_rate, fused=True)
    best, least = (-np.inf, -np.inf), np.inf
    kept, chosen, improved, epoch = {}, 0, 0, 0
    for epoch in range(1, config.epochs + 1):
        network.train()
        for rows in batches(lengths, config.batch_size, (job.seed, epoch)):
            optimizer.zero_grad(set_to_none=True)
            loss(rows).backward()
            nn.utils.clip_grad_norm_(network.parameters(), _MAX_NORM)
            optimizer.step()
            if job.budget.spent:
                break
        network.eval()
        with torch.inference_mode():
            score, held_out = validate()
        if chosen == 0 or (score, -held_out) > best:
            best, chosen, improved = (score, -held_out), epoch, epoch
            kept = {name: value.clone() for name, value in network.state_dict().items()}
        if held_out < least:  # before the first right answers, only the loss tells that something is learnt
            least, improved = held_out, epoch
        if job.budget.spent and epoch < config.epochs:
            job.note(f"{job.budget.seconds:g} s are spent: stopped in epoch {epoch} of {config.epochs}")
            break
        if epoch - improved >= config.patience:
            break
    network.load_state_dict(kept)
    return {"epochs": epoch, "best_epoch": chosen, "parameters": sum(p.numel() for p in network.parameters())}


def batches(lengths: Sequence[int], batch_size: int, key: tuple[int, ...]) -> list[list[int]]:
    """Every row once, in batches of like length, in an order that `key` alone decides."""
    rng = np.random.default_rng(key)
    order = rng.permutation(len(lengths))
    size = batch_size * _BATCHES_SORTED_TOGETHER
    found = []
    for start in range(0, len(order), size):
        group = sorted(order[start : start + size].tolist(), key=lambda row: lengths[row])
        found += [group[i : i + batch_size] for i in range(0, len(group), batch_size)]
    return [found[i] for i in rng.permutation(len(found))]


def padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """(B, T, ...) ids filled up with 0, and the (B,) lengths."""
    lengths = [len(row) for row in rows]
    ids = np.zeros((len(rows), max(lengths), *rows[0].shape[1:]), dtype=np.int64)
    for place, row in zip(ids, rows, strict=True):
        place[: len(row)] = row
    return torch.from_numpy(ids), torch.tensor(lengths)
