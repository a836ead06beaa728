"""Checkpoints saved while training goes on: copied to host memory at once, written by one thread behind."""

from __future__ import annotations

import json
import queue
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import pyarrow as pa
import torch
from torch import Tensor

from bert_core.checkpoint import (
    CheckpointError,
    folders,
    local_entries,
    remove,
    remove_drafts,
    step_name,
    write_checkpoint,
)
from bert_core.mirror import Mirror
from bert_core.retention import Keep, surplus

Group = Mapping[str, Tensor] | Iterable[tuple[str, Tensor]]
"""Named tensors of one file; as pairs they may be gathered one by one, so that only one is whole at a time."""


class CheckpointWriter:
    """Saves, keeps by policy, and mirrors. One process of a run has one (rank 0): nothing here knows of ranks.

    A save that fails (full disk, lost mirror) does not end the run: its draft is removed, the newest valid checkpoint
    stays, and `events` has a line for the journal. Only a failed last one raises, in `wait`.
    """

    def __init__(self, root: Path, keep: Keep, *, mirror: Mirror | None = None, background: bool = True) -> None:
        """
        Args:
            background: False writes inside `save`, out of the tensors themselves: no host copy (a model with AdamW
                has 3 times its weights' bytes, with an average 4 times), but training waits.
        """
        self.root = root
        self._keep = keep
        self._mirror = mirror
        self._background = background
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._pending: Future[None] | None = None
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._events: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
        self._failure: str | None = None
        self._cleaned = False

    def save(
        self,
        step: int,
        tensors: Mapping[str, Group],
        *,
        progress: Mapping[str, Any],
        identity: Mapping[str, Any],
        positions: int,
        loss: float | None = None,
    ) -> Path:
        """Copy everything and return; the checkpoint is published later, or an event says why not.

        Waits for the save before this one. The copies lie in buffers that the next save uses again: they are the only
        extra memory. The tensors may change as soon as this returns.

        Args:
            tensors: one file for each name; tensors whole, on any device, some may share memory.
            progress, identity: see `bert_core.checkpoint.write_checkpoint`; JSON, copied at once too.
            positions: clock of `Keep.every_positions`.
            loss: held-out loss of these weights, if measured: `Keep.best` goes by it.

        Returns:
            where it will be.
        """
        self._settle()
        counters = {"progress": dict(progress), "identity": dict(identity), "positions": positions, "loss": loss}
        counters = json.loads(json.dumps(counters))  # a copy of all that may still change
        if self._background:
            copies = {name: self._copy(name, group) for name, group in tensors.items()}
            self._pending = self._thread.submit(self._write, step, copies, counters)
        else:
            self._write(step, {name: dict(group) for name, group in tensors.items()}, counters)
        return self.root / step_name(step)

    def wait(self) -> None:
        """Return when the newest save is on the disk, and sent to the mirror.

        Raises:
            CheckpointError: that save failed.
        """
        self._settle()
        if self._failure:
            raise CheckpointError(self._failure)

    def events(self) -> list[dict[str, Any]]:
        """Lines for the journal since the last call: `kind`, `step` and `reason`.

        Kinds: "checkpoint_failed", "prune_failed" (old ones could not be deleted), "mirror_failed". Successes have
        none: when a thread ends is chance, and journals of equal runs are equal.
        """
        lines = []
        while not self._events.empty():
            lines.append(self._events.get())
        return lines

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the save under way; raises as `wait` does, unless another error is on its way."""
        try:
            if kind is None:
                self.wait()
            else:
                self._settle()
        finally:
            self._thread.shutdown()

    def _settle(self) -> None:
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _copy(self, group_name: str, group: Group) -> dict[str, Tensor]:
        """Copies in host memory; names of one memory (tied weights) share one copy."""
        copies: dict[str, Tensor] = {}
        shared: dict[tuple[int, torch.Size, tuple[int, ...]], Tensor] = {}
        on_device = False
        for name, tensor in group.items() if isinstance(group, Mapping) else group:
            tensor = tensor.detach()
            place = (tensor.data_ptr(), tensor.shape, tensor.stride())
            if isinstance(group, Mapping) and tensor.numel() and place in shared:
                copies[name] = shared[place]
                continue
            buffer = self._buffers.get((group_name, name))
            if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
                # Pinned memory, so that the copies of all tensors are under way together.
                buffer = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda)
                self._buffers[group_name, name] = buffer
            copies[name] = shared[place] = buffer.copy_(tensor, non_blocking=tensor.is_cuda)
            on_device |= tensor.is_cuda
        if on_device:
            torch.cuda.current_stream().synchronize()
        return copies

    def _write(self, step: int, tensors: dict[str, dict[str, Tensor]], counters: dict[str, Any]) -> None:
        self._failure = self._attempt("checkpoint_failed", step, lambda: self._publish(step, tensors, counters))
        if self._failure:
            return
        self._attempt("prune_failed", step, lambda: self._prune(step))
        mirror = self._mirror
        if mirror is not None:
            self._attempt("mirror_failed", step, lambda: mirror.upload(self.root / step_name(step), self._keep))

    def _publish(self, step: int, tensors: dict[str, dict[str, Tensor]], counters: dict[str, Any]) -> None:
        if not self._cleaned:  # not before the first save: until then other ranks may be downloading into the folder
            remove_drafts(self.root)
            self._cleaned = True
        write_checkpoint(self.root, step, tensors, **counters)

    def _prune(self, newest: int) -> None:
        entries, _ = local_entries(self.root)
        torn = folders(self.root).keys() - {entry.step for entry in entries}
        for step in {*surplus(entries, self._keep, newest), *torn}:
            remove(self.root / step_name(step))

    def _attempt(self, kind: str, step: int, action: Callable[[], None]) -> str | None:
        """Do it; the operating system's refusal becomes an event, and is returned as a sentence."""
        try:
            action()
        except (OSError, pa.ArrowException) as error:  # Arrow's own: a mirror's answer that it cannot make sense of
            self._events.put({"kind": kind, "step": step, "reason": str(error)})
            return f"{kind.replace('_', ' ')} at step {step}: {error}"
        return None
